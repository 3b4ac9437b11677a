//! A pipeline's graph as an SVG: nodes in columns, each behind those it takes values of.
//!
//! Layers are longest paths; a way over several layers bends between the boxes of those it passes;
//! within a layer boxes stand where the middle of their makers is, which keeps most ways from
//! crossing (the method of Sugiyama, Tagawa and Toda, 1981).

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use super::model::Graph;

/// Sizes in pixels.
const CHARACTER: usize = 8;
const HEIGHT: usize = 36;
const ROW: usize = 60;
const GAP: usize = 120;
const MARGIN: usize = 20;
/// The longest label on a way.
const LABEL: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Node,
    /// An input or an output of the pipeline.
    Value,
    /// Where a way passes a layer.
    Bend,
}

struct Place {
    label: String,
    kind: Kind,
    layer: usize,
    row: usize,
}

/// A piece of a way from one place to another.
struct Link {
    from: usize,
    to: usize,
    /// The values that go this way, where it ends.
    label: Option<String>,
}

struct Drawing {
    places: Vec<Place>,
    links: Vec<Link>,
}

/// Draws a graph. It has its own colours for light and dark surroundings.
pub(super) fn svg(graph: &Graph) -> String {
    let drawing = Drawing::of(graph);
    let boxes = drawing.boxes();
    let wide = boxes.iter().map(|place| place.x + place.width).max().unwrap_or(0) + MARGIN;
    let high = boxes.iter().map(|place| place.y + HEIGHT).max().unwrap_or(0) + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" viewBox=\"0 0 {wide} {high}\" role=\"img\">\n<title>{}</title>\n{STYLE}\n",
        escaped(&graph.name)
    );
    for link in &drawing.links {
        if let (Some(from), Some(to)) = (boxes.get(link.from), boxes.get(link.to)) {
            draw_link(&mut svg, from, to, link);
        }
    }
    for (place, at) in drawing.places.iter().zip(&boxes) {
        let class = match place.kind {
            Kind::Node => "node",
            Kind::Value => "value",
            Kind::Bend => continue,
        };
        let (x, y, width) = (at.x, at.y, at.width);
        let (middle, base) = (x + width / 2, y + HEIGHT / 2 + 5);
        // A string takes all that is written to it.
        let _never = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{HEIGHT}\" rx=\"6\"/><text x=\"{middle}\" y=\"{base}\">{}</text>",
            escaped(&place.label)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

const STYLE: &str = "<style>text{font:14px system-ui,sans-serif;text-anchor:middle;fill:#1a2330}.small{font-size:11px;fill:#5b6b7f}rect{stroke:#3b6ea5;fill:#eef4fb}.value{stroke-dasharray:4 3;fill:none}path{fill:none;stroke:#8aa0b8}polygon{fill:#8aa0b8}@media(prefers-color-scheme:dark){text{fill:#e6edf5}.small{fill:#9fb0c3}rect{fill:#1d2a3a}}</style>";

/// Where a place is on the drawing.
struct Corner {
    x: usize,
    y: usize,
    width: usize,
}

impl Drawing {
    fn of(graph: &Graph) -> Self {
        let mut drawing = Self { places: layered(graph), links: Vec::new() };
        for ((from, to), values) in ways(graph, &drawing.places) {
            drawing.lead(from, to, &values);
        }
        drawing.order();
        drawing
    }

    fn layer(&self, place: usize) -> usize {
        self.places.get(place).map_or(0, |place| place.layer)
    }

    /// Leads a way from place to place, by a bend in each layer between. Ways of one maker share them.
    fn lead(&mut self, from: usize, to: usize, values: &[&str]) {
        let mut at = from;
        for layer in self.layer(from) + 1..self.layer(to) {
            let bends = self.links.iter().filter(|link| link.from == at).map(|link| link.to);
            let mut bends = bends.filter(|bend| {
                self.places.get(*bend).is_some_and(|place| place.kind == Kind::Bend)
            });
            at = if let Some(bend) = bends.next() {
                bend
            } else {
                let bend = self.places.len();
                self.places.push(Place { label: String::new(), kind: Kind::Bend, layer, row: 0 });
                self.links.push(Link { from: at, to: bend, label: None });
                bend
            };
        }
        let is_node = |place: usize| self.places.get(place).is_some_and(|p| p.kind == Kind::Node);
        let named = is_node(from) && is_node(to);
        let label = if named { values.join(", ") } else { String::new() };
        self.links.push(Link { from: at, to, label: Some(label) });
    }

    /// Gives each layer its order.
    fn order(&mut self) {
        let layers = self.places.iter().map(|place| place.layer + 1).max().unwrap_or(0);
        for layer in 0..layers {
            let mut here: Vec<(usize, usize)> = Vec::new();
            for index in 0..self.places.len() {
                if self.layer(index) != layer {
                    continue;
                }
                let makers: Vec<usize> = self
                    .links
                    .iter()
                    .filter(|link| link.to == index)
                    .filter_map(|link| Some(self.places.get(link.from)?.row))
                    .collect();
                // In hundredths, so that whole numbers do.
                let middle = (100 * makers.iter().sum::<usize>()).checked_div(makers.len());
                here.push((middle.unwrap_or(index * 100), index));
            }
            here.sort_unstable();
            for (row, (_, index)) in here.into_iter().enumerate() {
                if let Some(place) = self.places.get_mut(index) {
                    place.row = row;
                }
            }
        }
    }

    /// The corners of all places: columns from left to right, each in the middle of the height.
    fn boxes(&self) -> Vec<Corner> {
        let layers = self.places.iter().map(|place| place.layer + 1).max().unwrap_or(0);
        let (mut widths, mut rows) = (vec![0; layers], vec![0; layers]);
        for place in &self.places {
            // A Chinese character is about as wide as two others.
            let characters: usize =
                place.label.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
            if let (Some(width), Some(row)) =
                (widths.get_mut(place.layer), rows.get_mut(place.layer))
            {
                *width = (*width).max(characters.min(60) * CHARACTER + 24);
                *row += 1;
            }
        }
        let most = rows.iter().copied().max().unwrap_or(0);
        let lefts: Vec<usize> = widths
            .iter()
            .scan(MARGIN, |left, width| Some(std::mem::replace(left, *left + width + GAP)))
            .collect();
        let of = |list: &[usize], layer: usize| list.get(layer).copied().unwrap_or(0);
        let corner = |place: &Place| Corner {
            x: of(&lefts, place.layer),
            y: MARGIN + (most - of(&rows, place.layer)) * ROW / 2 + place.row * ROW,
            width: of(&widths, place.layer),
        };
        self.places.iter().map(corner).collect()
    }
}

/// Inputs first, then nodes by their longest way from them, then outputs.
fn layered(graph: &Graph) -> Vec<Place> {
    let value =
        |name: &String, layer| Place { label: name.clone(), kind: Kind::Value, layer, row: 0 };
    let mut places: Vec<Place> = graph.inputs.iter().map(|name| value(name, 0)).collect();
    let mut maker: HashMap<&str, usize> =
        graph.inputs.iter().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
    // Nodes come in an order in which they can run: what they take is placed before them.
    for node in &graph.nodes {
        let makers = node.inputs.iter().filter_map(|value| maker.get(value.as_str()));
        let layers = makers.filter_map(|index| Some(places.get(*index)?.layer));
        let layer = layers.max().map_or(usize::from(!graph.inputs.is_empty()), |layer| layer + 1);
        let index = places.len();
        places.push(Place { label: node.name.clone(), kind: Kind::Node, layer, row: 0 });
        for value in &node.outputs {
            maker.insert(value, index);
        }
    }
    let last = places.iter().map(|place| place.layer + 1).max().unwrap_or(0);
    places.extend(graph.outputs.iter().map(|name| value(name, last)));
    places
}

/// From which place to which, and the values that go there.
fn ways<'g>(graph: &'g Graph, places: &[Place]) -> BTreeMap<(usize, usize), Vec<&'g str>> {
    let mut nodes = HashMap::new();
    let (mut first, mut last) = (HashMap::new(), HashMap::new());
    for (index, place) in places.iter().enumerate() {
        if place.kind == Kind::Node {
            nodes.insert(place.label.as_str(), index);
        } else {
            first.entry(place.label.as_str()).or_insert(index);
            last.insert(place.label.as_str(), index);
        }
    }
    let mut ways: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for edge in &graph.edges {
        let value = edge.value.as_str();
        let from = edge.from.as_deref().map_or_else(|| first.get(value), |node| nodes.get(node));
        let to = edge.to.as_deref().map_or_else(|| last.get(value), |node| nodes.get(node));
        if let (Some(from), Some(to)) = (from, to) {
            ways.entry((*from, *to)).or_default().push(value);
        }
    }
    ways
}

