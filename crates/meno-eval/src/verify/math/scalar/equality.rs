//! The results of comparing two expressions.

/// The result of comparing two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Equality {
    /// Equal wherever both are defined, with the same domain.
    Equal,
    /// Certainly different.
    Different,
    /// Neither was shown.
    Undecided,
}

/// The result of testing whether one expression is a constant multiple of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proportion {
    /// Yes, by a positive constant.
    Positive,
    /// Yes, by a negative constant.
    Negative,
    /// Yes, by a constant that is not real or whose sign is unknown.
    Unsigned,
    /// No.
    No,
    /// Neither was shown.
    Undecided,
}
