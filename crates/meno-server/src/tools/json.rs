//! Incomplete JSON: finds the end of a value, and the name and arguments of a tool call.

/// What a character means for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonStep {
    /// White space before the value.
    Before,
    /// A part of the value, which continues.
    Within,
    /// The last character of the value.
    Last,
    /// The value ended before this character.
    After,
}

/// Finds the end of one JSON value. Does not validate the contents of brackets.
#[derive(Clone, Debug, Default)]
pub(super) struct ValueScanner {
    depth: usize,
    literal: bool,
    in_string: bool,
    escaped: bool,
}

impl ValueScanner {
    pub(super) fn push(&mut self, c: char) -> JsonStep {
        if self.in_string {
            return self.in_string(c);
        }
        let outside = self.depth == 0;
        match c {
            ',' | ']' | '}' if outside => return JsonStep::After,
            c if outside && c.is_whitespace() => return if self.literal { JsonStep::After } else { JsonStep::Before },
            '"' => self.in_string = true,
            '{' | '[' => self.depth += 1,
            '}' | ']' => self.depth -= 1,
            _ => self.literal |= outside,
        }
        if self.depth == 0 && matches!(c, '}' | ']') { JsonStep::Last } else { JsonStep::Within }
    }

    fn in_string(&mut self, c: char) -> JsonStep {
        match c {
            _ if self.escaped => self.escaped = false,
            '\\' => self.escaped = true,
            '"' => self.in_string = false,
            _ => {}
        }
        if self.depth == 0 && !self.in_string { JsonStep::Last } else { JsonStep::Within }
    }
}

/// The state of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonProgress {
    /// It is incomplete.
    More,
    /// The object is closed.
    Done,
    /// It is not a call.
    Not,
}

/// Reads `{"name": …, "arguments": …}` (or `parameters`) character by character, with the keys in any order.
#[derive(Clone, Debug, Default)]
pub(super) struct CallScanner {
    at: ScannerState,
    /// The key or value being read.
    text: String,
    key: String,
    value: ValueScanner,
    /// The function's name, as soon as it is known.
    pub(super) name: Option<String>,
    /// Arguments that have not been returned yet.
    pub(super) arguments: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ScannerState {
    #[default]
    Start,
    Key,
    Colon,
    Value,
    Comma,
}

impl CallScanner {
    pub(super) fn push(&mut self, c: char) -> JsonProgress {
        match (self.at, c) {
            (ScannerState::Value, _) => return self.value(c),
            (ScannerState::Key, _) if !self.text.is_empty() => self.key(c),
            (_, c) if c.is_whitespace() => {}
            (ScannerState::Start, '{') | (ScannerState::Comma, ',') => self.at = ScannerState::Key,
            (ScannerState::Key, '"') => self.text.push('"'),
            (ScannerState::Colon, ':') => (self.at, self.value) = (ScannerState::Value, ValueScanner::default()),
            (ScannerState::Comma, '}') if self.name.is_some() => return JsonProgress::Done,
            _ => return JsonProgress::Not,
        }
        JsonProgress::More
    }

    /// Returns true if the text so far may be a call of one of the functions `known`.
    pub(super) fn may_call(&self, known: &[String]) -> bool {
        let ours = matches!(self.key.as_str(), "" | "name" | "arguments" | "parameters" | "type" | "id");
        ours && self.name.as_ref().is_none_or(|name| known.contains(name))
    }

    fn key(&mut self, c: char) {
        let escaped = self.text.ends_with('\\');
        self.text.push(c);
        if c == '"' && !escaped {
            self.key = serde_json::from_str(&self.text).unwrap_or_default();
            self.text.clear();
            self.at = ScannerState::Colon;
        }
    }

    fn value(&mut self, c: char) -> JsonProgress {
        let step = self.value.push(c);
        if matches!(step, JsonStep::Within | JsonStep::Last) {
            self.text.push(c);
            // Arguments that are an object are returned at once. Those in a string are parsed at the end of the string.
            if self.is_arguments() && self.text.starts_with('{') {
                self.arguments.push(c);
            }
        }
        if matches!(step, JsonStep::Before | JsonStep::Within) {
            return JsonProgress::More;
        }
        let text = std::mem::take(&mut self.text);
        self.at = ScannerState::Comma;
        if self.is_arguments() && !text.starts_with('{') {
            self.arguments.push_str(&from_other(text));
        } else if self.key == "name" {
            match serde_json::from_str::<String>(&text) {
                Ok(name) if !name.is_empty() && self.name.is_none() => self.name = Some(name),
                _ => return JsonProgress::Not,
            }
        }
        if step == JsonStep::After { self.push(c) } else { JsonProgress::More }
    }

    fn is_arguments(&self) -> bool {
        matches!(self.key.as_str(), "arguments" | "parameters")
    }
}

/// Converts arguments that are not an object: a string to its text, null to an empty object.
fn from_other(text: String) -> String {
    match serde_json::from_str(&text) {
        Ok(serde_json::Value::String(inner)) => inner,
        Ok(serde_json::Value::Null) => "{}".to_owned(),
        _ => text,
    }
}
