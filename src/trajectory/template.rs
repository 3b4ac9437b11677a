//! How a record is written out as one line: a text with names in braces, as the formatters of
//! loggers have it. `{time}`, `{level}`, `{stream}`, `{message}`, `{module}`, `{file}`, `{line}`,
//! `{run_id}` and `{seq}` are the record's own, `{fields}` is all of its fields, any other name is a
//! field; what a record does not have is nothing. `{{` and `}}` are braces.

use std::fmt::Write as _;

use super::model::Kept;

/// The longest template.
const LENGTH_MAX: usize = 1000;

/// Whether a text is a template.
pub(super) fn is_sound(template: &str) -> bool {
    template.len() <= LENGTH_MAX && pieces(template, |_| ()).is_some()
}

enum Piece<'t> {
    Text(&'t str),
    Name(&'t str),
}

/// Calls `each` with the pieces of a template; none when a brace is left over.
fn pieces<'t>(template: &'t str, mut each: impl FnMut(Piece<'t>)) -> Option<()> {
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (text, behind) = rest.split_at(at);
        each(Piece::Text(text));
        rest = if let Some(behind) = behind.strip_prefix("{{") {
            each(Piece::Text("{"));
            behind
        } else if let Some(behind) = behind.strip_prefix("}}") {
            each(Piece::Text("}"));
            behind
        } else {
            let (name, behind) = behind.strip_prefix('{')?.split_once('}')?;
            if name.is_empty() || name.contains('{') {
                return None;
            }
            each(Piece::Name(name));
            behind
        };
    }
    each(Piece::Text(rest));
    Some(())
}

/// How a record of a stream without a template is written out.
pub(super) const PLAIN: &str = "{time} {level} {stream} {message}{fields}";

/// A record as one line; line breaks and other control characters in it are shown, not obeyed.
pub fn write_out(template: &str, kept: &Kept) -> String {
    let mut line = String::new();
    let written = pieces(template, |piece| match piece {
        Piece::Text(text) => line.push_str(text),
        Piece::Name(name) => put(&mut line, name, kept),
    });
    if written.is_none() {
        line.push_str(&kept.record.message);
    }
    line.chars().map(|c| if c.is_control() && c != '\t' { shown(c) } else { c }).collect()
}

/// The picture of a control character.
fn shown(c: char) -> char {
    char::from_u32(0x2400 + u32::from(c)).filter(|_| u32::from(c) < 0x20).unwrap_or('\u{FFFD}')
}

fn put(line: &mut String, name: &str, kept: &Kept) {
    let record = &kept.record;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    match name {
        "time" => drop(write!(line, "{}", record.time)),
        "level" => drop(write!(line, "{:8}", record.level)),
        "stream" => line.push_str(&record.stream),
        "message" => line.push_str(&record.message),
        "module" => line.push_str(&text(&record.module)),
        "file" => line.push_str(&text(&record.file)),
        "run_id" => line.push_str(&text(&record.run_id)),
        "line" => drop(record.line.map(|number| write!(line, "{number}"))),
        "seq" => drop(write!(line, "{}", kept.seq)),
        "fields" => {
            for (name, value) in &record.fields {
                line.extend([" ", name, "=", &plain(value)]);
            }
        }
        field => line.push_str(&record.fields.get(field).map(plain).unwrap_or_default()),
    }
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::model::{Level, Record};
    use super::*;
    use crate::kernel::clock::Time;
    use serde_json::json;

    #[test]
    fn a_record_is_written_out_as_its_template_says() {
        let mut record = Record::new(Time(0), Level::Error, "wind", "hot\nfire");
        record.line = Some(7);
        record.fields.insert("turbine".into(), json!("R1"));
        record.fields.insert("t".into(), json!(1.5));
        let kept = Kept { seq: 3, record };
        for (template, line) in [
            ("{level}|{message}", "ERROR   |hot␊fire"),
            ("{{{turbine}}} {t} {none}{line} {seq}", "{R1} 1.5 7 3"),
            ("{stream}{fields}", "wind turbine=R1 t=1.5"),
        ] {
            assert!(is_sound(template));
            assert_eq!(write_out(template, &kept), line);
        }
        assert!(
            write_out("{time} {level}", &kept).starts_with("1970-01-01T00:00:00.000000Z ERROR")
        );
        for wrong in ["{", "}", "{}", "{a", "a}", "{a{b}"] {
            assert!(!is_sound(wrong), "{wrong}");
        }
    }
}
