//! The parts that the parsers of tool calls return.

use meno_engine::stop::overlap;

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text.
    Text(String),
    /// The start of a call.
    Call {
        /// Index of the call in the answer.
        index: usize,
        /// The function's name.
        name: String,
    },
    /// A part of the arguments of a call.
    Arguments {
        /// Index of the call in the answer.
        index: usize,
        /// JSON text.
        text: String,
    },
}

/// Collects parts. Drops white space before a call.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) parts: Vec<Part>,
    /// White space at the end of the text so far.
    space: String,
    /// Number of calls.
    pub(super) calls: usize,
}

impl Output {
    /// Adds text.
    pub(super) fn text(&mut self, text: &str) {
        let solid = text.trim_end();
        if !solid.is_empty() {
            let space = std::mem::take(&mut self.space);
            self.push_text(&space);
            self.push_text(solid);
        }
        self.space.push_str(&text[solid.len()..]);
    }

    /// Adds text at the end of the last part, if that is text.
    fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    /// Ends the answer. If there was no call, the white space at the end is text.
    pub(super) fn finish(mut self) -> Vec<Part> {
        if self.calls == 0 {
            let space = std::mem::take(&mut self.space);
            self.push_text(&space);
        }
        self.parts
    }

    /// Starts a call.
    pub(super) fn call(&mut self, name: &str) {
        self.space.clear();
        self.parts.push(Part::Call { index: self.calls, name: name.to_owned() });
        self.calls += 1;
    }

    /// Adds to the arguments of the last call.
    pub(super) fn arguments(&mut self, text: &str) {
        let call = self.calls.saturating_sub(1);
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Arguments { text: last, .. }) => last.push_str(text),
            _ => self.parts.push(Part::Arguments { index: call, text: text.to_owned() }),
        }
    }
}

/// Removes from `held`, and returns, everything that cannot be the beginning of one of `tags`.
pub(super) fn release(held: &mut String, tags: &[&str]) -> String {
    let keep = tags.iter().map(|tag| overlap(held, tag)).max().unwrap_or(0);
    let rest = held.split_off(held.len() - keep);
    std::mem::replace(held, rest)
}
