//! From rows to the bytes of a block: each column in the coding that suits its values, packed on its
//! own, listed in the directory that stands before them.

use std::collections::HashMap;
use std::io;

use super::super::scalar::Scalar;
use super::super::tokens::{Distinct, each_token, field_hash, run_hash};
use super::super::varint::{put_text, put_varint, zigzag};
use super::bloom;
use super::column::{Coding, Column, Directory, Kind, Packer, Part, Shape, What};
use super::rows::{FILE, FIRST_FIELD, LINE, MODULE, REST, RUN_ID, Rows, Values};
use super::texts::Texts;

/// A dictionary has at most so many texts, and each is there for so many rows on average.
const DICTIONARY_MAX: usize = 4096;
const DICTIONARY_ROWS: usize = 4;
/// The most decimals that are looked for.
const DECIMALS_MAX: u8 = 6;
/// Integers up to this size are exact as f64.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A block, ready to be written.
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    /// How many of them are the directory.
    pub(crate) directory: u32,
    pub(crate) bloom: Vec<u8>,
    /// Whether integers are in the filter, too.
    pub(crate) has_ints: bool,
}

/// Makes blocks, with the memory of the last one.
pub(crate) struct Encoder {
    packer: Packer,
    distinct: Distinct,
    scratch: Vec<u8>,
}

/// A block on its way.
struct Draft<'e> {
    encoder: &'e mut Encoder,
    body: Vec<u8>,
    columns: Vec<Column>,
}

impl Encoder {
    pub(crate) fn new(level: i32) -> io::Result<Self> {
        Ok(Self { packer: Packer::new(level)?, distinct: Distinct::default(), scratch: Vec::new() })
    }

    /// The packer, for parts that are only packed anew.
    pub(crate) fn packer(&mut self) -> &mut Packer {
        &mut self.packer
    }

    /// The block of some rows.
    pub(crate) fn encode(&mut self, rows: &Rows) -> io::Result<Encoded> {
        let (bloom, has_ints) = self.filter(rows);
        let mut draft = Draft { encoder: self, body: Vec::new(), columns: Vec::new() };
        draft.fixed(rows)?;
        let numbers = draft.optional(rows)?;
        draft.texts(What::Message, Kind::Text, &rows.messages)?;
        let directory = Directory {
            rows: rows.len(),
            shapes: rows.shapes.iter().map(|shape| renumber(shape, &numbers)).collect(),
            columns: draft.columns,
        };
        let mut bytes = directory.encode();
        let directory = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        bytes.extend_from_slice(&draft.body);
        Ok(Encoded { bytes, directory, bloom, has_ints })
    }

    /// The filter of everything in a block that may be asked for by its value.
    fn filter(&mut self, rows: &Rows) -> (Vec<u8>, bool) {
        let set = &mut self.distinct;
        set.clear();
        rows.messages.iter().for_each(|message| each_token(message, |hash| set.add(hash)));
        rows.run_ids.iter().for_each(|run| set.add(run_hash(run)));
        for (name, values) in rows.names.iter().zip(&rows.fields) {
            match values {
                Values::Texts(texts) => {
                    texts.iter().for_each(|text| set.add(field_hash(name, text)));
                }
                Values::Json(texts) => texts.iter().for_each(|text| {
                    let value = serde_json::from_str(text).unwrap_or_default();
                    set.add(field_hash(name, &Scalar::of(&value).shown()));
                }),
                Values::Ints(_) | Values::Floats(_) => {}
            }
        }
        for rest in rows.rest.iter() {
            let fields: serde_json::Map<_, _> = serde_json::from_str(rest).unwrap_or_default();
            for (name, value) in &fields {
                set.add(field_hash(name, &Scalar::of(value).shown()));
            }
        }
        let has_ints = self.add_ints(rows);
        (bloom::build(self.distinct.len(), self.distinct.each()), has_ints)
    }

    /// Integers go in where they are few beside the rest: ids that are asked for by their number
    /// mostly are, what was measured is not, and would double the filter.
    fn add_ints(&mut self, rows: &Rows) -> bool {
        let mut ints = Distinct::default();
        let most = self.distinct.len() / 4 + 64;
        for (name, values) in rows.names.iter().zip(&rows.fields) {
            let Values::Ints(numbers) = values else { continue };
            for number in numbers {
                ints.add(field_hash(name, &number.to_string()));
                if ints.len() > most {
                    return false;
                }
            }
        }
        ints.each().for_each(|hash| self.distinct.add(hash));
        true
    }
}

