//! FP8 weights in DeepSeek's published format: e4m3 values with one factor, `weight_scale_inv`, per 128×128 block
//! (DeepSeek-V3, arXiv 2412.19437, §3.3; `inference/kernel.py`, `weight_dequant`). Blocks at the edges are partial.

use rayon::prelude::*;

/// The suffix that turns the name of a weight into that of its factors.
pub(crate) const SCALE: &str = "_scale_inv";

/// Decodes e8m0 (`scale_fmt: ue8m0`): a power of two.
pub(crate) fn e8m0(bits: u8) -> f32 {
    match bits {
        255 => f32::NAN,
        0 => f32::from_bits(1 << 22),
        _ => f32::from_bits(u32::from(bits) << 23),
    }
}

/// Returns rows and columns of the factors of a weight `[rows, cols]`.
pub(crate) fn scale_shape(shape: &[usize], block: [usize; 2]) -> Option<[usize; 2]> {
    match *shape {
        [rows, cols] => Some([rows.div_ceil(block[0]), cols.div_ceil(block[1])]),
        _ => None,
    }
}

/// Multiplies `weight` `[rows, cols]` by the factors of its blocks.
pub(crate) fn scale(weight: &mut [f32], cols: usize, scales: &[f32], block: [usize; 2]) {
    let scales_per_row = cols.div_ceil(block[1]);
    weight.par_chunks_mut(cols).enumerate().for_each(|(r, row)| {
        let scales = &scales[r / block[0] * scales_per_row..][..scales_per_row];
        for (part, s) in row.chunks_mut(block[1]).zip(scales) {
            part.iter_mut().for_each(|w| *w *= s);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two() {
        assert_eq!((e8m0(127), e8m0(128), e8m0(0), e8m0(254)), (1.0, 2.0, 2f32.powi(-127), 2f32.powi(127)));
    }

    #[test]
    fn partial_blocks() {
        // 3×5 in blocks of 2×3: factors [[1, 2], [3, 4]].
        let mut w = [1.0; 15];
        assert_eq!(scale_shape(&[3, 5], [2, 3]), Some([2, 2]));
        scale(&mut w, 5, &[1.0, 2.0, 3.0, 4.0], [2, 3]);
        let rows = [[1.0, 1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 1.0, 2.0, 2.0], [3.0, 3.0, 3.0, 4.0, 4.0]];
        assert_eq!(w[..], rows.concat());
    }
}
