//! Mutated safetensors files: the reader returns an error or tensors inside the file. It does not panic, and no forged
//! number makes it allocate memory. `fuzz/` runs the same check for longer.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_model::Model;
use meno_model::convert::Checkpoint;
use meno_model::safetensors::{Dtype, Safetensors, Tensor, write};
use meno_tensor::rng::Rng;
use std::path::Path;

fn exercise(path: &Path, bytes: &[u8]) -> bool {
    std::fs::write(path, bytes).unwrap();
    let Ok(file) = Safetensors::open(path) else { return false };
    for name in file.names() {
        let elements = file.shape(&name).unwrap().iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap();
        // No type has more than two elements per byte.
        assert!(elements <= 2 * bytes.len(), "{name}: {elements} elements in {} bytes", bytes.len());
        let _ = file.read_f32(&name, &mut vec![0.0; elements]);
        assert!(file.read_f32(&name, &mut vec![0.0; elements + 1]).is_err());
    }
    assert!(file.read_f32("no such tensor", &mut []).is_err());
    true
}

/// Replacements in the header's text that keep it valid JSON more often than random bytes do.
const PIECES: [&str; 16] = [
    "0",
    "1",
    "9",
    "-1",
    "18446744073709551615",
    "4294967296",
    "1e9",
    "\"F16\"",
    "\"BF16\"",
    "\"I64\"",
    "\"F8_E4M3\"",
    "\"F8_E8M0\"",
    "[]",
    "null",
    "{}",
    ",",
];

fn mutate(seed: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    let header = 8 + u64::from_le_bytes(seed[..8].try_into().unwrap()) as usize;
    for _ in 0..1 + rng.below(3) {
        match rng.below(6) {
            0 => {
                let at = rng.below(bytes.len());
                bytes[at] ^= 1 << rng.below(8);
            }
            1 => bytes.truncate(1 + rng.below(bytes.len())),
            2 => {
                let at = rng.below(8.min(bytes.len()));
                bytes[at] = rng.below(256) as u8;
            }
            3 => bytes.extend([0; 16]),
            _ if bytes.len() > header => {
                // Replaces a number or a word of the header; the header's length is adjusted.
                let digits: Vec<usize> = (8..header.min(bytes.len())).filter(|&i| bytes[i].is_ascii_digit()).collect();
                let Some(&at) = digits.get(rng.below(digits.len().max(1))) else { continue };
                let piece = rng.choose(&PIECES).as_bytes();
                bytes.splice(at..at + 1, piece.iter().copied());
                let length = (header - 8 + piece.len() - 1) as u64;
                bytes[..8].copy_from_slice(&length.to_le_bytes());
            }
            _ => {}
        }
    }
    bytes
}

#[test]
fn mutated_files_never_panic_and_never_claim_more_than_they_hold() {
    let count: usize = std::env::var("MENO_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(4000);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.safetensors");
    let data: Vec<f32> = (0..24).map(|i| i as f32).collect();
    let tensor = |name: &str, shape: &[usize], dtype| Tensor {
        name: name.into(),
        shape: shape.into(),
        data: &data[..shape.iter().product()],
        dtype,
    };
    let tensors = [tensor("a", &[2, 3, 4], Dtype::F32), tensor("b", &[5], Dtype::Bf16), tensor("c", &[], Dtype::F32)];
    write(&path, &tensors).unwrap();
    let seed = std::fs::read(&path).unwrap();
    assert!(exercise(&path, &seed));
    let mut rng = Rng::new(&[21]);
    let accepted = (0..count).filter(|_| exercise(&path, &mutate(&seed, &mut rng))).count();
    assert!(accepted > count / 50 && accepted < count, "{accepted} of {count} accepted");
}

/// The same for a whole FP8 checkpoint and for an adapter: the result is a model or an error.
#[test]
fn mutated_checkpoints_never_panic() {
    let count: usize = std::env::var("MENO_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(600);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng::new(&[22]);
    let mut check = |name: &str, file: &str, config: &str, open: &dyn Fn(&Path) -> bool| {
        std::fs::copy(golden.join(name).join(config), dir.path().join(config)).unwrap();
        let (seed, path) = (std::fs::read(golden.join(name).join(file)).unwrap(), dir.path().join(file));
        std::fs::write(&path, &seed).unwrap();
        assert!(open(dir.path()));
        let accepted = (0..count).filter(|_| {
            std::fs::write(&path, mutate(&seed, &mut rng)).unwrap();
            open(dir.path())
        });
        let accepted = accepted.count();
        assert!(accepted > 0 && accepted < count, "{name}: {accepted} of {count} accepted");
    };
    check("fp8", "model.safetensors", "config.json", &|dir| Model::load(dir).is_ok());
    let base = golden.join("llama");
    check("lora", "adapter_model.safetensors", "adapter_config.json", &|dir| {
        Checkpoint::open(&base, Some(dir)).is_ok()
    });
}