fn renumber(shape: &Shape, numbers: &HashMap<u16, u16>) -> Shape {
    Shape(shape.0.iter().filter_map(|number| numbers.get(number).copied()).collect())
}

impl Draft<'_> {
    fn part(&mut self, raw: &[u8]) -> io::Result<Part> {
        self.encoder.packer.put(raw, &mut self.body)
    }

    fn add(&mut self, what: What, kind: Kind, coding: Coding, raws: &[&[u8]]) -> io::Result<()> {
        let parts = raws.iter().map(|raw| self.part(raw)).collect::<io::Result<_>>()?;
        self.columns.push(Column { what, kind, coding, parts });
        Ok(())
    }

    /// The columns that every row has.
    fn fixed(&mut self, rows: &Rows) -> io::Result<()> {
        self.ints(What::Time, &rows.times)?;
        let seqs: Vec<i64> = rows.seqs.iter().map(|seq| seq.cast_signed()).collect();
        self.ints(What::Seq, &seqs)?;
        self.codes(What::Level, rows.levels.iter().map(|level| u16::from(*level)))?;
        self.codes(What::Shape, rows.shape_of.iter().copied())
    }

    /// The columns that rows may have. Answers where in the directory each stands.
    fn optional(&mut self, rows: &Rows) -> io::Result<HashMap<u16, u16>> {
        let mut numbers = HashMap::new();
        for (number, what, texts) in [
            (MODULE, What::Module, &rows.modules),
            (FILE, What::File, &rows.files),
            (RUN_ID, What::RunId, &rows.run_ids),
            (REST, What::Rest, &rows.rest),
        ] {
            if texts.len() > 0 {
                numbers.insert(number, self.next_number()?);
                self.texts(what, Kind::Text, texts)?;
            }
        }
        if !rows.lines.is_empty() {
            numbers.insert(LINE, self.next_number()?);
            let lines: Vec<i64> = rows.lines.iter().map(|line| line.cast_signed()).collect();
            self.ints(What::Line, &lines)?;
        }
        for ((number, name), values) in (FIRST_FIELD..).zip(&rows.names).zip(&rows.fields) {
            numbers.insert(number, self.next_number()?);
            let what = What::Field(name.clone());
            match values {
                Values::Texts(texts) => self.texts(what, Kind::Text, texts)?,
                Values::Json(texts) => self.texts(what, Kind::Json, texts)?,
                Values::Ints(all) => self.ints(what, all)?,
                Values::Floats(all) => self.floats(what, all)?,
            }
        }
        Ok(numbers)
    }

    fn next_number(&self) -> io::Result<u16> {
        u16::try_from(self.columns.len()).map_err(io::Error::other)
    }

    /// Small numbers, one for each row.
    fn codes(&mut self, what: What, codes: impl Iterator<Item = u16> + Clone) -> io::Result<()> {
        let first = codes.clone().next().unwrap_or(0);
        if codes.clone().all(|code| code == first) {
            return self.add(what, Kind::Int, Coding::One, &[&first.to_le_bytes()]);
        }
        let mut raw = std::mem::take(&mut self.encoder.scratch);
        raw.clear();
        let coding = put_codes(&mut raw, codes);
        let added = self.add(what, Kind::Int, coding, &[&raw]);
        self.encoder.scratch = raw;
        added
    }

    fn ints(&mut self, what: What, numbers: &[i64]) -> io::Result<()> {
        let repeats = numbers.len() > 16 && !matches!(what, What::Time | What::Seq);
        if repeats && let Some((words, codes)) = dictionary(numbers.iter(), |number| *number) {
            let texts: Vec<String> = words.iter().map(ToString::to_string).collect();
            return self.dictionary(what, Kind::Int, texts.iter().map(String::as_str), &codes);
        }
        let (steps, steps2) = (steps(numbers), steps2(numbers));
        if steps2.len() < steps.len() {
            return self.add(what, Kind::Int, Coding::Steps2, &[&steps2]);
        }
        self.add(what, Kind::Int, Coding::Steps, &[&steps])
    }

    fn floats(&mut self, what: What, numbers: &[f64]) -> io::Result<()> {
        if let Some(raw) = decimals(numbers) {
            return self.add(what, Kind::Float, Coding::Decimals, &[&raw]);
        }
        let planes: Vec<u8> = (0..8)
            .flat_map(|byte| {
                numbers.iter().map(move |number| {
                    number.to_bits().to_le_bytes().get(byte).copied().unwrap_or(0)
                })
            })
            .collect();
        self.add(what, Kind::Float, Coding::Floats, &[&planes])
    }

    fn texts(&mut self, what: What, kind: Kind, texts: &Texts) -> io::Result<()> {
        if let Some((words, codes)) = dictionary(texts.iter(), |text| text) {
            if let [only] = words.as_slice() {
                return self.add(what, kind, Coding::One, &[only.as_bytes()]);
            }
            return self.dictionary(what, kind, words.into_iter(), &codes);
        }
        let mut lengths = Vec::with_capacity(texts.len() * 2);
        (0..texts.len()).for_each(|at| put_varint(&mut lengths, texts.span(at).len() as u64));
        self.add(what, kind, Coding::Texts, &[&lengths, texts.joined().as_bytes()])
    }

    fn dictionary<'t>(
        &mut self,
        what: What,
        kind: Kind,
        words: impl Iterator<Item = &'t str>,
        codes: &[u16],
    ) -> io::Result<()> {
        let mut raw = Vec::new();
        let mut count = 0_usize;
        for word in words {
            put_text(&mut raw, word);
            count += 1;
        }
        let mut which = Vec::with_capacity(codes.len() * 2);
        if count <= 256 {
            which.extend(codes.iter().map(|code| low_byte(*code)));
        } else {
            which.extend(codes.iter().flat_map(|code| code.to_le_bytes()));
        }
        self.add(what, kind, Coding::Dictionary, &[&raw, &which])
    }
}

