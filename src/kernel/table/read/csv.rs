//! CSV as it comes from the field: byte order marks, quotes, CRLF, empty cells, local times with
//! offsets. The bytes are gone through twice: once to learn the types, once to build the columns.

use ::csv::{ByteRecord, Reader, ReaderBuilder};

use super::super::error::{self, Faults, short};
use super::super::rows::RowsBuilder;
use super::super::schema::{Column, ColumnType, name_faults};
use super::super::{Table, number};
use super::Limits;
use super::infer::{self, Look, Tally, Verdict};
use crate::kernel::{Error, Result};

/// How to read CSV.
#[derive(Debug, Clone, Default)]
pub struct CsvOptions {
    /// What stands between cells; when `None`, the one of comma, semicolon and tab that is most
    /// frequent in the header.
    pub delimiter: Option<u8>,
    /// Columns that hold times: whatever is not one is a fault.
    pub time_columns: Vec<String>,
    /// Columns that are text, whatever they look like (codes such as `007`).
    pub text_columns: Vec<String>,
    /// How much is read at most.
    pub limits: Limits,
}

/// Reads CSV. Every fault is named with its line; the first fifty are listed.
pub(super) fn read(bytes: &[u8], options: &CsvOptions) -> Result<Table> {
    let bytes = strip_mark(bytes)?;
    let source = Source { bytes, delimiter: options.delimiter.unwrap_or_else(|| delimiter(bytes)) };
    source.refuse_open_quote()?;
    let mut faults = Faults::default();
    let header = source.header(&mut faults)?;
    options.limits.check_columns(header.len())?;
    let verdicts = source.verdicts(&header, options)?;
    let columns: Vec<Column> = header
        .iter()
        .zip(&verdicts)
        .map(|(name, verdict)| Column::new(name, verdict.kind))
        .collect();
    let table = source.build(&columns, &verdicts, &mut faults)?;
    faults.refuse("bad_csv", "the CSV")?;
    table.finish()
}

/// The bytes without a byte order mark.
fn strip_mark(bytes: &[u8]) -> Result<&[u8]> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err(error::not_text("the CSV is in UTF-16: save it as UTF-8"));
    }
    let bytes = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        return Err(error::not_text("the CSV is empty: its first line names the columns"));
    }
    Ok(bytes)
}

/// The separator that is most frequent in the first line, outside quotes.
fn delimiter(bytes: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    for byte in bytes.iter().skip_while(|byte| matches!(byte, b'\r' | b'\n')) {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted => break,
            _ if quoted => {}
            byte => counts.iter_mut().filter(|(known, _)| known == byte).for_each(|(_, n)| *n += 1),
        }
    }
    // The first of equals wins, which is the comma.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(byte, _)| byte)
}

#[derive(Clone, Copy)]
struct Source<'a> {
    bytes: &'a [u8],
    delimiter: u8,
}

impl<'a> Source<'a> {
    /// A quote that is never closed would make the rest of the file one cell.
    fn refuse_open_quote(self) -> Result<()> {
        let mut faults = Faults::default();
        if let Some(line) = self.open_quote() {
            faults.add(format!("line {line}"), "the quote that opens here is never closed");
        }
        faults.refuse("bad_csv", "the CSV")
    }

    /// The line of a quote that opens a cell and is never closed, if there is one. A quote in the
    /// middle of a cell is a character like any other, and two within quotes stand for one.
    fn open_quote(self) -> Option<usize> {
        let (mut line, mut opened, mut cell_begins) = (1, None, true);
        let mut bytes = self.bytes.iter().peekable();
        while let Some(&byte) = bytes.next() {
            if byte == b'\n' {
                line += 1;
            }
            if opened.is_some() {
                if byte == b'"' && bytes.next_if(|next| **next == b'"').is_none() {
                    opened = None;
                }
                cell_begins = false;
            } else if byte == b'"' && cell_begins {
                opened = Some(line);
            } else {
                cell_begins = byte == self.delimiter || byte == b'\n' || byte == b'\r';
            }
        }
        opened
    }

