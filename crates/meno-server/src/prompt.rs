//! A prompt that is ready for the engine.

/// A prompt, as text and as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The text.
    pub text: String,
    /// The token ids.
    pub tokens: Vec<u32>,
}
