//! What records are looked for, read from the parameters of a call.

use std::collections::{BTreeMap, BTreeSet};

use super::super::active::payload::{Raw, Tally};
use super::super::error;
use super::super::intake::time::time_from_text;
use super::super::model::Level;
use super::super::scalar::Scalar;
use super::super::tokens::run_hash;
use super::condition::Condition;
use super::need::Need;
use super::text::{self, Expr, Message};
use crate::kernel::clock::Time;
use crate::kernel::error::{Fault, Result};

/// What records are looked for.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// From this time on.
    pub from: Option<Time>,
    /// Before this time.
    pub to: Option<Time>,
    /// Of this level and above.
    pub level: Option<Level>,
    /// Of this stream.
    pub stream: Option<String>,
    /// Of this run.
    pub run_id: Option<String>,
    pub(crate) fields: Vec<Condition>,
    pub(crate) text: Option<Text>,
}

/// The text that is looked for, and what its parts ask of a block before it is read.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) expr: Expr,
    pub(crate) need: Need,
    pub(crate) literal: Option<text::Literal>,
}

impl Filter {
    /// Looks for this text: see the grammar in the interface's page.
    pub fn with_text(mut self, text: &str) -> Result<Self> {
        self.text = text::parse(text)?.map(Text::new);
        Ok(self)
    }

    /// Looks for a field: `field("turbine", "R807*")`, `field("power>", "1500")`, `field("power>1500", "")`,
    /// `field("state!", "ok")`. A name of signs alone asks nothing.
    pub fn with_field(mut self, name: &str, value: &str) -> Self {
        self.fields.extend(Condition::read(name, value));
        self
    }

    /// Whether a record is looked for.
    pub(crate) fn takes(&self, raw: &Raw<'_>) -> bool {
        self.from.is_none_or(|from| raw.time >= from)
            && self.to.is_none_or(|to| raw.time < to)
            && self.level.is_none_or(|level| raw.level >= level)
            && self.stream.as_deref().is_none_or(|stream| raw.stream == stream)
            && self.run_id.as_deref().is_none_or(|run| raw.run_id == Some(run))
            && self.text.as_ref().is_none_or(|text| text.expr.matches(&Message::new(raw.message)))
            && self.takes_fields(raw)
    }

    fn takes_fields(&self, raw: &Raw<'_>) -> bool {
        if self.fields.is_empty() {
            return true;
        }
        let fields = raw.fields.to_map();
        let get = |name: &str| fields.get(name).map(Scalar::of);
        self.fields.iter().all(|condition| condition.holds(condition.value_of(&get).as_ref()))
    }

    /// Whether the text that is looked for may stand in the records of a frame.
    pub(crate) fn may_be_in(&self, payload: &[u8]) -> bool {
        let literal = self.text.as_ref().and_then(|text| text.literal.as_ref());
        literal.is_none_or(|literal| literal.may_be_in(payload))
    }

    /// Whether something of these times and levels may be looked for.
    pub(crate) fn may_take(&self, tally: &Tally, levels: u8) -> bool {
        self.from.is_none_or(|from| tally.max >= from.0)
            && self.to.is_none_or(|to| tally.min < to.0)
            && self.level.is_none_or(|level| levels & level.and_above() != 0)
    }

    /// Whether times, levels and streams are all that is asked: what is known of a block may then
    /// be all that is needed of it.
    pub(crate) fn is_plain(&self) -> bool {
        self.run_id.is_none() && self.fields.is_empty() && self.text.is_none()
    }

    /// The hash of the run that is looked for.
    pub(crate) fn run_hash(&self) -> Option<u64> {
        self.run_id.as_deref().map(run_hash)
    }

    /// Reads a filter from its parameters, and the values of the parameters that are `others`.
    pub fn from_pairs<'a>(
        pairs: &'a [(String, String)],
        others: &[&str],
    ) -> Result<(Self, BTreeMap<&'a str, &'a str>)> {
        let (filter, rest, faults) = Self::split(pairs, others);
        if faults.is_empty() { Ok((filter, rest)) } else { Err(error::bad_query(faults)) }
    }

    pub(crate) fn split<'a>(
        pairs: &'a [(String, String)],
        others: &[&str],
    ) -> (Self, BTreeMap<&'a str, &'a str>, Vec<Fault>) {
        let mut filter = Self::default();
        let mut faults = Vec::new();
        let mut rest = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (name, value) in pairs {
            if !name.starts_with("field.") && !seen.insert(name) {
                faults.push(Fault::new(short(name), "is given twice"));
            } else if others.contains(&name.as_str()) {
                rest.insert(name.as_str(), value.as_str());
            } else {
                filter.read(name, value, &mut faults);
            }
        }
        (filter, rest, faults)
    }

    fn read(&mut self, name: &str, text: &str, faults: &mut Vec<Fault>) {
        match name {
            // An empty parameter is what an empty box of a form sends: nothing is asked.
            "from" | "to" | "level" | "stream" | "run_id" | "q" if text.is_empty() => {}
            "from" => self.from = time("from", text, faults),
            "to" => self.to = time("to", text, faults),
            "level" => {
                self.level = Level::parse(text);
                if self.level.is_none() {
                    faults.push(Fault::new(
                        "level",
                        format!(
                            "is DEBUG, INFO, WARNING, ERROR or CRITICAL, not `{}`",
                            short(text)
                        ),
                    ));
                }
            }
            "stream" => self.stream = Some(text.to_owned()),
            "run_id" => self.run_id = Some(text.to_owned()),
            "q" => match text::parse(text) {
                Ok(expr) => self.text = expr.map(Text::new),
                Err(error) => faults.extend(error.faults().iter().cloned()),
            },
            other => {
                let condition =
                    other.strip_prefix("field.").and_then(|field| Condition::read(field, text));
                match condition {
                    Some(condition) => self.fields.push(condition),
                    None => faults.push(Fault::new(
                        short(other),
                        "is no parameter of this call: from, to, level, stream, run_id, q, field.NAME",
                    )),
                }
            }
        }
    }
}

impl Text {
    fn new(expr: Expr) -> Self {
        Self { need: Need::of(&expr), literal: text::Literal::of(&expr), expr }
    }
}

pub(crate) fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

fn time(name: &str, text: &str, faults: &mut Vec<Fault>) -> Option<Time> {
    let parsed = time_from_text(text);
    if parsed.is_none() {
        faults.push(Fault::new(
            name,
            format!("is a time such as 2014-03-30T01:00:00Z, not `{}`", short(text)),
        ));
    }
    parsed
}
