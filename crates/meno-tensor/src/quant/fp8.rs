//! FP8 matrices as DeepSeek publishes them: e4m3 codes, and one f32 factor per block of rows and columns (DeepSeek-V3,
//! arXiv 2412.19437, §3.3). Blocks at the edges are partial.

use std::sync::LazyLock;

/// Rows and columns of the tiles in which a GPU stores FP8. A tile has one factor.
pub const TILE: [usize; 2] = [16, 64];

/// The values of all 256 codes of e4m3 (the OCP's e4m3fn).
pub static E4M3: LazyLock<[f32; 256]> = LazyLock::new(|| std::array::from_fn(|bits| e4m3(bits as u8)));

/// Decodes e4m3: a sign, 4 bits of exponent with bias 7, 3 of mantissa; no infinities, one NaN per sign.
fn e4m3(bits: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(bits >> 3 & 15), f32::from(bits & 7));
    let magnitude = match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa * 2f32.powi(-9),
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    };
    if bits >> 7 == 1 { -magnitude } else { magnitude }
}

/// An FP8 matrix. The value of an element is that of its code times the factor of its block.
pub struct Fp8Matrix<'a> {
    /// The codes, row after row; none is NaN.
    pub codes: &'a [u8],
    /// The factors of the blocks, row after row.
    pub factors: Vec<f32>,
    /// Rows and columns of a block.
    pub block: [usize; 2],
}

impl Fp8Matrix<'_> {
    /// Returns the factor of the element at (`row`, `col`), for rows of `cols` elements.
    pub fn factor(&self, [row, col]: [usize; 2], cols: usize) -> f32 {
        self.factors[row / self.block[0] * cols.div_ceil(self.block[1]) + col / self.block[1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_by_hand() {
        // Values from the OCP's table of 8-bit formats.
        for (bits, value) in [(0x00, 0.0), (0x01, 2f32.powi(-9)), (0x07, 7.0 / 512.0), (0x08, 2f32.powi(-6))] {
            assert_eq!(e4m3(bits), value);
        }
        for (bits, value) in [(0x38, 1.0), (0x7E, 448.0), (0xB8, -1.0), (0xFE, -448.0), (0x40, 2.0), (0x39, 1.125)] {
            assert_eq!(e4m3(bits), value);
        }
        assert!(e4m3(0x7F).is_nan() && e4m3(0xFF).is_nan());
    }

    #[test]
    fn factors_of_partial_blocks() {
        // 3×5 in blocks of 2×3.
        let matrix = Fp8Matrix { codes: &[0; 15], factors: vec![1.0, 2.0, 3.0, 4.0], block: [2, 3] };
        let factors = [[0, 2], [1, 3], [2, 0], [2, 4]].map(|at| matrix.factor(at, 5));
        assert_eq!(factors, [1.0, 2.0, 3.0, 4.0]);
    }
}
