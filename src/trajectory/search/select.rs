//! Which rows of a block are looked for: its filter first, then column by column, the cheap ones
//! before the others, each only for the rows that are left.

use std::io;

use super::super::active::segment::Damage;
use super::super::scalar::Scalar;
use super::super::sealed::Sealed;
use super::super::sealed::block::{Block, Failed, TextColumn, Values};
use super::super::sealed::column::What;
use super::super::sealed::layout::BlockV1;
use super::super::sealed::texts::Texts;
use super::condition::Condition;
use super::filter::{Filter, Text};
use super::text::{Literal, Message};

/// A block, and those of its rows that are looked for, in order.
pub(crate) struct Selection<'s> {
    pub(crate) block: Block<'s>,
    pub(crate) rows: Vec<u32>,
}

/// The rows that are left; all of them before the first look.
struct Left {
    count: usize,
    rows: Option<Vec<u32>>,
}

impl Left {
    fn keep(&mut self, mut is: impl FnMut(usize) -> bool) {
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        match &mut self.rows {
            Some(rows) => rows.retain(|row| is(*row as usize)),
            None => self.rows = Some((0..count).filter(|row| is(*row as usize)).collect()),
        }
    }

    fn is_empty(&self) -> bool {
        self.rows.as_ref().map_or(self.count == 0, Vec::is_empty)
    }

    fn into_rows(self) -> Vec<u32> {
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        self.rows.unwrap_or_else(|| (0..count).collect())
    }
}

/// The rows of a block that a filter takes; none where it has none. What is damaged and could be done
/// without goes to `damage`.
pub(crate) fn select<'s>(
    sealed: &'s Sealed,
    info: &'s BlockV1,
    filter: &Filter,
    damage: &mut Vec<Damage>,
) -> Result<Option<Selection<'s>>, Failed> {
    if !may_hold(sealed, info, filter, damage)? {
        return Ok(None);
    }
    let block = Block::open(sealed, info)?;
    let mut left = Left { count: block.rows(), rows: None };
    by_time(&block, filter, &mut left)?;
    by_level(&block, filter, &mut left)?;
    if let Some(run) = filter.run_id.as_deref().filter(|_| !left.is_empty()) {
        by_run(&block, run, &mut left)?;
    }
    for condition in &filter.fields {
        if !left.is_empty() {
            by_field(&block, condition, &mut left)?;
        }
    }
    if let Some(text) = filter.text.as_ref().filter(|_| !left.is_empty()) {
        by_text(&block, text, &mut left)?;
    }
    Ok(Some(Selection { rows: left.into_rows(), block }).filter(|found| !found.rows.is_empty()))
}

/// Whether a block's filter lets it hold what is looked for.
fn may_hold(
    sealed: &Sealed,
    info: &BlockV1,
    filter: &Filter,
    damage: &mut Vec<Damage>,
) -> io::Result<bool> {
    let mut holds = |hash: u64| -> io::Result<bool> {
        Ok(sealed.may_hold(info, hash)?.unwrap_or_else(|found| {
            damage.push(found);
            true
        }))
    };
    if let Some(hash) = filter.run_hash()
        && !holds(hash)?
    {
        return Ok(false);
    }
    for condition in &filter.fields {
        let Some((hash, is_int)) = condition.hash() else { continue };
        if (is_int && !info.has_ints) || holds(hash)? {
            continue;
        }
        if !condition.outer_names().any(|outer| sealed.may_have_name(outer)) {
            return Ok(false);
        }
    }
    filter.text.as_ref().map_or(Ok(true), |text| text.need.is_met(&mut holds))
}

fn by_time(block: &Block<'_>, filter: &Filter, left: &mut Left) -> Result<(), Failed> {
    let tally = block.info.tally;
    let from = filter.from.map(|from| from.0).filter(|from| tally.min < *from);
    let to = filter.to.map(|to| to.0).filter(|to| tally.max >= *to);
    if from.is_some() || to.is_some() {
        let times = block.times()?;
        left.keep(|row| {
            let time = times.get(row).copied().unwrap_or_default();
            from.is_none_or(|from| time >= from) && to.is_none_or(|to| time < to)
        });
    }
    Ok(())
}

fn by_level(block: &Block<'_>, filter: &Filter, left: &mut Left) -> Result<(), Failed> {
    let Some(least) = filter.level else { return Ok(()) };
    let below = usize::from(least.code());
    if block.info.levels.iter().take(below).any(|count| *count > 0) {
        let levels = block.levels()?;
        let least = u16::from(least.code());
        left.keep(|row| levels.get(row).is_some_and(|level| *level >= least));
    }
    Ok(())
}

fn by_run(block: &Block<'_>, run: &str, left: &mut Left) -> Result<(), Failed> {
    let Some(at) = block.find(&What::RunId) else {
        left.keep(|_| false);
        return Ok(());
    };
    let Some(column) = block.directory.columns.get(at) else { return Ok(()) };
    let (texts, places) = (block.texts(column)?, block.places(at)?);
    let is = each_text(&texts, |text| text == run);
    left.keep(|row| places.get(row).copied().flatten().is_some_and(|place| is(place as usize)));
    Ok(())
}

