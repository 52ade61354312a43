//! The tokens of an answer.

use super::super::tree::{Literal, Relation};

/// Longest answer that is read, in bytes.
pub(in crate::verify::math) const MAX_LEN: usize = 8192;

/// What a comma between digits means. A text can allow several meanings: each is a reading of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verify::math) enum Commas {
    /// `1,234` is 1234; a space between groups of three does the same.
    Thousands,
    /// Every comma separates.
    List,
    /// `1,5` is 1.5, `1.234,5` is 1234.5.
    Decimal,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::verify::math) enum Kind {
    /// A number; its digits if it is a plain integer, from which `\frac12` takes one at a time.
    Number { literal: Literal, exponent: i64, digits: Option<String> },
    /// A letter alone.
    Letter(char),
    /// Two or more letters in a row.
    Word(String),
    /// The content of `\text{…}`, and letters of other alphabets.
    Text(String),
    /// A command without its backslash.
    Command(String),
    /// `(`, `[`, or `\langle` as `<`.
    Open(char),
    /// `)`, `]`, or `\rangle` as `>`.
    Close(char),
    /// `\{`
    SetOpen,
    /// `\}`
    SetClose,
    /// `{`
    GroupOpen,
    /// `}`
    GroupClose,
    /// `|`, `\lvert`, `\rvert`
    Bar,
    /// `\mid`
    Mid,
    /// `\|`
    DoubleBar,
    /// A relation.
    Relation(Relation),
    /// "and" between parts.
    And,
    /// "or" between parts.
    Or,
    /// `\\`
    RowBreak,
    /// A currency sign, as the name of its unit.
    Currency(&'static str),
    /// `\begin{…}`
    Begin(String),
    /// `\end{…}`
    End(String),
    /// Any other character with a meaning: `+ - * / ^ _ ! % ' , ; : & .`
    Sign(char),
}

/// A token and whether space stands before it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::verify::math) struct Token {
    pub(in crate::verify::math) kind: Kind,
    pub(in crate::verify::math) spaced: bool,
}
