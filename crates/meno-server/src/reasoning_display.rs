//! Where the reply shows the thinking: in its own field, in the text, or not at all.

use crate::error::{ApiError, shorten};
use meno_engine::reasoning::{CLOSE, OPEN};

/// Where the reply shows the thinking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReasoningDisplay {
    /// In `reasoning_content`, next to the text.
    #[default]
    Separate,
    /// In the text, between its tags.
    Inline,
    /// In both places.
    Both,
    /// Not at all.
    Hidden,
}

impl ReasoningDisplay {
    /// Parses `reasoning_format` (llama.cpp, Groq), `include_reasoning` or `reasoning.exclude` (vLLM, OpenRouter) and
    /// `separate_reasoning` (SGLang).
    pub(crate) fn read(
        format: Option<&str>,
        include: Option<bool>,
        separate: Option<bool>,
    ) -> Result<ReasoningDisplay, ApiError> {
        let format = match format {
            None | Some("" | "auto" | "deepseek" | "parsed") => None,
            Some("none" | "raw") => Some(ReasoningDisplay::Inline),
            Some("deepseek-legacy") => Some(ReasoningDisplay::Both),
            Some("hidden") => Some(ReasoningDisplay::Hidden),
            Some(other) => {
                let message = format!(
                    "reasoning_format {:?}: expected auto, deepseek or parsed, none or raw, deepseek-legacy, hidden",
                    shorten(other)
                );
                return Err(ApiError::invalid("reasoning_format", message));
            }
        };
        let hidden = (include == Some(false)).then_some(ReasoningDisplay::Hidden);
        let inline = (separate == Some(false)).then_some(ReasoningDisplay::Inline);
        Ok(hidden.or(format).or(inline).unwrap_or_default())
    }

    /// Returns true if the thinking has its own field.
    pub(crate) fn separate(self) -> bool {
        matches!(self, ReasoningDisplay::Separate | ReasoningDisplay::Both)
    }

    /// Returns true if the thinking is part of the text.
    pub(crate) fn inline(self) -> bool {
        matches!(self, ReasoningDisplay::Inline | ReasoningDisplay::Both)
    }

    /// Returns the text of an answer, including the thinking if it is shown there.
    pub(crate) fn content(self, thinking: &str, answer: String) -> String {
        if !self.inline() || thinking.is_empty() { answer } else { format!("{OPEN}\n{thinking}\n{CLOSE}\n\n{answer}") }
    }
}

/// Writes the tags around thinking that is streamed as part of the text. The value is whether the opening tag was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamedTags(bool);

impl StreamedTags {
    /// Returns the text for more thinking.
    pub(crate) fn thinking(&mut self, text: &str) -> String {
        if std::mem::replace(&mut self.0, true) { text.to_owned() } else { format!("{OPEN}\n{text}") }
    }

    /// Returns the text between the thinking and the answer; empty if no tag is open.
    pub(crate) fn close(&mut self) -> String {
        if std::mem::take(&mut self.0) { format!("\n{CLOSE}\n\n") } else { String::new() }
    }
}