/// Answers a question about each text of a column, each different one once where they are few.
fn each_text<'t>(
    texts: &'t TextColumn,
    ask: impl Fn(&str) -> bool + 't,
) -> Box<dyn Fn(usize) -> bool + 't> {
    match texts {
        TextColumn::One(text) => {
            let answer = ask(text);
            Box::new(move |_| answer)
        }
        TextColumn::Dictionary { words, codes } => {
            let answers: Vec<bool> = words.iter().map(ask).collect();
            Box::new(move |at| {
                codes.get(at).and_then(|code| answers.get(usize::from(*code))).is_some_and(|is| *is)
            })
        }
        TextColumn::Plain(texts) => Box::new(move |at| ask(texts.get(at))),
    }
}

/// The columns from which a field's value may come.
pub(crate) struct FieldReader {
    columns: Vec<(String, Values, Vec<Option<u32>>)>,
    rest: Option<(TextColumn, Vec<Option<u32>>)>,
}

impl FieldReader {
    /// Reads the columns of some names; those that the block has not are passed over.
    pub(crate) fn open<'n>(
        block: &Block<'_>,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<Self, Failed> {
        let mut columns = Vec::new();
        for name in names {
            let at = block.find(&What::Field(name.to_owned()));
            if let Some((at, column)) =
                at.and_then(|at| Some((at, block.directory.columns.get(at)?)))
            {
                columns.push((name.to_owned(), block.values(column)?, block.places(at)?));
            }
        }
        let rest = match block.find(&What::Rest) {
            Some(at) => match block.directory.columns.get(at) {
                Some(column) => Some((block.texts(column)?, block.places(at)?)),
                None => None,
            },
            None => None,
        };
        Ok(Self { columns, rest })
    }

    fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.rest.is_none()
    }

    /// The value that a row has for a condition's field.
    pub(crate) fn value(&self, condition: &Condition, row: usize) -> Option<Scalar<'_>> {
        let place = |places: &[Option<u32>]| places.get(row).copied().flatten();
        if let Some((texts, at)) =
            self.rest.as_ref().and_then(|(texts, places)| Some((texts, place(places)?)))
        {
            let fields: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(texts.get(at as usize)).unwrap_or_default();
            let get = |name: &str| fields.get(name).map(|value| Scalar::of(value).into_owned());
            return condition.value_of(&get);
        }
        let get = |name: &str| {
            let (_, values, places) = self.columns.iter().find(|(known, ..)| known == name)?;
            Some(values.get(place(places)? as usize))
        };
        condition.value_of(&get)
    }
}

fn by_field(block: &Block<'_>, condition: &Condition, left: &mut Left) -> Result<(), Failed> {
    let names = std::iter::once(condition.name.as_str()).chain(condition.outer_names());
    let reader = FieldReader::open(block, names)?;
    if reader.is_empty() {
        let absent = condition.holds(None);
        left.keep(|_| absent);
        return Ok(());
    }
    if let ([(name, Values::Texts(texts), places)], None) =
        (reader.columns.as_slice(), &reader.rest)
        && *name == condition.name
    {
        let is = each_text(texts, |text| condition.holds(Some(&Scalar::Text(text.into()))));
        let absent = condition.holds(None);
        left.keep(|row| {
            places.get(row).copied().flatten().map_or(absent, |place| is(place as usize))
        });
        return Ok(());
    }
    left.keep(|row| condition.holds(reader.value(condition, row).as_ref()));
    Ok(())
}

fn by_text(block: &Block<'_>, text: &Text, left: &mut Left) -> Result<(), Failed> {
    let column = block.find(&What::Message).and_then(|at| block.directory.columns.get(at));
    let Some(column) = column else { return Ok(()) };
    let messages = block.texts(column)?;
    let matches = |message: &str| text.expr.matches(&Message::new(message));
    match &messages {
        TextColumn::Plain(texts) => match &text.literal {
            Some(literal) if let Some(hay) = literal.hay(texts.joined().as_bytes()) => {
                let hits = hits(texts, &hay, literal, left, &matches);
                left.rows = Some(hits);
            }
            _ => left.keep(|row| matches(texts.get(row))),
        },
        few => {
            let is = each_text(few, matches);
            left.keep(is);
        }
    }
    Ok(())
}

/// The rows that are left in which a literal stands and everything else is right: one pass over all
/// messages of the block.
fn hits(
    texts: &Texts,
    joined: &[u8],
    literal: &Literal,
    left: &Left,
    matches: &dyn Fn(&str) -> bool,
) -> Vec<u32> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = joined.get(from..).and_then(|rest| literal.finder.find(rest)) {
        let at = from + at;
        let row = texts.at(at);
        let end = texts.span(row).end;
        if at + literal.length > end {
            // It runs over the end of one message into the next.
            from = at + 1;
            continue;
        }
        let number = u32::try_from(row).unwrap_or(u32::MAX);
        let is_left = left.rows.as_ref().is_none_or(|rows| rows.binary_search(&number).is_ok());
        if is_left && (literal.is_all || matches(texts.get(row))) {
            found.push(number);
        }
        from = end;
    }
    found
}
