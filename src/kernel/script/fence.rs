//! What a script may use: the limits of one engine.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kernel::error::{Error, Fault, Kind, Result};

/// The limits of one engine. `operations`, `time` and `memory` can be set anew for one call
/// ([`super::Call`]); the others are the engine's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Patch")]
pub struct Fence {
    /// Operations (statements, expressions, calls) of one call.
    pub operations: u64,
    /// Time that one call may take, such as `"50ms"` or `"5m"`.
    #[serde(serialize_with = "write_span")]
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

/// The part `[script]` of the configuration: what is not said stays as the preset has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScriptConfig {
    /// Limits for operators, conditions and hooks; the rest is [`Fence::operator`].
    pub operator: Fence,
    /// Limits for pipelines and their nodes; the rest is [`Fence::pipeline`].
    #[serde(deserialize_with = "over_pipeline")]
    pub pipeline: Fence,
}

impl Default for ScriptConfig {
    fn default() -> Self {
        Self { operator: Fence::operator(), pipeline: Fence::pipeline() }
    }
}

impl ScriptConfig {
    /// Checks what a file may have set.
    pub fn check(&self) -> Result<()> {
        self.operator.check()?;
        self.pipeline.check()
    }
}

fn over_pipeline<'de, D: Deserializer<'de>>(from: D) -> Result<Fence, D::Error> {
    Patch::deserialize(from).map(|patch| patch.onto(Fence::pipeline()))
}

/// What a file says of a fence.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Patch {
    operations: Option<u64>,
    time: Option<Span>,
    memory: Option<u64>,
    string: Option<usize>,
    array: Option<usize>,
    map: Option<usize>,
    variables: Option<usize>,
    functions: Option<usize>,
    calls: Option<usize>,
    expressions: Option<usize>,
    source: Option<usize>,
    printed: Option<usize>,
}

impl Patch {
    fn onto(self, fence: Fence) -> Fence {
        Fence {
            operations: self.operations.unwrap_or(fence.operations),
            time: self.time.map_or(fence.time, |span| span.0),
            memory: self.memory.unwrap_or(fence.memory),
            string: self.string.unwrap_or(fence.string),
            array: self.array.unwrap_or(fence.array),
            map: self.map.unwrap_or(fence.map),
            variables: self.variables.unwrap_or(fence.variables),
            functions: self.functions.unwrap_or(fence.functions),
            calls: self.calls.unwrap_or(fence.calls),
            expressions: self.expressions.unwrap_or(fence.expressions),
            source: self.source.unwrap_or(fence.source),
            printed: self.printed.unwrap_or(fence.printed),
        }
    }
}

impl From<Patch> for Fence {
    fn from(patch: Patch) -> Self {
        patch.onto(Self::operator())
    }
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
            time: Duration::from_mins(5),
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
        within("operations", usize::try_from(self.operations).unwrap_or(usize::MAX), 1, usize::MAX);
        within("time", usize::try_from(self.time.as_millis()).unwrap_or(usize::MAX), 1, usize::MAX);
        within("memory", usize::try_from(self.memory).unwrap_or(usize::MAX), 64 << 10, usize::MAX);
        if faults.is_empty() {
            return Ok(());
        }
        let detail = "a limit for scripts is out of range";
        Err(Error::new(Kind::Config, "script_limits", detail).with_faults(faults))
    }

    /// The stack that a call needs. An array or map can be nested as deep as it may have elements,
    /// and Rhai clones, measures and drops a value by recursion: at most 210 bytes a level were
    /// measured for arrays and 315 for maps, and three times that without optimisation. This is
    /// address space; only what is used becomes memory.
    pub fn stack(&self) -> usize {
        let (array, map) = if cfg!(debug_assertions) { (800, 1_200) } else { (512, 768) };
        let nesting = self.array.saturating_mul(array).saturating_add(self.map.saturating_mul(map));
        nesting.saturating_add(4 << 20)
    }
}

fn write_span<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    let millis = time.as_millis();
    if millis.is_multiple_of(1_000) {
        to.collect_str(&format_args!("{}s", millis / 1_000))
    } else {
        to.collect_str(&format_args!("{millis}ms"))
    }
}

/// A time as a file has it: `"50ms"`.
struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        span(&text).map(Self).ok_or_else(|| {
            let detail =
                format!("`{text}` is not a time: write \"50ms\", \"15s\", \"10m\" or \"2h\"");
            serde::de::Error::custom(detail)
        })
    }
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
    use crate::kernel::script::BIG_STACK;

    #[test]
    fn a_fence_is_read_from_a_file_and_written_back() {
        let fence: Fence = toml::from_str("time = \"2m\"\nmap = 5").unwrap();
        assert_eq!(fence.time, Duration::from_mins(2));
        assert_eq!(fence, Fence { map: 5, time: fence.time, ..Fence::operator() });
        let again: Fence = toml::from_str(&toml::to_string(&fence).unwrap()).unwrap();
        assert_eq!(again, fence);
        assert!(toml::from_str::<Fence>("time = 5").is_err());
        assert!(toml::from_str::<Fence>("time = \"5\"").is_err());
        assert!(toml::from_str::<Fence>("tme = \"5s\"").is_err());
    }

    #[test]
    fn what_a_file_leaves_out_stays_as_the_preset_has_it() {
        let config: ScriptConfig =
            toml::from_str("[operator]\nmap = 5\n[pipeline]\ntime = \"1h\"").unwrap();
        assert_eq!(config.operator, Fence { map: 5, ..Fence::operator() });
        let hour = Duration::from_hours(1);
        assert_eq!(config.pipeline, Fence { time: hour, ..Fence::pipeline() });
        assert_eq!(toml::from_str::<ScriptConfig>("").unwrap(), ScriptConfig::default());
        assert!(toml::from_str::<ScriptConfig>("[pipeline]\nmaps = 5").is_err());
    }

    #[test]
    fn every_limit_out_of_range_is_named() {
        let wrong = Fence { array: 0, calls: 10_000, ..Fence::operator() };
        let error = wrong.check().unwrap_err();
        let named: Vec<_> = error.faults().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(named, ["/array", "/calls"]);
        Fence::operator().check().unwrap();
        Fence::pipeline().check().unwrap();
    }

    #[test]
    fn an_operator_fits_on_a_marked_stack() {
        assert!(Fence::operator().stack() < BIG_STACK / 8 * 7);
        assert!(Fence::pipeline().stack() > 256 << 20);
    }
}
