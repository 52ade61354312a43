//! The tokens of an answer.

use super::super::tree::{Literal, Relation};

/// Maximum length of an answer in bytes.
pub(in crate::verify::math) const MAX_LEN: usize = 8192;

/// The meaning of a comma between digits. An ambiguous text has one reading per meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verify::math) enum Commas {
    /// `1,234` is 1234; a space between groups of three means the same.
    Thousands,
    /// Every comma separates items.
    List,
    /// `1,5` is 1.5, `1.234,5` is 1234.5.
    Decimal,
}

/// The kind of a token.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::verify::math) enum Kind {
    /// A number; with its digits if it is a plain integer, from which `\frac12` takes one at a time.
    Number { literal: Literal, exponent: i64, digits: Option<String> },
    /// A single letter.
    Letter(char),
    /// Two or more consecutive letters.
    Word(String),
    /// The content of `\text{…}`, or letters of other alphabets.
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
    /// Any other meaningful character: `+ - * / ^ _ ! % ' , ; : & .`
    Sign(char),
}

/// A token, with `spaced` true if a space precedes it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::verify::math) struct Token {
    pub(in crate::verify::math) kind: Kind,
    pub(in crate::verify::math) spaced: bool,
}
