//! Computing with operators: inputs are checked against what the operator says, every fault at once,
//! then the function is called for each row within its fence.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rhai::Dynamic;
use serde::Serialize;
use serde_json::{Map, Value};

use super::model::{Port, PortType};
use super::operators::{COMPUTE, Operator};
use super::{Atom, error};
use crate::kernel::access::Caller;
use crate::kernel::fields::kind;
use crate::kernel::name::nearest;
use crate::kernel::script::{Call, ScriptContext, from_dynamic, to_dynamic};
use crate::kernel::{Error, Fault, Kind, Result};

/// How many faults an answer lists; the rest is counted.
const SHOWN: usize = 50;
/// The largest whole number that a float holds exactly, and beyond which a float is no whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What was computed, and by which version.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Computed {
    /// One value for each row.
    #[serde(rename = "outputs")]
    pub values: Vec<Value>,
    /// The operator's version.
    pub version: String,
}

/// Ends a computation from outside when it is dropped or told to.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Ends the computation soon.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Atom {
    /// Computes one row.
    pub fn compute(
        &self,
        caller: &Caller,
        name: &str,
        version: &str,
        inputs: Value,
    ) -> Result<(Value, String)> {
        let operator = self.may_compute(caller, name, version)?;
        let mut faults = Faults::default();
        let row = arguments(&operator, "/inputs", inputs, &mut faults);
        faults.refuse()?;
        let mut computed = self.run(caller, &operator, vec![row], None, &Cancel::default())?;
        let value = computed.values.pop().unwrap_or(Value::Null);
        Ok((value, computed.version))
    }

    /// Computes many rows, all or none. `cancel` ends it.
    pub fn compute_rows(
        &self,
        caller: &Caller,
        name: &str,
        version: &str,
        rows: Vec<Value>,
        cancel: &Cancel,
    ) -> Result<Computed> {
        let operator = self.may_compute(caller, name, version)?;
        let most = self.config().compute_rows;
        if rows.len() > most {
            return Err(error::too_many_rows(rows.len(), most));
        }
        let mut faults = Faults::default();
        let rows = rows
            .into_iter()
            .enumerate()
            .map(|(at, row)| arguments(&operator, &format!("/rows/{at}"), row, &mut faults))
            .collect();
        faults.refuse()?;
        self.run(caller, &operator, rows, Some("/rows"), cancel)
    }

    /// Calls the function for each row. `base` names the rows in faults.
    fn run(
        &self,
        caller: &Caller,
        operator: &Operator,
        rows: Vec<Vec<Dynamic>>,
        base: Option<&str>,
        cancel: &Cancel,
    ) -> Result<Computed> {
        let info = &operator.info;
        let program = operator
            .program
            .as_ref()
            .map_err(|why| error::broken(&format!("{}@{}", info.name, info.version), why))?;
        let context = ScriptContext { caller: caller.clone(), run_id: None };
        let call = Call::new()
            .tagged(context.into_tag())
            .cancelled_by(cancel.0.clone())
            .within(self.config().compute_time);
        let outcomes = self.inner.engine.call_many(program, COMPUTE, rows, &call)?;
        let mut values = Vec::with_capacity(outcomes.len());
        let mut failed = Failed::default();
        for (at, outcome) in outcomes.into_iter().enumerate() {
            match outcome.and_then(|value| output(&info.output, &value)) {
                Ok(value) => values.push(value),
                Err(error) => failed.add(base.map(|base| format!("{base}/{at}")), error),
            }
        }
        failed.refuse()?;
        Ok(Computed { values, version: info.version.clone() })
    }
}

/// Faults found while reading on: the first ones are kept, all are counted.
#[derive(Default)]
struct Faults {
    shown: Vec<Fault>,
    more: usize,
}

impl Faults {
    fn add(&mut self, pointer: String, detail: impl Into<String>) {
        if self.shown.len() < SHOWN {
            self.shown.push(Fault::new(pointer, detail));
        } else {
            self.more += 1;
        }
    }

    fn refuse(mut self) -> Result<()> {
        if self.shown.is_empty() {
            return Ok(());
        }
        if self.more > 0 {
            self.shown.push(Fault::new("…", format!("and {} more", self.more)));
        }
        Err(error::bad_inputs(self.shown))
    }
}

/// Rows whose computation failed: what the first one said, and where all of them are.
#[derive(Default)]
struct Failed {
    first: Option<Error>,
    shown: Vec<Fault>,
    count: usize,
}

impl Failed {
    fn add(&mut self, at: Option<String>, error: Error) {
        self.count += 1;
        if let Some(at) = at
            && self.shown.len() < SHOWN
        {
            let place = error.faults().first();
            let place = place.map_or_else(String::new, |fault| format!(" ({})", fault.pointer));
            self.shown.push(Fault::new(at, format!("{}{place}", error.detail())));
        }
        self.first.get_or_insert(error);
    }

