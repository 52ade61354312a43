//! Sections of rows, as text and as JSON.

use anyhow::Result;
use serde_json::{Map, Value, json};

/// The status of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Works as it should.
    Ok,
    /// Works, but not as well as it could.
    Note,
    /// Absent.
    Missing,
    /// Not tried.
    NotTried,
}

impl Mark {
    fn text(self) -> &'static str {
        match self {
            Mark::Ok => "ok",
            Mark::Note => "note",
            Mark::Missing => "missing",
            Mark::NotTried => "not tried",
        }
    }
}

/// One subject.
pub(super) struct Section {
    key: &'static str,
    title: &'static str,
    rows: Vec<(Mark, String)>,
    values: Map<String, Value>,
    advice: Vec<String>,
}

impl Section {
    pub(super) fn new(key: &'static str, title: &'static str) -> Section {
        Section { key, title, rows: Vec::new(), values: Map::new(), advice: Vec::new() }
    }

    /// Adds a row with status ok: `label: text`; the JSON value is the text.
    pub(super) fn ok(&mut self, key: &str, label: &str, text: impl Into<String>) {
        let text = text.into();
        self.row(Mark::Ok, key, format!("{label}: {text}"), text.into());
    }

    /// Adds a row with a separate JSON value.
    pub(super) fn row(&mut self, mark: Mark, key: &str, text: String, value: Value) {
        self.rows.push((mark, text));
        self.values.insert(key.to_owned(), value);
    }

    /// Adds a row without a value.
    pub(super) fn line(&mut self, mark: Mark, text: impl Into<String>) {
        self.rows.push((mark, text.into()));
    }

    /// Adds a JSON value that no row shows.
    pub(super) fn value(&mut self, key: &str, value: Value) {
        self.values.insert(key.to_owned(), value);
    }

    /// Adds advice on a problem.
    pub(super) fn advise(&mut self, line: impl Into<String>) {
        self.advice.push(line.into());
    }
}

/// All sections. Text is printed section by section, because some of them take seconds.
pub(super) struct Report {
    as_text: bool,
    values: Map<String, Value>,
    advice: Vec<String>,
}

impl Report {
    pub(super) fn new(as_text: bool) -> Report {
        Report { as_text, values: Map::new(), advice: Vec::new() }
    }

    pub(super) fn add(&mut self, section: Section) {
        if self.as_text {
            println!("{}", section.title);
            for (mark, text) in &section.rows {
                println!("  {:<9}  {text}", mark.text());
            }
        }
        self.values.insert(section.key.to_owned(), Value::Object(section.values));
        self.advice.extend(section.advice);
    }

    pub(super) fn end(mut self) -> Result<()> {
        if !self.as_text {
            self.values.insert("advice".into(), json!(self.advice));
            println!("{}", serde_json::to_string_pretty(&self.values)?);
        } else if !self.advice.is_empty() {
            println!("Advice");
            self.advice.iter().for_each(|line| println!("  {line}"));
        }
        Ok(())
    }
}
