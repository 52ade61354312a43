//! Numeric precision: f32 or bf16.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A numeric precision: of the inputs of matrix products, whose accumulation is always f32, or of saved weights.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// f32.
    #[default]
    F32,
    /// Rounded to bf16 (nearest, ties to even).
    Bf16,
}

/// A text that names no precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown precision `{0}`, expected `f32` or `bf16`")]
pub struct UnknownPrecision(pub String);

impl Precision {
    /// Returns its name: `f32` or `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(text: &str) -> Result<Precision, UnknownPrecision> {
        [Precision::F32, Precision::Bf16]
            .into_iter()
            .find(|p| p.name() == text)
            .ok_or_else(|| UnknownPrecision(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for precision in [Precision::F32, Precision::Bf16] {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        assert_eq!("f16".parse::<Precision>(), Err(UnknownPrecision("f16".to_owned())));
    }
}