    fn refuse(self) -> Result<()> {
        let Some(first) = self.first else {
            return Ok(());
        };
        if self.shown.is_empty() {
            return Err(first);
        }
        let detail = match self.count {
            1 => format!("one row cannot be computed: {}", first.detail()),
            count => format!("{count} rows cannot be computed; the first one: {}", first.detail()),
        };
        Err(Error::new(first.kind(), first.code(), detail).with_faults(self.shown))
    }
}

/// The arguments of the function from an object of inputs, in the order of its parameters.
fn arguments(operator: &Operator, at: &str, inputs: Value, faults: &mut Faults) -> Vec<Dynamic> {
    let ports = &operator.info.inputs;
    let mut given: Map<String, Value> = match inputs {
        Value::Object(given) => given,
        other => {
            faults.add(at.to_owned(), format!("is {}, not an object of inputs", kind(&other)));
            return Vec::new();
        }
    };
    let mut values: Vec<Dynamic> = Vec::with_capacity(ports.len());
    for port in ports {
        let value = match given.remove(&port.name) {
            None => Err("is missing".to_owned()),
            Some(value) => input(port.kind, &value),
        };
        values.push(value.unwrap_or_else(|why| {
            faults.add(format!("{at}/{}", port.name), why);
            Dynamic::UNIT
        }));
    }
    for name in given.keys() {
        let names = ports.iter().map(|port| port.name.as_str());
        let hint = nearest(name, names)
            .map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
        let shown: String = name.chars().take(60).collect();
        faults.add(format!("{at}/{shown}"), format!("is no input of this operator{hint}"));
    }
    operator.order.iter().filter_map(|at| values.get(*at).cloned()).collect()
}

/// An input as its type wants it.
fn input(wanted: PortType, value: &Value) -> Result<Dynamic, String> {
    let fits = match (wanted, value) {
        (PortType::Float, Value::Number(number)) => number.as_f64().map(Dynamic::from_float),
        (PortType::Int, Value::Number(number)) => {
            number.as_i64().or_else(|| number.as_f64().and_then(whole)).map(Dynamic::from_int)
        }
        (PortType::Any, value)
        | (PortType::Bool, value @ Value::Bool(_))
        | (PortType::Text, value @ Value::String(_))
        | (PortType::Array, value @ Value::Array(_))
        | (PortType::Map, value @ Value::Object(_)) => Some(to_dynamic(value)),
        _ => None,
    };
    fits.ok_or_else(|| {
        let shown: String = value.to_string().chars().take(40).collect();
        format!("is {shown} ({}), not {}", kind(value), wanted.word())
    })
}

/// A float that is a whole number, as one.
fn whole(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within the exact range")]
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

/// What the function answered, as the operator says that it answers. A float that is no number is
/// null, as JSON has none.
fn output(port: &Port, value: &Dynamic) -> Result<Value> {
    let value = from_dynamic(value)?;
    let fits = match (port.kind, &value) {
        (PortType::Float, Value::Number(number)) => number.as_f64().map(Value::from),
        (PortType::Int, Value::Number(number)) => {
            number.as_i64().or_else(|| number.as_f64().and_then(whole)).map(Value::from)
        }
        // A float that is not a number left the script as null.
        (PortType::Float, Value::Null)
        | (PortType::Any, _)
        | (PortType::Bool, Value::Bool(_))
        | (PortType::Text, Value::String(_))
        | (PortType::Array, Value::Array(_))
        | (PortType::Map, Value::Object(_)) => Some(value.clone()),
        _ => None,
    };
    fits.ok_or_else(|| {
        let detail = format!(
            "`compute` answered {}, and the operator says that it answers {}",
            kind(&value),
            port.kind.word()
        );
        Error::new(Kind::Invalid, "bad_output", detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn inputs_are_taken_as_their_type_says() {
        let float =
            |value: Value| input(PortType::Float, &value).map(|value| value.as_float().unwrap());
        assert_eq!(float(json!(78)), Ok(78.0));
        assert_eq!(float(json!(0.5)), Ok(0.5));
        let int = |value: Value| input(PortType::Int, &value).map(|value| value.as_int().unwrap());
        assert_eq!(int(json!(78.0)), Ok(78));
        for wrong in [json!(0.5), json!(1e30), json!("1"), json!(null), json!(true)] {
            assert!(int(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(input(PortType::Text, &json!(1)).is_err());
        assert!(input(PortType::Any, &json!(null)).unwrap().is_unit());
    }

    #[test]
    fn outputs_are_what_was_said() {
        let of = |kind, value: Dynamic| output(&Port::new("", kind), &value);
        assert_eq!(of(PortType::Float, Dynamic::from_int(97)).unwrap().to_string(), "97.0");
        assert_eq!(of(PortType::Int, Dynamic::from_float(2.0)).unwrap(), json!(2));
        assert_eq!(of(PortType::Any, Dynamic::from_int(97)).unwrap().to_string(), "97");
        let error = of(PortType::Float, Dynamic::from("x")).unwrap_err();
        assert_eq!(error.code(), "bad_output");
        assert!(of(PortType::Int, Dynamic::from_float(2.5)).is_err());
    }
}
