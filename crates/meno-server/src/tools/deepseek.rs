//! `<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>…<｜tool▁sep｜>…<｜tool▁call▁end｜><｜tool▁calls▁end｜>`: V3 and R1 write
//! `function<sep>NAME`, a newline and the arguments as a fenced JSON block; V3.1 writes `NAME<sep>ARGUMENTS`.

use super::json::{JsonStep, ValueScanner};
use super::output::{Output, release};

pub(super) const CALLS_BEGIN: &str = "<｜tool▁calls▁begin｜>";
pub(super) const CALLS_END: &str = "<｜tool▁calls▁end｜>";
pub(super) const CALL_BEGIN: &str = "<｜tool▁call▁begin｜>";
pub(super) const CALL_END: &str = "<｜tool▁call▁end｜>";
pub(super) const SEP: &str = "<｜tool▁sep｜>";

#[derive(Debug, Default)]
pub(super) struct DeepSeek {
    held: String,
    at: ParserState,
    /// The text before the separator.
    header: String,
    value: ValueScanner,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ParserState {
    #[default]
    Text,
    /// Between calls.
    Calls,
    Header,
    /// After the separator, before the arguments.
    Name,
    Arguments,
    /// After the arguments.
    Tail,
}

impl DeepSeek {
    pub(super) fn push(&mut self, text: &str, output: &mut Output) {
        self.held.push_str(text);
        while !self.held.is_empty() {
            let waiting = match self.at {
                ParserState::Text => self.text(output),
                ParserState::Calls => {
                    self.tag(&[(CALL_BEGIN, ParserState::Header), (CALLS_END, ParserState::Text)]).is_none()
                }
                ParserState::Header => self
                    .tag(&[(SEP, ParserState::Name), (CALL_END, ParserState::Calls)])
                    .map(|t| self.header = t)
                    .is_none(),
                ParserState::Name => self.name(output),
                ParserState::Arguments => self.arguments(output),
                ParserState::Tail => {
                    self.tag(&[(CALL_END, ParserState::Calls), (CALLS_END, ParserState::Text)]).is_none()
                }
            };
            if waiting {
                break;
            }
        }
    }

    pub(super) fn finish(self, output: &mut Output) {
        if self.at == ParserState::Text {
            output.text(&self.held);
        }
    }

    fn text(&mut self, output: &mut Output) -> bool {
        let tags = [(CALLS_BEGIN, ParserState::Calls), (CALL_BEGIN, ParserState::Header)];
        let found = self.tag(&tags);
        match found {
            Some(before) => output.text(&before),
            None => output.text(&release(&mut self.held, &tags.map(|t| t.0))),
        }
        self.at == ParserState::Text
    }

    /// Skips to the end of the first of `tags` and returns the text before it; `None` if no tag has been found yet.
    fn tag(&mut self, tags: &[(&str, ParserState)]) -> Option<String> {
        let found = tags.iter().filter_map(|&(tag, at)| Some((self.held.find(tag)?, tag, at)));
        let (place, tag, at) = found.min_by_key(|f| f.0)?;
        let rest = self.held.split_off(place + tag.len());
        self.held.truncate(place);
        self.at = at;
        Some(std::mem::replace(&mut self.held, rest))
    }

    /// Reads the text up to the first brace: the name, or the code fence around the arguments.
    fn name(&mut self, output: &mut Output) -> bool {
        let brace = self.held.find('{');
        let close = self.held.find(CALL_END);
        let Some(end) = brace.into_iter().chain(close).min() else { return true };
        let between = self.held[..end].to_owned();
        self.held.drain(..end);
        let first_line = between.trim_start().lines().next().unwrap_or_default().trim();
        let header = self.header.trim();
        let name = if first_line.is_empty() || first_line.starts_with("```") { header } else { first_line };
        output.call(name);
        (self.at, self.value) =
            (if brace == Some(end) { ParserState::Arguments } else { ParserState::Tail }, ValueScanner::default());
        if self.at == ParserState::Tail {
            output.arguments("{}");
        }
        false
    }

    fn arguments(&mut self, output: &mut Output) -> bool {
        let text = std::mem::take(&mut self.held);
        let end =
            text.char_indices().find(|&(_, c)| self.value.push(c) == JsonStep::Last).map(|(at, c)| at + c.len_utf8());
        output.arguments(&text[..end.unwrap_or(text.len())]);
        if let Some(end) = end {
            self.held = text[end..].to_owned();
            self.at = ParserState::Tail;
        }
        false
    }
}