    fn reader(self) -> Reader<&'a [u8]> {
        ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .from_reader(self.bytes)
    }

    /// Calls `each` with every record after the header and its line.
    fn each(self, mut each: impl FnMut(u64, &ByteRecord) -> Result<()>) -> Result<()> {
        let mut reader = self.reader();
        let mut record = ByteRecord::new();
        let mut lines = Lines::default();
        let mut first = true;
        while reader.read_byte_record(&mut record).map_err(broken)? {
            let start = record.position().map_or(0, ::csv::Position::byte);
            let line = lines.at(self.bytes, number::index(start));
            if !first {
                each(line, &record)?;
            }
            first = false;
        }
        Ok(())
    }

    /// The names of the columns. What is wrong with them is added to the faults.
    fn header(self, faults: &mut Faults) -> Result<Vec<String>> {
        let mut record = ByteRecord::new();
        self.reader().read_byte_record(&mut record).map_err(broken)?;
        let line = Lines::default().at(self.bytes, start_of(&record));
        let place = format!("line {line}");
        let mut names = Vec::with_capacity(record.len());
        for (at, cell) in record.iter().enumerate() {
            let name = String::from_utf8_lossy(cell).trim().to_owned();
            if std::str::from_utf8(cell).is_err() {
                faults.add(&place, format!("column {}: the name is not UTF-8", at + 1));
            }
            if matches!(infer::look(&name), Look::Int | Look::Float | Look::Zoned | Look::Zoneless)
            {
                faults.add(
                    &place,
                    format!(
                        "`{}` looks like data: the first line must name the columns",
                        short(&name)
                    ),
                );
            }
            names.push(name);
        }
        for fault in name_faults(names.iter().map(String::as_str)) {
            faults.add(&place, format!("{}: {}", fault.pointer, fault.detail));
        }
        Ok(names)
    }

    /// The type of every column.
    fn verdicts(self, header: &[String], options: &CsvOptions) -> Result<Vec<Verdict>> {
        let mut tallies = vec![Tally::default(); header.len()];
        let mut rows = 0_u64;
        self.each(|_, record| {
            rows += 1;
            for (tally, cell) in tallies.iter_mut().zip(record) {
                tally.add(std::str::from_utf8(cell).map_or(Look::Empty, infer::look));
            }
            options.limits.check_rows(rows)
        })?;
        let verdict = |(name, tally): (&String, &Tally)| {
            if options.time_columns.contains(name) {
                tally.as_time()
            } else if options.text_columns.contains(name) {
                Verdict { kind: ColumnType::Text, zoned: false }
            } else {
                tally.of_texts()
            }
        };
        Ok(header.iter().zip(&tallies).map(verdict).collect())
    }

    fn build(
        self,
        columns: &[Column],
        verdicts: &[Verdict],
        faults: &mut Faults,
    ) -> Result<RowsBuilder> {
        let mut rows = RowsBuilder::new(columns);
        self.each(|line, record| {
            if record.len() != columns.len() {
                faults.add(format!("line {line}"), ragged(record, columns.len()));
                return Ok(());
            }
            for (at, (cell, verdict)) in record.iter().zip(verdicts).enumerate() {
                let value = match std::str::from_utf8(cell) {
                    Ok(text) => infer::read(text, *verdict),
                    Err(_) => Err("is not UTF-8".to_owned()),
                };
                match value {
                    Ok(cell) => rows.push(at, cell),
                    Err(why) => {
                        let name = columns.get(at).map_or("", |column| column.name.as_str());
                        faults.add(
                            format!("line {line}"),
                            format!("column `{}`: {why}", short(name)),
                        );
                        rows.push(at, super::super::cell::CellRef::Null);
                    }
                }
            }
            rows.end_row()
        })?;
        Ok(rows)
    }
}

fn start_of(record: &ByteRecord) -> usize {
    record.position().map_or(0, |position| number::index(position.byte()))
}