fn draw_link(svg: &mut String, from: &Corner, to: &Corner, link: &Link) {
    let (x1, y1) = (from.x + from.width, from.y + HEIGHT / 2);
    let (x2, y2) = (to.x, to.y + HEIGHT / 2);
    let bend = x1.midpoint(x2.max(x1));
    let Some(label) = &link.label else {
        // It goes on through the layer, straight.
        let end = x2 + to.width;
        let _never = writeln!(
            svg,
            "<path d=\"M{x1} {y1} C{bend} {y1} {bend} {y2} {x2} {y2} L{end} {y2}\"/>"
        );
        return;
    };
    let (tip, back) = (x2.saturating_sub(2), x2.saturating_sub(10));
    let (up, down) = (y2.saturating_sub(4), y2 + 4);
    let title =
        if label.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(label)) };
    let _never = writeln!(
        svg,
        "<path d=\"M{x1} {y1} C{bend} {y1} {bend} {y2} {back} {y2}\">{title}</path><polygon points=\"{tip},{y2} {back},{up} {back},{down}\"/>"
    );
    if !label.is_empty() {
        let mut shown: String = label.chars().take(LABEL).collect();
        if shown.len() < label.len() {
            shown.push('…');
        }
        let (x, y) = (bend, y1.midpoint(y2).saturating_sub(5));
        let _never =
            writeln!(svg, "<text class=\"small\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(&shown));
    }
}

