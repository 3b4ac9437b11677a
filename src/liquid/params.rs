//! Parameters: what a pipeline says of the values that it is given, so that they can be checked,
//! filled in and asked for in a form.
//!
//! `pipeline([…], #{params: #{days: 30, hub: #{value: 80.0, min: 10}, site: #{type: "text", choices: ["XJJX"], help: "…"}}})`: a
//! plain value is a default that also says the type; a map says more.

use rhai::{Dynamic, Map};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kernel::name::nearest;
use crate::kernel::script::from_dynamic;

/// What a map says of a parameter.
const KEYS: [&str; 6] = ["type", "value", "help", "choices", "min", "max"];

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    /// Anything.
    Any,
    /// A whole number.
    Integer,
    /// A number; a whole one is made a float.
    Float,
    /// A text.
    Text,
    /// True or false.
    Boolean,
    /// A list.
    List,
    /// A map.
    Map,
}

/// What a pipeline says of one of its inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Parameter {
    /// The input.
    pub name: String,
    /// What it may be.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// What it is when nothing is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "http", schema(value_type = Option<Object>))]
    pub default: Option<Value>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The only values that it may have; any where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "http", schema(value_type = Vec<Object>))]
    pub choices: Vec<Value>,
    /// The least number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

impl ParameterType {
    const WORDS: [(&'static str, Self); 7] = [
        ("any", Self::Any),
        ("integer", Self::Integer),
        ("float", Self::Float),
        ("text", Self::Text),
        ("boolean", Self::Boolean),
        ("list", Self::List),
        ("map", Self::Map),
    ];

    /// As a word.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, kind)| *kind == self).map_or("any", |(word, _)| word)
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Any,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_f64() => Self::Float,
            Value::Number(_) => Self::Integer,
            Value::String(_) => Self::Text,
            Value::Array(_) => Self::List,
            Value::Object(_) => Self::Map,
        }
    }

    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Float => value.is_number(),
            other => Self::of(value) == other,
        }
    }
}

impl Parameter {
    /// Reads what a script says of one; faults are sentences about it.
    pub(super) fn declare(name: &str, said: Dynamic) -> Result<Self, Vec<String>> {
        let mut read = Reading { name, faults: Vec::new() };
        let mut parameter = Self {
            name: name.to_owned(),
            kind: ParameterType::Any,
            default: None,
            help: None,
            choices: Vec::new(),
            min: None,
            max: None,
        };
        if said.is_map() {
            read.map(said.cast::<Map>(), &mut parameter);
        } else {
            parameter.default = read.json("value", &said);
            parameter.kind = parameter.default.as_ref().map_or(parameter.kind, ParameterType::of);
        }
        read.against_itself(&mut parameter);
        if read.faults.is_empty() { Ok(parameter) } else { Err(read.faults) }
    }

    /// In one line, for people.
    pub fn in_words(&self) -> String {
        let mut words = vec![format!("{}: {}", self.name, self.kind.as_str())];
        if !self.choices.is_empty() {
            let choices: Vec<String> = self.choices.iter().map(Value::to_string).collect();
            words.push(format!("one of {}", choices.join(", ")));
        }
        words.extend(self.min.map(|min| format!("at least {min}")));
        words.extend(self.max.map(|max| format!("at most {max}")));
        words.push(match &self.default {
            Some(default) => format!("{default} unless given"),
            None => "to be given".to_owned(),
        });
        let words = words.join(", ");
        match &self.help {
            Some(help) => format!("{words} ({help})"),
            None => words,
        }
    }

    /// The value as the pipeline gets it; the error says why it cannot have it.
    pub(super) fn take(&self, value: Value) -> Result<Value, String> {
        if !self.kind.fits(&value) {
            let is = match ParameterType::of(&value) {
                ParameterType::Any => "null".to_owned(),
                kind => format!("of type {}", kind.as_str()),
            };
            return Err(format!("is {is}, and has to be of type {}", self.kind.as_str()));
        }
        let value = match (self.kind, value.as_f64()) {
            (ParameterType::Float, Some(number)) => Value::from(number),
            _ => value,
        };
        let number = value.as_f64();
        if let (Some(number), Some(min)) = (number, self.min)
            && number < min
        {
            return Err(format!("is {number}, and has to be at least {min}"));
        }
        if let (Some(number), Some(max)) = (number, self.max)
            && number > max
        {
            return Err(format!("is {number}, and has to be at most {max}"));
        }
        if !self.choices.is_empty() && !self.choices.contains(&value) {
            let choices: Vec<String> = self.choices.iter().map(Value::to_string).collect();
            return Err(format!("is {value}, and has to be one of {}", choices.join(", ")));
        }
        Ok(value)
    }
}

