//! Llama 3: an answer that is `{"name": …, "parameters": …}` from its first character, several separated by `;`,
//! with or without `<|python_tag|>` before it.

use super::Out;
use super::json::{CallScanner, Progress};
use meno_engine::stop::overlap;

const TAG: &str = "<|python_tag|>";

#[derive(Debug)]
pub(super) struct Llama {
    /// The functions there are: other objects are answers.
    known: Vec<String>,
    state: State,
    /// Text since the last call, white space and separators, in case no call follows.
    between: String,
}

#[derive(Debug)]
enum State {
    /// A call may begin here.
    Before(String),
    Call {
        scanner: CallScanner,
        text: String,
        named: bool,
    },
    /// The answer is text to its end.
    Text,
}

impl Llama {
    pub(super) fn new(known: Vec<String>) -> Llama {
        Llama { known, state: State::Before(String::new()), between: String::new() }
    }

    pub(super) fn push(&mut self, text: &str, out: &mut Out) {
        for (at, c) in text.char_indices() {
            if matches!(self.state, State::Text) {
                return out.text(&text[at..]);
            }
            self.char(c, out);
        }
    }

    fn char(&mut self, c: char, out: &mut Out) {
        match &mut self.state {
            State::Text => out.text(c.encode_utf8(&mut [0; 4])),
            State::Before(held) => {
                held.push(c);
                self.between.push(c);
                let after_tag = held.trim_start_matches([' ', '\n', ';']);
                let after_tag = after_tag.strip_prefix(TAG).unwrap_or(after_tag).trim_start();
                if after_tag == "{" {
                    let mut scanner = CallScanner::default();
                    scanner.push('{');
                    self.state = State::Call { scanner, text: std::mem::take(&mut self.between), named: false };
                } else if !after_tag.is_empty() && overlap(after_tag, TAG) != after_tag.len() {
                    out.text(&std::mem::take(&mut self.between));
                    self.state = State::Text;
                }
            }
            State::Call { scanner, text, named } => {
                text.push(c);
                let progress = scanner.push(c);
                if let Some(name) = &scanner.name {
                    if !*named && !self.known.contains(name) {
                        out.text(text);
                        self.state = State::Text;
                        return;
                    }
                    if !std::mem::replace(named, true) {
                        out.call(name);
                    }
                    out.arguments(&std::mem::take(&mut scanner.arguments));
                }
                match progress {
                    Progress::More => {}
                    Progress::Not if !*named => {
                        out.text(text);
                        self.state = State::Text;
                    }
                    Progress::Done | Progress::Not => self.state = State::Before(String::new()),
                }
            }
        }
    }

    pub(super) fn finish(self, out: &mut Out) {
        match self.state {
            State::Call { text, named: false, .. } => out.text(&text),
            State::Before(_) => out.text(&self.between),
            _ => {}
        }
    }
}
