//! Records of one stream on their way into a block: column by column, as they come.

use std::collections::{BTreeSet, HashMap};

use super::super::active::payload::Raw;
use super::super::model::Level;
use super::super::scalar::Scalar;
use super::column::Shape;
use super::texts::Texts;

/// A block is full when it has so many bytes of text and fields.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;
/// A block is full when it has so many rows.
pub(crate) const BLOCK_ROWS: usize = 1 << 16;
/// More names of fields than this in one block are kept as JSON.
const NAMES_MAX: usize = 256;
/// As many different sets of names.
const SHAPES_MAX: usize = 4096;

/// The parts of a record that it need not have. Their numbers stand in shapes; fields follow.
pub(crate) const MODULE: u16 = 0;
pub(crate) const FILE: u16 = 1;
pub(crate) const LINE: u16 = 2;
pub(crate) const RUN_ID: u16 = 3;
pub(crate) const REST: u16 = 4;
/// The number of the first field.
pub(crate) const FIRST_FIELD: u16 = 5;

/// The values of one field, in one type as long as they have one.
#[derive(Debug)]
pub(crate) enum Values {
    Texts(Texts),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Json(Texts),
}

impl Values {
    fn of(value: &Scalar<'_>) -> Self {
        match value {
            Scalar::Text(_) => Self::Texts(Texts::default()),
            Scalar::Int(_) => Self::Ints(Vec::new()),
            Scalar::Float(_) => Self::Floats(Vec::new()),
            _ => Self::Json(Texts::default()),
        }
    }

    fn push(&mut self, value: &Scalar<'_>) {
        match (&mut *self, value) {
            (Self::Texts(texts), Scalar::Text(text)) => texts.push(text),
            (Self::Ints(all), Scalar::Int(number)) => all.push(*number),
            (Self::Floats(all), Scalar::Float(number)) => all.push(*number),
            (Self::Json(texts), value) => texts.push(&json(value)),
            (_, value) => {
                self.make_json();
                self.push(value);
            }
        }
    }

    /// The values have no type in common: each becomes what JSON makes of it.
    fn make_json(&mut self) {
        let mut all = Texts::default();
        match self {
            Self::Texts(texts) => {
                texts.iter().for_each(|text| all.push(&json(&Scalar::Text(text.into()))));
            }
            Self::Ints(numbers) => {
                for number in numbers {
                    all.push(&json(&Scalar::Int(*number)));
                }
            }
            Self::Floats(numbers) => {
                for number in numbers {
                    all.push(&json(&Scalar::Float(*number)));
                }
            }
            Self::Json(_) => return,
        }
        *self = Self::Json(all);
    }
}

/// A value as JSON.
fn json(value: &Scalar<'_>) -> String {
    match value {
        Scalar::Text(text) => serde_json::to_string(text).unwrap_or_default(),
        other => other.shown().into_owned(),
    }
}

/// See the module's first line.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) times: Vec<i64>,
    pub(crate) seqs: Vec<u64>,
    pub(crate) levels: Vec<u8>,
    /// Which shape each row has.
    pub(crate) shape_of: Vec<u16>,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) modules: Texts,
    pub(crate) files: Texts,
    pub(crate) lines: Vec<u64>,
    pub(crate) run_ids: Texts,
    pub(crate) messages: Texts,
    pub(crate) rest: Texts,
    /// The names of the fields that are in there.
    pub(crate) rest_names: BTreeSet<String>,
    pub(crate) names: Vec<String>,
    pub(crate) fields: Vec<Values>,
    shape_numbers: HashMap<Shape, u16>,
    name_numbers: HashMap<String, u16>,
    /// The shape of the row that comes in.
    draft: Shape,
    bytes: usize,
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= BLOCK_BYTES || self.len() >= BLOCK_ROWS
    }

    /// Adds a record. Their numbers grow.
    pub(crate) fn push(&mut self, seq: u64, raw: &Raw<'_>) {
        let before = self.messages.joined().len();
        self.times.push(raw.time.0);
        self.seqs.push(seq);
        self.levels.push(raw.level.code());
        self.messages.push(raw.message);
        self.bytes += 24 + self.messages.joined().len() - before;
        let mut draft = std::mem::take(&mut self.draft);
        draft.0.clear();
        for (number, text, texts) in [
            (MODULE, raw.module, &mut self.modules),
            (FILE, raw.file, &mut self.files),
            (RUN_ID, raw.run_id, &mut self.run_ids),
        ] {
            if let Some(text) = text {
                draft.0.push(number);
                texts.push(text);
                self.bytes += text.len();
            }
        }
        if let Some(line) = raw.line {
            draft.0.push(LINE);
            self.lines.push(line);
        }
        let fixed = draft.0.len();
        if !raw.fields.is_none() && !self.push_fields(raw, &mut draft, fixed) {
            draft.0.truncate(fixed);
            draft.0.push(REST);
            let rest = serde_json::Value::Object(raw.fields.to_map()).to_string();
            raw.fields.each(|name, _| {
                self.rest_names.insert(name.to_owned());
            });
            self.bytes += rest.len();
            self.rest.push(&rest);
        }
        let shape = self.shape(&draft);
        self.shape_of.push(shape);
        self.draft = draft;
    }

    /// Adds the fields of a record; false, and nothing added, when there is no room for their names.
    fn push_fields(&mut self, raw: &Raw<'_>, draft: &mut Shape, fixed: usize) -> bool {
        let mut room = true;
        raw.fields.each(|name, value| match self.number(name, &value) {
            Some(number) if room => draft.0.push(number),
            _ => room = false,
        });
        let known = self.shape_numbers.contains_key(draft) || self.shapes.len() < SHAPES_MAX;
        if !room || !known {
            return false;
        }
        let mut numbers = draft.0.get(fixed..).unwrap_or_default().iter();
        raw.fields.each(|_, value| {
            let place = numbers.next().and_then(|number| number.checked_sub(FIRST_FIELD));
            if let Some(values) = place.and_then(|place| self.fields.get_mut(usize::from(place))) {
                values.push(&value);
                self.bytes += value.size().min(value.shown().len());
            }
        });
        true
    }

    /// The number of a field's column, a new one if need be and there is room.
    fn number(&mut self, name: &str, value: &Scalar<'_>) -> Option<u16> {
        if let Some(number) = self.name_numbers.get(name) {
            return Some(*number);
        }
        if self.names.len() >= NAMES_MAX {
            return None;
        }
        let number = u16::try_from(self.names.len()).ok()? + FIRST_FIELD;
        self.name_numbers.insert(name.to_owned(), number);
        self.names.push(name.to_owned());
        self.fields.push(Values::of(value));
        Some(number)
    }

    fn shape(&mut self, draft: &Shape) -> u16 {
        // Neighbours are mostly alike.
        let last = self.shape_of.last().copied();
        if let Some(last) = last.filter(|last| self.shapes.get(usize::from(*last)) == Some(draft)) {
            return last;
        }
        if let Some(number) = self.shape_numbers.get(draft) {
            return *number;
        }
        let number = u16::try_from(self.shapes.len()).unwrap_or(u16::MAX);
        self.shapes.push(draft.clone());
        self.shape_numbers.insert(draft.clone(), number);
        number
    }

    /// How many rows have each level.
    pub(crate) fn level_counts(&self) -> [u32; Level::ALL.len()] {
        let mut counts = [0; Level::ALL.len()];
        for level in &self.levels {
            if let Some(count) = counts.get_mut(usize::from(*level)) {
                *count += 1;
            }
        }
        counts
    }
}