fn ragged(record: &ByteRecord, columns: usize) -> String {
    let has = record.len();
    let open = record.iter().any(|cell| line_ends(cell) > 1);
    let hint = if open { " (is a quote not closed?)" } else { "" };
    format!("has {has} cells, and the header {columns}{hint}")
}

fn line_ends(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count().saturating_sub(1)
}

fn broken(source: ::csv::Error) -> Error {
    error::not_text(&format!("the CSV cannot be read: {source}")).caused_by(source)
}

/// Counts lines as offsets go by. A record's own position stands before the blank lines and the line
/// end that precede it.
#[derive(Default)]
struct Lines {
    offset: usize,
    line: u64,
}

impl Lines {
    fn at(&mut self, bytes: &[u8], start: usize) -> u64 {
        let blank =
            bytes.iter().skip(start).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let start = start + blank;
        let passed = bytes.get(self.offset..start).unwrap_or_default();
        self.line += number::size(line_ends(passed));
        self.offset = start;
        self.line + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Kind;

    fn read_text(text: &str) -> Result<Table> {
        read(text.as_bytes(), &CsvOptions::default())
    }

    fn faults(text: &str) -> Vec<String> {
        let error = read_text(text).unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Invalid, "bad_csv"));
        error.faults().iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).collect()
    }

    #[test]
    fn marks_quotes_line_ends_and_empty_cells_are_read() {
        let table = read_text(
            "\u{FEFF}t,name,\"a, b\",ok\r\n2014-01-01T01:00:00+01:00,\"x\"\"y\",1,true\r\n\r\n\
             2014-07-01T02:00:00+02:00,\"two\r\nlines\",,false\r\n",
        )
        .unwrap();
        assert_eq!(
            serde_json::Value::Array(table.to_rows()),
            serde_json::json!([
                {"t": "2014-01-01T00:00:00.000000Z", "name": "x\"y", "a, b": 1, "ok": true},
                {"t": "2014-07-01T00:00:00.000000Z", "name": "two\r\nlines", "a, b": null, "ok": false}
            ])
        );
    }

    #[test]
    fn the_separator_is_found_in_the_header() {
        for text in ["a;b\n1;2\n", "a\tb\n1\t2\n", "a,b\n1,2\n", "\"a;x\",b\n1,2\n"] {
            assert_eq!(read_text(text).unwrap().schema().len(), 2, "{text:?}");
        }
        assert_eq!(read_text("alone\n1\n2\n").unwrap().rows(), 2);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_named_and_swallows_nothing() {
        let named = faults("a,b\n1,\"2\n3,4\n5,6\n");
        assert_eq!(named, ["line 2: the quote that opens here is never closed"]);
        assert!(faults("a,b\n1,\"2").len() == 1, "at the end of the file");
        let fine = read_text("a,b\n\"x \"\"y\"\", z\",5\" pipe\n\"two\nlines\",ok\n").unwrap();
        assert_eq!(fine.rows(), 2);
    }

    #[test]
    fn ragged_rows_are_all_named_with_their_lines() {
        assert_eq!(
            faults("a,b\nx,2\ny\n\nz,5,6\n\"7\n7\",8\nz,9,9\n"),
            [
                "line 3: has 1 cells, and the header 2",
                "line 5: has 3 cells, and the header 2",
                "line 8: has 3 cells, and the header 2",
            ]
        );
    }

    #[test]
    fn wrong_types_are_all_named_with_their_lines() {
        let mut text = String::from("t,p,ok\n");
        for at in 0..40 {
            text.push_str(match at {
                7 => "2014-01-01,broken,true\n",
                9 => "noon,1.5,maybe\n",
                _ => "2014-01-01,1.5,true\n",
            });
        }
        assert_eq!(
            faults(&text),
            [
                "line 9: column `p`: `broken` is not a number",
                "line 11: column `t`: `noon` is not a time",
                "line 11: column `ok`: `maybe` is not true or false",
            ]
        );
    }

    #[test]
    fn mixed_time_zones_are_named_and_mixed_offsets_are_fine() {
        let lines = faults(
            "t\n2014-01-01T00:00:00Z\n2014-01-01T01:00:00\n2014-01-01T02:00:00+02:00\n2014-01-02\n\
             2014-01-03T00:00:00Z\n",
        );
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("line 3: column `t`: `2014-01-01T01:00:00` has no time zone"));
        assert!(lines[1].starts_with("line 5: "));
        let lines = faults("t\n2014-01-01\n2014-01-02T00:00:00+01:00\n2014-01-03\n");
        assert!(lines[0].starts_with("line 3: ") && lines[0].contains("has a time zone"));
        assert!(read_text("t\n2014-03-30T01:50:00+01:00\n2014-03-30T03:00:00+02:00\n").is_ok());
    }

    #[test]
    fn a_missing_header_is_noticed() {
        let lines = faults(
            "R80736,2014-01-01T01:00:00+01:00,-1.00\nR80721,2014-01-01T01:10:00+01:00,-1.01\n",
        );
        assert_eq!(
            lines,
            [
                "line 1: `2014-01-01T01:00:00+01:00` looks like data: the first line must name the columns",
                "line 1: `-1.00` looks like data: the first line must name the columns",
            ]
        );
        assert_eq!(
            faults("a,b,a,,A\n1,2,3,4,5\n"),
            [
                "line 1: column 3: the name `a` stands there twice",
                "line 1: column 4: has no name",
                "line 1: column 5: the names `a` and `A` differ only in case: SQL cannot tell them apart",
            ]
        );
        for empty in ["", "\n\n", "\u{FEFF}", "  \r\n"] {
            assert!(read_text(empty).unwrap_err().detail().contains("empty"), "{empty:?}");
        }
        assert_eq!(read_text("a,b\n").unwrap().rows(), 0);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_named_with_their_lines() {
        let error = read(b"a,b\nx,y\n\xE9t\xE9,z\n", &CsvOptions::default()).unwrap_err();
        assert_eq!(error.faults()[0].pointer, "line 3");
        let error = read(b"\xFF\xFEa\0,\0b\0", &CsvOptions::default()).unwrap_err();
        assert!(error.detail().contains("UTF-16"));
    }

    #[test]
    fn fifty_faults_are_listed_and_all_are_counted() {
        let mut text = String::from("a,b\n");
        text.push_str(&"1\n".repeat(73));
        let error = read_text(&text).unwrap_err();
        assert_eq!(error.faults().len(), 50);
        assert!(error.detail().contains("73 faults"), "{}", error.detail());
    }

    #[test]
    fn hints_and_limits_hold() {
        let options = CsvOptions {
            text_columns: vec!["code".into()],
            time_columns: vec!["t".into()],
            ..CsvOptions::default()
        };
        let table = read(b"code,t\n007,2014-01-01\n008,\n", &options).unwrap();
        assert_eq!(table.schema()[0].kind, ColumnType::Text);
        let error = read(b"code,t\n007,x\n", &options).unwrap_err();
        assert_eq!(error.faults()[0].detail, "column `t`: `x` is not a time");
        let limits = Limits { rows: 2, bytes: 20, columns: 2, ..Limits::default() };
        let small = CsvOptions { limits, ..CsvOptions::default() };
        for large in ["a\n1\n2\n3\n", "a,b,c\n1,2,3\n", "a\n1234567890123456789012345\n"] {
            let error = super::super::csv(large.as_bytes(), &small).unwrap_err();
            assert_eq!(error.kind(), Kind::TooLarge, "{large:?}");
        }
    }

    #[test]
    fn words_for_nothing_are_nothing_among_numbers_and_text_among_texts() {
        let table = read_text("p,n\n1.5,NA\nNaN,x\n-,y\n").unwrap();
        assert_eq!(
            serde_json::Value::Array(table.to_rows()),
            serde_json::json!([{"p": 1.5, "n": "NA"}, {"p": null, "n": "x"}, {"p": null, "n": "y"}])
        );
    }
}
