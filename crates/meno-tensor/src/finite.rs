//! Finds values that are not finite (NaN, ±∞) in f32 and in quantized weights, at memory speed.

use crate::quant::{GgmlType, dequant};
use rayon::prelude::*;

/// Values checked by one task.
const TASK: usize = 1 << 16;

/// Returns true if every value is finite.
pub fn all_finite(values: &[f32]) -> bool {
    all_below(values, f32::INFINITY)
}

/// Returns true if the magnitude of every value is below `limit`, a positive number. NaN is not below it.
pub fn all_below(values: &[f32], limit: f32) -> bool {
    // The magnitudes of floats have the same order as their bits, with NaN above infinity. A maximum without early exit
    // compiles to vector instructions.
    values.iter().fold(0, |m: u32, x| m.max(x.to_bits() & !(1 << 31))) < limit.to_bits()
}

/// Returns the index of the first value whose magnitude is not below `limit`. Runs in parallel.
pub fn first_not_below(values: &[f32], limit: f32) -> Option<usize> {
    let bad = |chunk: &&[f32]| !all_below(chunk, limit);
    let (i, chunk) = values.par_chunks(TASK).enumerate().find_first(|(_, chunk)| bad(chunk))?;
    chunk.iter().position(|x| !all_below(&[*x], limit)).map(|at| i * TASK + at)
}

/// Returns the index of the first element of the first block of `data` that holds a value that is not finite. Runs in
/// parallel.
pub fn first_bad_block(dtype: GgmlType, data: &[u8]) -> Option<usize> {
    let (bytes, elements) = (dtype.block_bytes(), dtype.block_elements());
    let per_task = TASK / elements * bytes;
    let bad = |block: &[u8]| !block_is_finite(dtype, block);
    let (i, task) = data.par_chunks(per_task).enumerate().find_first(|(_, task)| !task_is_finite(dtype, task))?;
    task.chunks_exact(bytes).position(bad).map(|block| i * TASK + block * elements)
}

fn task_is_finite(dtype: GgmlType, data: &[u8]) -> bool {
    // There is no early exit, and the offsets are compile-time constants.
    fn scales<const B: usize, const N: usize>(data: &[u8], at: [usize; N]) -> bool {
        let exponents = |b: &[u8; B]| at.iter().any(|&at| b[at + 1] & 0x7C == 0x7C);
        !data.as_chunks::<B>().0.iter().fold(false, |bad, b| bad | exponents(b))
    }
    match dtype {
        GgmlType::F32 => {
            let value = |b: &[u8; 4]| u32::from_le_bytes(*b) & !(1 << 31);
            data.as_chunks::<4>().0.iter().fold(0, |m, b| value(b).max(m)) < f32::INFINITY.to_bits()
        }
        GgmlType::Bf16 => {
            let value = |b: &[u8; 2]| u16::from_le_bytes(*b) & 0x7FFF;
            data.as_chunks::<2>().0.iter().fold(0, |m, b| value(b).max(m)) < 0x7F80
        }
        GgmlType::F16 => {
            let value = |b: &[u8; 2]| u16::from_le_bytes(*b) & 0x7FFF;
            data.as_chunks::<2>().0.iter().fold(0, |m, b| value(b).max(m)) < 0x7C00
        }
        GgmlType::Q4_0 => scales::<18, 1>(data, [0]),
        GgmlType::Q4_1 => scales::<20, 2>(data, [0, 2]),
        GgmlType::Q5_0 => scales::<22, 1>(data, [0]),
        GgmlType::Q5_1 => scales::<24, 2>(data, [0, 2]),
        GgmlType::Q8_0 => scales::<34, 1>(data, [0]),
        GgmlType::Q2_K => scales::<84, 2>(data, [80, 82]),
        GgmlType::Q3_K => scales::<110, 1>(data, [108]),
        GgmlType::Q4_K => scales::<144, 2>(data, [0, 2]),
        GgmlType::Q5_K => scales::<176, 2>(data, [0, 2]),
        GgmlType::Q6_K => scales::<210, 1>(data, [208]),
        GgmlType::Iq4_NL => scales::<18, 1>(data, [0]),
        GgmlType::Iq4_XS => scales::<136, 1>(data, [0]),
        // Powers of two up to 2^124 times at most 12 are finite.
        GgmlType::Mxfp4 => data.as_chunks::<17>().0.iter().all(|b| b[0] <= 252 || block_is_finite(dtype, b)),
    }
}

/// Dequantizes the block to check it.
fn block_is_finite(dtype: GgmlType, block: &[u8]) -> bool {
    let mut values = [0.0; 256];
    let values = &mut values[..dtype.block_elements()];
    dequant::dequantize(dtype, block, values);
    all_finite(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::encode;
    use crate::rng::Rng;

    #[test]
    fn values_by_hand() {
        assert!(all_finite(&[0.0, -1.0, f32::MAX, f32::MIN, 1e-45]) && all_finite(&[]));
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = vec![1.0; 3 * TASK];
            values[TASK + 7] = bad;
            assert!(!all_finite(&values));
            assert_eq!(first_not_below(&values, f32::INFINITY), Some(TASK + 7));
        }
        assert_eq!(first_not_below(&[1.0, -65519.0, 65520.0], 65520.0), Some(2));
        assert_eq!(first_not_below(&[1.0, 2.0], 65520.0), None);
    }

    /// Random blocks of every type, one of them invalid: it is found exactly where dequantization finds it.
    #[test]
    fn the_scales_of_every_type() {
        let mut rng = Rng::new(&[11]);
        for dtype in GgmlType::ALL {
            let (n, bytes) = (dtype.block_elements(), dtype.block_bytes());
            let blocks = 2 * TASK / n + 5;
            let values: Vec<f32> = (0..blocks * n).map(|_| rng.normal()).collect();
            let mut data = vec![0; encode::bytes(dtype, values.len())];
            encode::quantize(dtype, &values, &mut data);
            assert_eq!(first_bad_block(dtype, &data), None, "{dtype:?}");
            // Any two bytes of a block may belong to a scale.
            let block = TASK / n + 3;
            let mut found = 0;
            for at in 0..bytes {
                let mut broken = data.clone();
                let place = &mut broken[block * bytes + at..][..2.min(bytes - at)];
                place.copy_from_slice(&[0xFF; 2][..place.len()]);
                let mut out = vec![0.0; values.len()];
                dequant::dequantize(dtype, &broken, &mut out);
                let expected = (!all_finite(&out)).then_some(block * n);
                assert_eq!(first_bad_block(dtype, &broken), expected, "{dtype:?} {at}");
                found += usize::from(expected.is_some());
            }
            assert!(found > 0, "{dtype:?}");
        }
    }
}
