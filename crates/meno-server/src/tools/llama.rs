//! Llama 3: the whole answer is `{"name": …, "parameters": …}`, several calls are separated by `;`, and
//! `<|python_tag|>` may precede a call.

use super::json::{CallScanner, JsonProgress};
use super::output::Output;
use meno_engine::stop::overlap;

const TAG: &str = "<|python_tag|>";

#[derive(Debug)]
pub(super) struct Llama {
    /// The names of the available functions. Other objects are text.
    known: Vec<String>,
    state: State,
    /// White space and separators since the last call, in case no call follows.
    between: String,
}

#[derive(Debug)]
enum State {
    /// A call may start here.
    Before(String),
    Call {
        scanner: CallScanner,
        text: String,
        named: bool,
    },
    /// The rest of the answer is text.
    Text,
}

impl Llama {
    pub(super) fn new(known: Vec<String>) -> Llama {
        Llama { known, state: State::Before(String::new()), between: String::new() }
    }

    pub(super) fn push(&mut self, text: &str, output: &mut Output) {
        for (at, c) in text.char_indices() {
            if matches!(self.state, State::Text) {
                return output.text(&text[at..]);
            }
            self.char(c, output);
        }
    }

    fn char(&mut self, c: char, output: &mut Output) {
        match &mut self.state {
            State::Text => output.text(c.encode_utf8(&mut [0; 4])),
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
                    output.text(&std::mem::take(&mut self.between));
                    self.state = State::Text;
                }
            }
            State::Call { scanner, text, named } => {
                text.push(c);
                let progress = scanner.push(c);
                if let Some(name) = &scanner.name {
                    if !*named && !self.known.contains(name) {
                        output.text(text);
                        self.state = State::Text;
                        return;
                    }
                    if !std::mem::replace(named, true) {
                        output.call(name);
                    }
                    output.arguments(&std::mem::take(&mut scanner.arguments));
                }
                match progress {
                    JsonProgress::More => {}
                    JsonProgress::Not if !*named => {
                        output.text(text);
                        self.state = State::Text;
                    }
                    JsonProgress::Done | JsonProgress::Not => self.state = State::Before(String::new()),
                }
            }
        }
    }

    pub(super) fn finish(self, output: &mut Output) {
        match self.state {
            State::Call { text, named: false, .. } => output.text(&text),
            State::Before(_) => output.text(&self.between),
            _ => {}
        }
    }
}
