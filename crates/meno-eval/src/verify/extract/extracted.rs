//! The extracted answer of a response.

/// How a response marks its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Marker {
    /// Between `<answer>` and `</answer>`.
    Tags,
    /// In `\boxed{…}` or `\fbox{…}`.
    Box,
    /// After a phrase such as "answer is".
    Phrase,
    /// Unmarked: the response is the answer, or ends with it.
    None,
}

/// The extracted answer of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extracted {
    /// The answer as written.
    pub text: String,
    /// The answers of all boxes that belong together, if there are several.
    pub boxes: Option<String>,
    /// How the response marks it.
    pub marker: Marker,
}

impl Extracted {
    pub(super) fn plain(text: &str) -> Extracted {
        Extracted { text: text.to_owned(), boxes: None, marker: Marker::None }
    }
}