const fn low_byte(code: u16) -> u8 {
    code.to_le_bytes()[0]
}

/// Writes small numbers in one byte each if they all fit, else in two.
fn put_codes(to: &mut Vec<u8>, codes: impl Iterator<Item = u16> + Clone) -> Coding {
    if codes.clone().all(|code| code < 256) {
        to.extend(codes.map(low_byte));
        return Coding::Bytes;
    }
    to.extend(codes.flat_map(u16::to_le_bytes));
    Coding::Words
}

/// The different values once, and which one each is; none where they repeat too rarely.
fn dictionary<T, K: std::hash::Hash + Eq + Copy>(
    values: impl ExactSizeIterator<Item = T>,
    key: impl Fn(T) -> K,
) -> Option<(Vec<K>, Vec<u16>)> {
    let most = (values.len() / DICTIONARY_ROWS).clamp(1, DICTIONARY_MAX);
    let mut numbers: HashMap<K, u16> = HashMap::new();
    let mut words = Vec::new();
    let mut codes = Vec::with_capacity(values.len());
    for (seen, value) in values.enumerate() {
        let value = key(value);
        let code = if let Some(code) = numbers.get(&value) {
            *code
        } else {
            // Mostly it is plain after a few rows that nothing repeats.
            if words.len() >= most || (words.len() > 64 && words.len() * 2 > seen) {
                return None;
            }
            let code = u16::try_from(words.len()).ok()?;
            numbers.insert(value, code);
            words.push(value);
            code
        };
        codes.push(code);
    }
    (!words.is_empty()).then_some((words, codes))
}

fn steps(numbers: &[i64]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(numbers.len() * 2);
    let mut last = 0_i64;
    for number in numbers {
        put_varint(&mut raw, zigzag(number.wrapping_sub(last)));
        last = *number;
    }
    raw
}

fn steps2(numbers: &[i64]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(numbers.len() * 2);
    let (mut last, mut last_step) = (0_i64, 0_i64);
    for number in numbers {
        let step = number.wrapping_sub(last);
        put_varint(&mut raw, zigzag(step.wrapping_sub(last_step)));
        (last, last_step) = (*number, step);
    }
    raw
}

/// Numbers that a few decimals write exactly.
fn decimals(numbers: &[f64]) -> Option<Vec<u8>> {
    let mut decimals = 0;
    for number in numbers {
        while scaled(*number, decimals).is_none() {
            decimals += 1;
            if decimals > DECIMALS_MAX {
                return None;
            }
        }
    }
    // What fits with few decimals may be too large with more.
    let whole: Vec<i64> =
        numbers.iter().map(|number| scaled(*number, decimals)).collect::<Option<_>>()?;
    let mut raw = vec![decimals];
    raw.extend(steps(&whole));
    Some(raw)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::float_cmp,
    reason = "only what is exact is taken"
)]
fn scaled(number: f64, decimals: u8) -> Option<i64> {
    let unit = 10_f64.powi(i32::from(decimals));
    let whole = (number * unit).round();
    let is_exact = whole.abs() < EXACT && whole / unit == number;
    let is_zero_below = whole == 0.0 && number.is_sign_negative();
    (is_exact && !is_zero_below).then_some(whole as i64)
}