/// A text within XML; control characters are left out, as XML has none.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars().take(60) {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c if c.is_control() => {}
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liquid::node::{Inputs, Node, Outputs, Signature};
    use crate::liquid::plan::Plan;

    fn graph(nodes: &[(&str, &[&str], &str)]) -> Graph {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let nodes = nodes.iter().map(|(name, inputs, output)| Node {
            name: (*name).to_owned(),
            function: format!("f{}", inputs.len()),
            inputs: Inputs::InOrder(owned(inputs)),
            outputs: Outputs::Whole(Some((*output).to_owned())),
            ..Node::default()
        });
        let functions: Vec<_> = (0..4_usize)
            .map(|n| Signature {
                name: format!("f{n}"),
                params: (0..n).map(|p| p.to_string()).collect(),
            })
            .collect();
        let plan = Plan::of(nodes.collect(), &functions).unwrap();
        Graph {
            name: "a<b>".into(),
            revision: 1,
            nodes: plan.nodes(),
            edges: plan.edges(),
            inputs: plan.inputs.clone(),
            outputs: plan.outputs.clone(),
        }
    }

    #[test]
    fn nodes_stand_behind_what_they_take_and_names_cannot_break_out() {
        let graph = graph(&[
            ("one", &["x"], "v"),
            ("<script>", &["v", "x"], "w"),
            ("风电", &["v"], "u"),
            ("last", &["w", "u"], "end"),
        ]);
        let places = layered(&graph);
        let layer = |label: &str| places.iter().find(|place| place.label == label).unwrap().layer;
        assert_eq!(["x", "one", "<script>", "风电", "last", "end"].map(layer), [0, 1, 2, 2, 3, 4]);
        let drawn = svg(&graph);
        assert_eq!(drawn.matches("<rect").count(), 6);
        // x leads to two layers, by a bend; v and w and u go to the next layer; end is taken by nobody.
        assert_eq!(drawn.matches("<polygon").count(), 7);
        assert_eq!(drawn.matches("<path").count(), 8);
        assert!(!drawn.contains("<script>") && drawn.contains("&lt;script&gt;"));
        assert!(drawn.contains("<title>a&lt;b&gt;</title>"));
    }

    #[test]
    fn a_large_graph_is_drawn() {
        let names: Vec<String> = (0..500).map(|n| format!("n{n}")).collect();
        let inputs: Vec<[&str; 1]> =
            (0..500).map(|n| [if n == 0 { "x" } else { names[n - 1].as_str() }]).collect();
        let nodes: Vec<(&str, &[&str], &str)> = names
            .iter()
            .zip(&inputs)
            .map(|(name, inputs)| (name.as_str(), &inputs[..], name.as_str()))
            .collect();
        assert_eq!(svg(&graph(&nodes)).matches("class=\"node\"").count(), 500);
    }
}
