//! Incremental decoding, token by token.

use super::Tokenizer;
use std::ops::Deref;

/// U+FFFD: a decoder writes it for bytes that do not form a character (yet).
const REPLACEMENT: char = '\u{fffd}';
/// Maximum bytes of an unfinished character.
const MAX_PENDING_CHARS: usize = 3;
/// Maximum window of tokens that give no text. Longer windows are flushed, so that a stream of broken bytes takes
/// linear time.
const MAX_WINDOW: usize = 64;

/// Converts a stream of tokens to text. All pieces, together with [`DecodeStream::finish`], give the text of the whole.
/// `T` is a reference to a tokenizer, or a shared pointer.
pub struct DecodeStream<T> {
    tokenizer: T,
    skip_special: bool,
    /// The tokens that later text can depend on (a decoder may treat the first token of a text differently).
    window: Vec<u32>,
    /// Number of context tokens at the start of the window, already returned.
    context: usize,
    /// Number of bytes of the window's text already returned.
    given: usize,
}

impl<T: Deref<Target = Tokenizer>> DecodeStream<T> {
    /// Creates a decoder for a new text; `skip_special` leaves control tokens out.
    pub fn new(tokenizer: T, skip_special: bool) -> Self {
        DecodeStream { tokenizer, skip_special, window: Vec::new(), context: 0, given: 0 }
    }

    /// Returns the text that `token` completes; empty while a character is unfinished.
    pub fn push(&mut self, token: u32) -> String {
        self.window.push(token);
        let text = self.tokenizer.decode(&self.window, self.skip_special);
        let safe = if self.window.len() > MAX_WINDOW { text.len() } else { text.len() - unfinished(&text) };
        let piece = text.get(self.given..safe).unwrap_or_default().to_owned();
        self.given = self.given.max(safe);
        let slide = !piece.is_empty() || (self.window.len() > MAX_WINDOW && !text.is_empty());
        if safe == text.len() && slide {
            // Everything was returned, so the latest tokens become the context of what follows. Tokens without text
            // cannot be context: a decoder that strips a space at the start of a text would strip it again after them.
            self.window.drain(..self.context);
            self.context = self.window.len();
            self.given = self.tokenizer.decode(&self.window, self.skip_special).len();
        }
        piece
    }

    /// Returns the remaining text at the end of the tokens.
    pub fn finish(self) -> String {
        let text = self.tokenizer.decode(&self.window, self.skip_special);
        text.get(self.given..).unwrap_or_default().to_owned()
    }
}

impl Tokenizer {
    /// Returns a decoder that takes one token at a time and never returns part of a character.
    pub fn decode_stream(&self, skip_special: bool) -> DecodeStream<&Tokenizer> {
        DecodeStream::new(self, skip_special)
    }
}

/// Returns the number of bytes at the end of `text` that the next token may change.
fn unfinished(text: &str) -> usize {
    let count = text.chars().rev().take(MAX_PENDING_CHARS).take_while(|&c| c == REPLACEMENT).count();
    count * REPLACEMENT.len_utf8()
}
