//! A Rust source file, as text and as a syntax tree.

use crate::syntax;

/// One Rust source file.
pub struct RustFile {
    /// The path from the workspace root.
    pub path: String,
    /// The text as it is on disk.
    pub text: String,
    /// The syntax tree, without comments.
    pub syntax: syn::File,
    /// True if the file is compiled for tests only: below `tests/`, or declared under `#[cfg(test)]`.
    pub test_only: bool,
}

impl RustFile {
    /// The line of the first `unsafe` in the code, tests included.
    pub fn line_of_unsafe(&self) -> Option<usize> {
        if !self.text.contains("unsafe") {
            return None; // spares most files a second pass of the tokenizer
        }
        syntax::line_of_word(self.text.parse().ok()?, "unsafe")
    }
}
