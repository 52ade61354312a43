//! The answer of a response.

/// How an answer was marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Marker {
    /// Between `<answer>` and `</answer>`.
    Tags,
    /// In `\boxed{…}` or `\fbox{…}`.
    Box,
    /// After "answer is" and the like.
    Phrase,
    /// Not at all: the response is the answer, or ends with it.
    None,
}

/// The answer of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extracted {
    /// The answer, as it is written.
    pub text: String,
    /// The answers of all boxes that belong together, if there are several.
    pub boxes: Option<String>,
    /// How it was marked.
    pub marker: Marker,
}

impl Extracted {
    pub(super) fn plain(text: &str) -> Extracted {
        Extracted { text: text.to_owned(), boxes: None, marker: Marker::None }
    }
}
