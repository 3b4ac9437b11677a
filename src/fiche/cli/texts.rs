//! Two values side by side: only as much of them as shows where they differ.

use serde_json::Value;

/// The most characters of one value that are shown.
const SHOWN: usize = 300;
/// How many characters before and after what differs are shown.
const AROUND: usize = 40;

/// What is shown of a value before and after a change.
pub(super) fn differing(from: &Value, to: &Value) -> (String, String) {
    let (from, to) = (text(from), text(to));
    let is_short = |text: &str| text.chars().count() <= SHOWN;
    if is_short(&from) && is_short(&to) {
        return (printable(&from), printable(&to));
    }
    let (old, new): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let same = |pairs: &mut dyn Iterator<Item = (&char, &char)>| {
        pairs.take_while(|(one, other)| one == other).count()
    };
    let before = same(&mut old.iter().zip(&new));
    let rest = old.len().min(new.len()) - before;
    let after = same(&mut old.iter().rev().zip(new.iter().rev())).min(rest);
    (window(&old, before, after), window(&new, before, after))
}

/// One value, cut where it is long.
pub(super) fn short(value: &Value) -> String {
    let text = text(value);
    let is_cut = text.chars().count() > SHOWN;
    let shown: String = text.chars().take(SHOWN).collect();
    printable(&shown) + if is_cut { "…" } else { "" }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What lies between the first and the last characters that both have, and a little around it.
fn window(text: &[char], before: usize, after: usize) -> String {
    let start = before.saturating_sub(AROUND);
    let end = (text.len() - after.saturating_sub(AROUND).min(text.len())).max(start);
    let inside = text.get(start..end).unwrap_or_default();
    let shown: String = inside.iter().take(SHOWN).collect();
    let head = if start > 0 { "…" } else { "" };
    let is_cut = end < text.len() || inside.len() > SHOWN;
    format!("{head}{}{}", printable(&shown), if is_cut { "…" } else { "" })
}

/// Lines under each other keep their margin; what would steer a terminal is shown as a mark.
fn printable(text: &str) -> String {
    let mark = |c: char| if c.is_control() && c != '\n' { '\u{FFFD}' } else { c };
    let text: String = text.chars().map(mark).collect();
    text.replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_long_texts_the_part_that_differs_is_shown() {
        let long = |word: &str| json!(format!("{}{word}{}", "a".repeat(500), "z".repeat(500)));
        let (from, to) = differing(&long("风电"), &long("solar"));
        let (head, tail) = ("a".repeat(40), "z".repeat(40));
        assert_eq!(from, format!("…{head}风电{tail}…"));
        assert_eq!(to, format!("…{head}solar{tail}…"));
        let (from, to) = differing(&json!("a".repeat(400)), &json!("a".repeat(401)));
        assert!(from.len() < 100 && to.len() < 100, "{from} {to}");
        let (from, to) = differing(&json!("x".repeat(1000)), &json!("y".repeat(1000)));
        assert_eq!((from.chars().count(), to.chars().count()), (301, 301));
        assert_eq!(differing(&json!({"a": 1}), &json!(2)), ("{\"a\":1}".into(), "2".into()));
        assert_eq!(differing(&json!(""), &json!("b".repeat(400))).0, "");
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(short(&json!("\u{1b}[2Ja\nb")), "\u{FFFD}[2Ja\n    b");
    }
}