fn near(word: &str, known: &[&str]) -> String {
    let near = nearest(word, known.iter().copied());
    near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default()
}

/// Reads a declaration and collects what is wrong with it.
struct Reading<'a> {
    name: &'a str,
    faults: Vec<String>,
}

impl Reading<'_> {
    fn fault(&mut self, what: &str) {
        self.faults.push(format!("the parameter `{}`: {what}", self.name));
    }

    fn json(&mut self, what: &str, value: &Dynamic) -> Option<Value> {
        let read = from_dynamic(value);
        if let Err(error) = &read {
            self.fault(&format!("its `{what}` is no data: {}", error.detail()));
        }
        read.ok()
    }

    fn map(&mut self, map: Map, parameter: &mut Parameter) {
        let says_type = map.contains_key("type");
        for (key, value) in map {
            match key.as_str() {
                "type" => parameter.kind = self.kind(value),
                // Rhai keeps the bare word `default` for itself.
                "value" | "default" => parameter.default = self.json("value", &value),
                "help" => match value.into_string() {
                    Ok(help) => parameter.help = Some(help),
                    Err(_other) => self.fault("its `help` is a text"),
                },
                "choices" => match self.json("choices", &value) {
                    Some(Value::Array(choices)) if !choices.is_empty() => {
                        parameter.choices = choices;
                    }
                    _ => self.fault("its `choices` are a list with at least one value"),
                },
                "min" => parameter.min = self.number("min", &value),
                "max" => parameter.max = self.number("max", &value),
                other => {
                    let near = near(other, &KEYS);
                    self.fault(&format!(
                        "it has `{other}`, which is none of {}{near}",
                        KEYS.join(", ")
                    ));
                }
            }
        }
        let example = parameter.default.as_ref().or(parameter.choices.first());
        if !says_type && let Some(example) = example {
            parameter.kind = ParameterType::of(example);
        }
    }

    fn kind(&mut self, said: Dynamic) -> ParameterType {
        let words = ParameterType::WORDS.map(|(word, _)| word);
        let said = said.into_string().unwrap_or_default();
        let found = ParameterType::WORDS.iter().find(|(word, _)| *word == said);
        if found.is_none() {
            let near = near(&said, &words);
            self.fault(&format!("its `type` is one of {}{near}", words.join(", ")));
        }
        found.map_or(ParameterType::Any, |(_, kind)| *kind)
    }

    fn number(&mut self, what: &str, value: &Dynamic) -> Option<f64> {
        let read = self.json(what, value).and_then(|value| value.as_f64());
        if read.is_none() {
            self.fault(&format!("its `{what}` is a number"));
        }
        read
    }

    /// Whether what it says fits together.
    fn against_itself(&mut self, parameter: &mut Parameter) {
        let numeric = matches!(parameter.kind, ParameterType::Integer | ParameterType::Float);
        if !numeric && (parameter.min.is_some() || parameter.max.is_some()) {
            self.fault("only numbers have a `min` and a `max`");
        }
        if let (Some(min), Some(max)) = (parameter.min, parameter.max)
            && min > max
        {
            self.fault(&format!("its `min` {min} is greater than its `max` {max}"));
        }
        let bare = Parameter { choices: Vec::new(), ..parameter.clone() };
        for choice in &mut parameter.choices {
            match bare.take(choice.take()) {
                Ok(taken) => *choice = taken,
                Err(why) => self.fault(&format!("one of its `choices` {why}")),
            }
        }
        if let Some(default) = parameter.default.take() {
            match parameter.take(default) {
                Ok(taken) => parameter.default = Some(taken),
                Err(why) => self.fault(&format!("its default {why}")),
            }
        }
    }
}
