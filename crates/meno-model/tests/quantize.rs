//! Quantization against ggml's own code, byte for byte (`dev/reference/gguf_quantize.py` made the file).

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_tensor::quant::{GgmlType, dequant, encode};
use meno_tensor::rng::Rng;
use std::path::Path;

fn golden() -> (Vec<f32>, Vec<(GgmlType, Vec<u8>)>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gguf/quantize.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = file.tensor("values").unwrap().data().chunks_exact(4);
    let values = values.map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let typed = GgmlType::ALL.iter().filter_map(|&t| Some((t, file.tensor(t.name()).ok()?.data().to_vec())));
    (values, typed.collect())
}

fn quantized(dtype: GgmlType, values: &[f32]) -> Vec<u8> {
    let mut out = vec![0xAA; encode::bytes(dtype, values.len())];
    encode::quantize(dtype, values, &mut out);
    out
}

#[test]
fn every_type_byte_for_byte() {
    let (values, types) = golden();
    assert_eq!(types.len(), GgmlType::ALL.len() - 1, "all but F32");
    for (dtype, expected) in types {
        let ours = quantized(dtype, &values);
        let block = dtype.block_bytes();
        let wrong: Vec<usize> = (0..ours.len()).filter(|&i| ours[i] != expected[i]).collect();
        assert!(
            wrong.is_empty(),
            "{}: {} of {} bytes differ, first at byte {} of block {}",
            dtype.name(),
            wrong.len(),
            ours.len(),
            wrong[0] % block,
            wrong[0] / block
        );
    }
}

/// The root mean square error of Gaussian values, relative to their root mean square.
#[test]
fn errors_shrink_with_the_bits() {
    let mut rng = Rng::new(&[5]);
    let x: Vec<f32> = (0..1 << 16).map(|_| rng.normal()).collect();
    let error = |dtype: GgmlType| {
        let mut y = vec![f32::NAN; x.len()];
        dequant::dequantize(dtype, &quantized(dtype, &x), &mut y);
        (x.iter().zip(&y).map(|(x, y)| (x - y) * (x - y)).sum::<f32>() / x.len() as f32).sqrt()
    };
    use GgmlType::*;
    let limits = [
        (F32, 0.0),
        (F16, 3e-4),
        (Bf16, 2e-3),
        (Q8_0, 6e-3),
        (Q6_K, 0.02),
        (Q5_K, 0.04),
        (Q5_0, 0.05),
        (Q5_1, 0.05),
        (Q4_K, 0.08),
        (Q4_0, 0.1),
        (Q4_1, 0.1),
        (Iq4_NL, 0.09),
        (Iq4_XS, 0.09),
        (Mxfp4, 0.14),
        (Q3_K, 0.17),
        (Q2_K, 0.35),
    ];
    assert_eq!(limits.len(), GgmlType::ALL.len());
    for (dtype, limit) in limits {
        let e = error(dtype);
        println!("{}: {e:.4}", dtype.name());
        assert!(e <= limit && (e > limit / 3.0 || limit == 0.0), "{}: {e}", dtype.name());
    }
}

/// Values that no weight should have: they give some block without a panic.
#[test]
fn hostile_values() {
    let hostile = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, 0.0, -0.0];
    let mut rng = Rng::new(&[6]);
    for round in 0..200 {
        let x: Vec<f32> = (0..512)
            .map(|_| if rng.below(4) < round % 5 { hostile[rng.below(hostile.len())] } else { rng.normal() })
            .collect();
        for dtype in GgmlType::ALL {
            let mut y = vec![0.0; x.len()];
            dequant::dequantize(dtype, &quantized(dtype, &x), &mut y);
        }
    }
}
