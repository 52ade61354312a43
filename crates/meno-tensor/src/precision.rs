//! The input type of matrix products.

/// The input type of matrix products; accumulation is always f32.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Precision {
    /// f32 inputs.
    #[default]
    F32,
    /// Inputs rounded to bf16 (nearest, ties to even).
    Bf16,
}
