//! The state of the parser, and how it takes tokens.

use super::super::token::{Kind, Token};

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 60;

/// Most atoms that are tried for each token. A group that is not closed is read in several ways, and so is each group in
/// it: without a bound, time doubles with every brace.
const TRIES_PER_TOKEN: usize = 50;

/// Most atoms that are tried of a text of few tokens.
const LEAST_TRIES: usize = 1000;

pub(super) struct Parser<'a> {
    pub(super) tokens: &'a [Token],
    pub(super) at: usize,
    /// The letter of a word that is next.
    pub(super) letter: usize,
    /// Whether plain letters after a number can be its unit.
    pub(super) units: bool,
    /// Whether a bar closes, rather than opens, an absolute value.
    pub(super) bars: usize,
    /// Whether `:` is left to the caller.
    pub(super) no_colon: bool,
    /// Whether `[` closes an interval, as in `]1, 2[`.
    pub(super) reversed: bool,
    pub(super) depth: usize,
    /// Atoms that may still be tried. Without any left, nothing more is read.
    pub(super) tries: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(tokens: &'a [Token], units: bool) -> Self {
        let tries = LEAST_TRIES + TRIES_PER_TOKEN * tokens.len();
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

    /// Runs `f` one level deeper, with brackets and bars of its own.
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
