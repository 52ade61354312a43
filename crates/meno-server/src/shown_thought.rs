//! Where a client wants the thought: beside the answer, in it, or not at all.

use crate::error::{ApiError, shown};
use meno_engine::reasoning::{CLOSE, OPEN};

/// How the thought is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShownThought {
    /// As `reasoning_content` beside the answer.
    #[default]
    Beside,
    /// In the answer, in its tags.
    Within,
    /// In both places.
    Both,
    /// Not at all.
    Hidden,
}

impl ShownThought {
    /// Reads `reasoning_format` (llama.cpp's and Groq's words), `include_reasoning` (vLLM, OpenRouter),
    /// `reasoning.exclude` and `separate_reasoning` (SGLang).
    pub fn read(format: Option<&str>, include: Option<bool>, separate: Option<bool>) -> Result<ShownThought, ApiError> {
        let format = match format {
            None | Some("" | "auto" | "deepseek" | "parsed") => None,
            Some("none" | "raw") => Some(ShownThought::Within),
            Some("deepseek-legacy") => Some(ShownThought::Both),
            Some("hidden") => Some(ShownThought::Hidden),
            Some(other) => {
                let message = format!(
                    "reasoning_format {:?}: expected auto, deepseek or parsed, none or raw, deepseek-legacy, hidden",
                    shown(other)
                );
                return Err(ApiError::invalid("reasoning_format", message));
            }
        };
        let hidden = (include == Some(false)).then_some(ShownThought::Hidden);
        let within = (separate == Some(false)).then_some(ShownThought::Within);
        Ok(hidden.or(format).or(within).unwrap_or_default())
    }

    /// Whether it stands beside the answer.
    pub fn beside(self) -> bool {
        matches!(self, ShownThought::Beside | ShownThought::Both)
    }

    /// Whether it stands in the answer.
    pub fn within(self) -> bool {
        matches!(self, ShownThought::Within | ShownThought::Both)
    }

    /// The text of an answer.
    pub fn content(self, thought: &str, answer: String) -> String {
        if !self.within() || thought.is_empty() { answer } else { format!("{OPEN}\n{thought}\n{CLOSE}\n\n{answer}") }
    }
}

/// Whether a streamed thought within the answer is open.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenThought(bool);

impl OpenThought {
    /// More of the thought, as it goes into the answer.
    pub fn thought(&mut self, text: &str) -> String {
        if std::mem::replace(&mut self.0, true) { text.to_owned() } else { format!("{OPEN}\n{text}") }
    }

    /// What goes before the answer.
    pub fn close(&mut self) -> String {
        if std::mem::take(&mut self.0) { format!("\n{CLOSE}\n\n") } else { String::new() }
    }
}
