//! The state of the parser, and how it consumes tokens.

use super::super::token::{Kind, Token};

/// Maximum nesting depth.
const MAX_DEPTH: usize = 60;

/// Maximum number of atom attempts per token. The parser tries several readings of an unclosed group, and of each group
/// inside it; without a bound, the time would double with every brace.
const TRIES_PER_TOKEN: usize = 50;

/// Minimum budget of atom attempts, for texts with few tokens.
const MIN_TRIES: usize = 1000;

pub(super) struct Parser<'a> {
    pub(super) tokens: &'a [Token],
    pub(super) at: usize,
    /// Index of the next letter in the current word.
    pub(super) letter: usize,
    /// True if plain letters after a number can be its unit.
    pub(super) units: bool,
    /// Number of open absolute values; if positive, a bar closes.
    pub(super) bars: usize,
    /// True if `:` is left to the caller.
    pub(super) no_colon: bool,
    /// True if `[` closes an interval, as in `]1, 2[`.
    pub(super) reversed: bool,
    pub(super) depth: usize,
    /// Remaining atom attempts. At zero, parsing stops.
    pub(super) tries: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(tokens: &'a [Token], units: bool) -> Self {
        let tries = MIN_TRIES + TRIES_PER_TOKEN * tokens.len();
        Parser { tokens, at: 0, letter: 0, units, bars: 0, no_colon: false, reversed: false, depth: 0, tries }
    }

    pub(super) fn peek(&self) -> Option<&'a Kind> {
        self.tokens.get(self.at).map(|t| &t.kind)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<&'a Kind> {
        self.tokens.get(self.at + ahead).map(|t| &t.kind)
    }

    pub(super) fn spaced(&self, ahead: usize) -> bool {
        self.tokens.get(self.at + ahead).is_some_and(|t| t.spaced)
    }

    pub(super) fn take(&mut self, kind: &Kind) -> bool {
        let found = self.letter == 0 && self.peek() == Some(kind);
        self.at += usize::from(found);
        found
    }

    pub(super) fn sign(&mut self, c: char) -> bool {
        self.take(&Kind::Sign(c))
    }

    pub(super) fn command(&mut self, names: &[&str]) -> bool {
        let found = self.letter == 0 && matches!(self.peek(), Some(Kind::Command(c)) if names.contains(&c.as_str()));
        self.at += usize::from(found);
        found
    }

    /// Runs `f` one level deeper, with a separate state of brackets and bars.
    pub(super) fn nested<T>(&mut self, f: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        let outer = (self.bars, self.no_colon, self.reversed);
        (self.bars, self.no_colon, self.reversed) = (0, false, false);
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        (self.bars, self.no_colon, self.reversed) = outer;
        result
    }
}
