//! What a comparison of two expressions finds.

/// A decision about two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Equality {
    /// They are equal wherever both are defined, and their domains agree.
    Equal,
    /// They are certainly different.
    Different,
    /// Neither is shown.
    Undecided,
}

/// Whether one expression is a constant multiple of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proportion {
    /// It is, by a positive constant.
    Positive,
    /// It is, by a negative constant.
    Negative,
    /// It is, by a constant that is not real or whose sign is not known.
    Unsigned,
    /// It is not.
    No,
    /// Neither is shown.
    Undecided,
}
