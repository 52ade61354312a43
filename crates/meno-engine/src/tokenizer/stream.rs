//! Decoding token by token.

use super::Tokenizer;
use std::ops::Deref;

/// U+FFFD, what a decoder makes of bytes that are no character (yet).
const REPLACEMENT: char = '\u{fffd}';
/// The bytes of an unfinished character are three at most.
const MAX_PENDING_CHARS: usize = 3;
/// A longer window of tokens that make no text is given up on, so that a stream of broken bytes stays linear.
const MAX_WINDOW: usize = 64;

/// Turns tokens into text as they come. The pieces, with [`DecodeStream::finish`], are the text of the whole. `T` is a
/// tokenizer by reference, or one that is shared.
pub struct DecodeStream<T> {
    tokenizer: T,
    skip_special: bool,
    /// The tokens that later text can depend on (a decoder may treat the first of a text differently).
    window: Vec<u32>,
    /// How many of them are context, given out before.
    context: usize,
    /// How many bytes of the window's text were given out.
    given: usize,
}

impl<T: Deref<Target = Tokenizer>> DecodeStream<T> {
    /// A decoder at the beginning of a text; `skip_special` leaves control tokens out.
    pub fn new(tokenizer: T, skip_special: bool) -> Self {
        DecodeStream { tokenizer, skip_special, window: Vec::new(), context: 0, given: 0 }
    }

    /// The text that `token` completes; empty while a character is unfinished.
    pub fn push(&mut self, token: u32) -> String {
        self.window.push(token);
        let text = self.tokenizer.decode(&self.window, self.skip_special);
        let safe = if self.window.len() > MAX_WINDOW { text.len() } else { text.len() - unfinished(&text) };
        let piece = text.get(self.given..safe).unwrap_or_default().to_owned();
        self.given = self.given.max(safe);
        let slide = !piece.is_empty() || (self.window.len() > MAX_WINDOW && !text.is_empty());
        if safe == text.len() && slide {
            // Everything is out: the tokens since the last time become the context of what follows. A token without
            // text is none: a decoder that takes a space off the start of a text would take it off again after it.
            self.window.drain(..self.context);
            self.context = self.window.len();
            self.given = self.tokenizer.decode(&self.window, self.skip_special).len();
        }
        piece
    }

    /// What is left when no more tokens come.
    pub fn finish(self) -> String {
        let text = self.tokenizer.decode(&self.window, self.skip_special);
        text.get(self.given..).unwrap_or_default().to_owned()
    }
}

/// How many bytes at the end of `text` may change with the next token.
fn unfinished(text: &str) -> usize {
    let count = text.chars().rev().take(MAX_PENDING_CHARS).take_while(|&c| c == REPLACEMENT).count();
    count * REPLACEMENT.len_utf8()
}
