//! What a script may use: the limits of one engine.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::stack::BIG_STACK;
use crate::kernel::error::{Error, Fault, Kind, Result};

/// The limits of one engine. `operations`, `time` and `memory` can be set anew for one call
/// ([`super::Call`]); the others are the engine's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fence {
    /// Operations (statements, expressions, calls) of one call.
    pub operations: u64,
    /// Time that one call may take, such as `"50ms"` or `"5m"`.
    #[serde(serialize_with = "write_span", deserialize_with = "read_span")]
    pub time: Duration,
    /// Bytes that one call may hold at once, over all its values.
    pub memory: u64,
    /// Bytes of one string, and of all strings within one value.
    pub string: usize,
    /// Elements of one array or blob, nested ones included.
    pub array: usize,
    /// Entries of one map, nested ones included.
    pub map: usize,
    /// Variables at the same time in one function.
    pub variables: usize,
    /// Functions of one script.
    pub functions: usize,
    /// Calls within calls.
    pub calls: usize,
    /// Expressions within expressions; `a + b + c` counts each `+`.
    pub expressions: usize,
    /// Bytes of a script's source.
    pub source: usize,
    /// Bytes that one call may print; the rest is cut, which the last line says.
    pub printed: usize,
}

impl Default for Fence {
    fn default() -> Self {
        Self::operator()
    }
}

impl Fence {
    /// For short and hot scripts: operators, conditions, hooks.
    pub const fn operator() -> Self {
        Self {
            operations: 100_000,
            time: Duration::from_millis(50),
            memory: 16 << 20,
            string: 1 << 20,
            array: 10_000,
            map: 1_000,
            variables: 256,
            functions: 256,
            calls: 32,
            expressions: 64,
            source: 256 << 10,
            printed: 64 << 10,
        }
    }

    /// For pipelines and their nodes, which handle whole tables.
    pub const fn pipeline() -> Self {
        Self {
            operations: 50_000_000,
            time: Duration::from_secs(300),
            memory: 512 << 20,
            string: 16 << 20,
            array: 1_000_000,
            map: 100_000,
            variables: 1_024,
            functions: 1_024,
            calls: 64,
            expressions: 64,
            source: 1 << 20,
            printed: 1 << 20,
        }
    }

    /// Checks what a file may have set.
    pub fn check(&self) -> Result<()> {
        let mut faults = Vec::new();
        let mut within = |name: &str, value: usize, least: usize, most: usize| {
            if !(least..=most).contains(&value) {
                let detail = format!("is {value}, may be {least} to {most}");
                faults.push(Fault::new(format!("/{name}"), detail));
            }
        };
        within("array", self.array, 1, 4_000_000);
        within("map", self.map, 1, 1_000_000);
        within("string", self.string, 64, 1 << 30);
        within("calls", self.calls, 1, 128);
        within("expressions", self.expressions, 8, 128);
        within("variables", self.variables, 1, 100_000);
        within("functions", self.functions, 1, 100_000);
        within("source", self.source, 1, 16 << 20);
        within(
            "operations",
            usize::try_from(self.operations).unwrap_or(usize::MAX),
            1,
            usize::MAX,
        );
        within(
            "time",
            usize::try_from(self.time.as_millis()).unwrap_or(usize::MAX),
            1,
            usize::MAX,
        );
        within(
            "memory",
            usize::try_from(self.memory).unwrap_or(usize::MAX),
            64 << 10,
            usize::MAX,
        );
        if faults.is_empty() {
            return Ok(());
        }
        let detail = "a limit for scripts is out of range";
        Err(Error::new(Kind::Config, "script_limits", detail).with_faults(faults))
    }

    /// The stack that a call needs. An array or map can be nested as deep as it may have elements,
    /// and Rhai clones, measures and drops a value by recursion, at up to 200 bytes a level. This
    /// is address space; only what is used becomes memory.
    pub(super) fn stack(&self) -> usize {
        let nesting = self.array.saturating_add(self.map).saturating_mul(256);
        nesting.saturating_add(8 << 20).max(BIG_STACK)
    }
}

fn write_span<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    let millis = time.as_millis();
    if millis % 1_000 == 0 {
        to.collect_str(&format_args!("{}s", millis / 1_000))
    } else {
        to.collect_str(&format_args!("{millis}ms"))
    }
}

fn read_span<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    span(&text).ok_or_else(|| {
        let detail = format!("`{text}` is not a time: write \"50ms\", \"15s\", \"10m\" or \"2h\"");
        serde::de::Error::custom(detail)
    })
}

fn span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(split)?;
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_read_from_a_file_and_written_back() {
        let fence: Fence = toml::from_str("time = \"2m\"\nmap = 5").unwrap();
        assert_eq!(fence.time, Duration::from_secs(120));
        assert_eq!(
            fence,
            Fence {
                map: 5,
                time: fence.time,
                ..Fence::operator()
            }
        );
        let again: Fence = toml::from_str(&toml::to_string(&fence).unwrap()).unwrap();
        assert_eq!(again, fence);
        assert!(toml::from_str::<Fence>("time = 5").is_err());
        assert!(toml::from_str::<Fence>("time = \"5\"").is_err());
        assert!(toml::from_str::<Fence>("tme = \"5s\"").is_err());
    }

    #[test]
    fn every_limit_out_of_range_is_named() {
        let wrong = Fence {
            array: 0,
            calls: 10_000,
            ..Fence::operator()
        };
        let error = wrong.check().unwrap_err();
        let named: Vec<_> = error
            .faults()
            .iter()
            .map(|fault| fault.pointer.as_str())
            .collect();
        assert_eq!(named, ["/array", "/calls"]);
        Fence::operator().check().unwrap();
        Fence::pipeline().check().unwrap();
    }

    #[test]
    fn an_operator_fits_on_a_marked_stack() {
        assert_eq!(Fence::operator().stack(), BIG_STACK);
        assert!(Fence::pipeline().stack() > 256 << 20);
    }
}
