//! `<tool_call>{"name": …, "arguments": …}</tool_call>`: Qwen 2.5 and 3, Hermes.
//!
//! Small models omit the tags (Qwen2.5-Coder nearly always). Therefore an answer that starts with such an object, bare
//! or in a code fence, is a call if it names an available function.

use super::json::{CallScanner, JsonProgress};
use super::output::{Output, release};

pub(super) const OPEN: &str = "<tool_call>";
pub(super) const CLOSE: &str = "</tool_call>";

const FENCE: &str = "```";
const JSON_FENCE: &str = "```json";

#[derive(Debug)]
pub(super) struct Hermes {
    /// The names of the available functions.
    known: Vec<String>,
    held: String,
    call: Option<Call>,
    /// True if there was no text yet, so that a call may start without its tags.
    at_start: bool,
}

#[derive(Debug, Default)]
struct Call {
    scanner: CallScanner,
    /// Its whole text, in case it is not a call.
    text: String,
    /// What ends it.
    close: Close,
    named: bool,
    done: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Close {
    #[default]
    Tag,
    Fence,
    Nothing,
}

impl Hermes {
    pub(super) fn new(known: Vec<String>) -> Hermes {
        Hermes { known, held: String::new(), call: None, at_start: true }
    }

    pub(super) fn push(&mut self, text: &str, output: &mut Output) {
        self.held.push_str(text);
        while !self.held.is_empty() {
            let waiting = match &mut self.call {
                None => self.begin(output),
                Some(call) if call.done => end(&mut self.held, &mut self.call),
                Some(call) => {
                    if !call.read(&mut self.held, &self.known, output) {
                        let call = self.call.take().unwrap_or_default();
                        self.text(&call.text, output);
                    }
                    false
                }
            };
            if waiting {
                break;
            }
        }
    }

    pub(super) fn finish(mut self, output: &mut Output) {
        match self.call.take() {
            Some(call) if !call.named => output.text(&(call.text + &self.held)),
            Some(_) => {}
            None => output.text(&self.held),
        }
    }

    /// Reads the text up to the start of a call; returns `true` if more input is needed.
    fn begin(&mut self, output: &mut Output) -> bool {
        let body = self.held.trim_start();
        if self.at_start && !body.is_empty() {
            let fenced = [JSON_FENCE, FENCE].iter().find_map(|fence| body.strip_prefix(fence));
            let object = fenced.unwrap_or(body).trim_start();
            if object.is_empty() || JSON_FENCE.starts_with(body) {
                return true;
            }
            if object.starts_with('{') {
                let close = if fenced.is_some() { Close::Fence } else { Close::Nothing };
                self.open(self.held.len() - object.len(), close);
                return false;
            }
        }
        if let Some(at) = self.held.find(OPEN) {
            let before = self.held[..at].to_owned();
            self.text(&before, output);
            self.held.drain(..at);
            self.open(OPEN.len(), Close::Tag);
            return false;
        }
        let text = release(&mut self.held, &[OPEN]);
        self.text(&text, output);
        true
    }

    /// Starts a call whose opening tag or fence is the first `at` held bytes.
    fn open(&mut self, at: usize, close: Close) {
        let object = self.held.split_off(at);
        let text = std::mem::replace(&mut self.held, object);
        self.call = Some(Call { text, close, ..Call::default() });
    }

    fn text(&mut self, text: &str, output: &mut Output) {
        self.at_start &= text.trim().is_empty();
        output.text(text);
    }
}

/// Drops the text between the object and the closing tag. A new opening tag ends the call too. Returns `true` if more
/// input is needed.
fn end(held: &mut String, call: &mut Option<Call>) -> bool {
    let rest = held.trim_start();
    let at = match call.as_ref().map(|c| c.close) {
        Some(Close::Tag) => {
            let closed = held.find(CLOSE).map(|at| at + CLOSE.len());
            let Some(at) = closed.into_iter().chain(held.find(OPEN)).min() else {
                release(held, &[CLOSE, OPEN]);
                return true;
            };
            at
        }
        Some(Close::Fence) if rest.starts_with(FENCE) => held.len() - rest.len() + FENCE.len(),
        Some(Close::Fence) if FENCE.starts_with(rest) => return true,
        _ => 0,
    };
    held.drain(..at);
    *call = None;
    false
}

impl Call {
    /// Reads the object; returns `false` if it is not a call.
    fn read(&mut self, held: &mut String, known: &[String], output: &mut Output) -> bool {
        let text = std::mem::take(held);
        for (at, c) in text.char_indices() {
            self.text.push(c);
            let named = self.scanner.name.is_some();
            let progress = self.scanner.push(c);
            match progress {
                _ if !named && self.close != Close::Tag && !self.scanner.may_call(known) => {
                    *held = text[at + c.len_utf8()..].to_owned();
                    return false;
                }
                JsonProgress::More => {}
                // After the name was returned it stays a call, even if the rest is invalid.
                JsonProgress::Not if !named => {
                    *held = text[at + c.len_utf8()..].to_owned();
                    return false;
                }
                JsonProgress::Done | JsonProgress::Not => {
                    self.emit(output);
                    self.done = true;
                    *held = text[at + c.len_utf8()..].to_owned();
                    return true;
                }
            }
        }
        self.emit(output);
        true
    }

    fn emit(&mut self, output: &mut Output) {
        let Some(name) = &self.scanner.name else { return };
        if !std::mem::replace(&mut self.named, true) {
            output.call(name);
        }
        output.arguments(&std::mem::take(&mut self.scanner.arguments));
    }
}
