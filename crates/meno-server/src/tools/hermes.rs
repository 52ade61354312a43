//! `<tool_call>{"name": …, "arguments": …}</tool_call>`: Qwen 2.5 and 3, Hermes.
//!
//! Small models leave the tags out (Qwen2.5-Coder nearly always), so an answer that begins with such an object, bare or
//! in a fence, is a call if it names a function that there is.

use super::json::{CallScanner, Progress};
use super::{Out, held_back};

pub(super) const OPEN: &str = "<tool_call>";
pub(super) const CLOSE: &str = "</tool_call>";

const FENCE: &str = "```";
const JSON_FENCE: &str = "```json";

#[derive(Debug)]
pub(super) struct Hermes {
    /// The functions there are.
    known: Vec<String>,
    held: String,
    call: Option<Call>,
    /// Whether there was no text yet: a call may stand here without its tags.
    untold: bool,
}

#[derive(Debug, Default)]
struct Call {
    scanner: CallScanner,
    /// All of it, in case it is none.
    text: String,
    /// What closes it.
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
        Hermes { known, held: String::new(), call: None, untold: true }
    }

    pub(super) fn push(&mut self, text: &str, out: &mut Out) {
        self.held.push_str(text);
        while !self.held.is_empty() {
            let waiting = match &mut self.call {
                None => self.begin(out),
                Some(call) if call.done => end(&mut self.held, &mut self.call),
                Some(call) => {
                    if !call.read(&mut self.held, &self.known, out) {
                        let call = self.call.take().unwrap_or_default();
                        self.tell(&call.text, out);
                    }
                    false
                }
            };
            if waiting {
                break;
            }
        }
    }

    pub(super) fn finish(mut self, out: &mut Out) {
        match self.call.take() {
            Some(call) if !call.named => out.text(&(call.text + &self.held)),
            Some(_) => {}
            None => out.text(&self.held),
        }
    }

    /// Text up to where a call begins; `true` if more is needed to tell.
    fn begin(&mut self, out: &mut Out) -> bool {
        let body = self.held.trim_start();
        if self.untold && !body.is_empty() {
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
            self.tell(&before, out);
            self.held.drain(..at);
            self.open(OPEN.len(), Close::Tag);
            return false;
        }
        let text = held_back(&mut self.held, &[OPEN]);
        self.tell(&text, out);
        true
    }

    /// A call begins with the first `at` bytes of what is held.
    fn open(&mut self, at: usize, close: Close) {
        let object = self.held.split_off(at);
        let text = std::mem::replace(&mut self.held, object);
        self.call = Some(Call { text, close, ..Call::default() });
    }

    fn tell(&mut self, text: &str, out: &mut Out) {
        self.untold &= text.trim().is_empty();
        out.text(text);
    }
}

/// What follows the object up to the closing tag is dropped; a new opening tag closes as well. `true` if more is needed.
fn end(held: &mut String, call: &mut Option<Call>) -> bool {
    let rest = held.trim_start();
    let at = match call.as_ref().map(|c| c.close) {
        Some(Close::Tag) => {
            let closed = held.find(CLOSE).map(|at| at + CLOSE.len());
            let Some(at) = closed.into_iter().chain(held.find(OPEN)).min() else {
                held_back(held, &[CLOSE, OPEN]);
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
    /// `false` if it is no call.
    fn read(&mut self, held: &mut String, known: &[String], out: &mut Out) -> bool {
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
                Progress::More => {}
                // What was announced is a call, whatever becomes of it.
                Progress::Not if !named => {
                    *held = text[at + c.len_utf8()..].to_owned();
                    return false;
                }
                Progress::Done | Progress::Not => {
                    self.give(out);
                    self.done = true;
                    *held = text[at + c.len_utf8()..].to_owned();
                    return true;
                }
            }
        }
        self.give(out);
        true
    }

    fn give(&mut self, out: &mut Out) {
        let Some(name) = &self.scanner.name else { return };
        if !std::mem::replace(&mut self.named, true) {
            out.call(name);
        }
        out.arguments(&std::mem::take(&mut self.scanner.arguments));
    }
}
