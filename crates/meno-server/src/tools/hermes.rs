//! `<tool_call>{"name": …, "arguments": …}</tool_call>`: Qwen 2.5 and 3, Hermes.

use super::json::{CallScanner, Progress};
use super::{Out, held_back};

pub(super) const OPEN: &str = "<tool_call>";
pub(super) const CLOSE: &str = "</tool_call>";

#[derive(Debug, Default)]
pub(super) struct Hermes {
    held: String,
    call: Option<Call>,
}

#[derive(Debug, Default)]
struct Call {
    scanner: CallScanner,
    /// All of it, in case it is none.
    text: String,
    named: bool,
    done: bool,
}

impl Hermes {
    pub(super) fn push(&mut self, text: &str, out: &mut Out) {
        self.held.push_str(text);
        while !self.held.is_empty() {
            let waiting = match &mut self.call {
                None => begin(&mut self.held, &mut self.call, out),
                Some(call) if call.done => end(&mut self.held, &mut self.call),
                Some(call) => {
                    if !call.read(&mut self.held, out) {
                        let call = self.call.take().unwrap_or_default();
                        out.text(&format!("{OPEN}{}", call.text));
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
            Some(call) if !call.named => out.text(&format!("{OPEN}{}{}", call.text, self.held)),
            Some(_) => {}
            None => out.text(&self.held),
        }
    }
}

/// Text up to the opening tag; `true` if more is needed to tell.
fn begin(held: &mut String, call: &mut Option<Call>, out: &mut Out) -> bool {
    if let Some(at) = held.find(OPEN) {
        let rest = held.split_off(at + OPEN.len());
        out.text(&held[..at]);
        *held = rest;
        *call = Some(Call::default());
        return false;
    }
    out.text(&held_back(held, &[OPEN]));
    true
}

/// What follows the object up to the closing tag is dropped; a new opening tag closes as well.
fn end(held: &mut String, call: &mut Option<Call>) -> bool {
    let closed = held.find(CLOSE).map(|at| at + CLOSE.len());
    let Some(at) = closed.into_iter().chain(held.find(OPEN)).min() else {
        held_back(held, &[CLOSE, OPEN]);
        return true;
    };
    held.drain(..at);
    *call = None;
    false
}

impl Call {
    /// `false` if it is no call.
    fn read(&mut self, held: &mut String, out: &mut Out) -> bool {
        let text = std::mem::take(held);
        for (at, c) in text.char_indices() {
            self.text.push(c);
            match self.scanner.push(c) {
                Progress::More => {}
                // What was announced is a call, whatever becomes of it.
                Progress::Not if !self.named => {
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
