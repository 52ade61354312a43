//! Mutated GGUF files: for any bytes, the reader returns an error or tensors inside the file. It never panics and never
//! requests more memory than the file's size justifies. `fuzz/` runs the same check for longer.
//!
//! `MENO_MUTATIONS=1000000 cargo test -p meno-model --release --test gguf_mutations` runs more mutations.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_model::gguf::{FileType, Gguf, Metadata, hf_name};
use meno_model::{Config, convert};
use meno_tensor::rng::Rng;
use std::path::Path;

/// No tensor may claim more elements than this many per byte of the file (Q2_K: 256 in 84 bytes).
const ELEMENTS_PER_BYTE: usize = 4;

/// Does everything with a file that loading it does.
fn exercise(bytes: Vec<u8>) -> bool {
    let len = bytes.len();
    let Ok(file) = Gguf::from_bytes("mutated.gguf", bytes) else { return false };
    let claimed: usize = file.tensors().iter().map(|t| t.elements).sum();
    assert!(claimed <= ELEMENTS_PER_BYTE * len, "{claimed} elements claimed by {len} bytes");
    let _ = (file.architecture(), Metadata::copied(&file));
    // A network described by the metadata can be exported again.
    if let Ok(config) = file.config().map_err(|_| ()).and_then(|c| Config::from_value("c", c).map_err(|_| ())) {
        let small = config.num_hidden_layers < 100 && config.moe().is_none_or(|m| m.gate.n_routed_experts < 100);
        let _ = small.then(|| convert::plan(&config, FileType::ALL[config.vocab_size % FileType::ALL.len()]));
    }
    for key in file.keys() {
        let _ = (file.opt_f64(key), file.opt_u64(key), file.opt_bool(key), file.opt_str(key));
        if let Ok(Some(strings)) = file.strings(key) {
            let _ = strings.count();
        }
        if let Ok(Some(integers)) = file.integers(key) {
            let _ = integers.count();
        }
    }
    for tensor in file.tensors() {
        let Some(name) = hf_name(&tensor.name).map(|n| n.replace('*', "1")) else { continue };
        if let Ok(shape) = file.shape(&name) {
            let elements: usize = shape.iter().product();
            assert!(elements <= ELEMENTS_PER_BYTE * len, "{name} has shape {shape:?} in {len} bytes");
            file.read_f32(&name, &mut vec![0.0; elements]).expect("a declared tensor reads");
        }
    }
    true
}

/// Values that break careless arithmetic.
const HOSTILE: [u64; 12] =
    [0, 1, 7, 255, 256, 1 << 16, (1 << 31) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, u64::MAX - 31, u64::MAX];

/// One to four random changes: bits, hostile numbers, cuts, moved pieces.
fn mutate(seed: &[u8], header: usize, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    let mut below = |n: usize| rng.below(n.max(1));
    for _ in 0..1 + below(4) {
        // Mostly in the header, which contains the numbers.
        let at = if below(8) == 0 { below(bytes.len()) } else { below(header.min(bytes.len())) };
        match below(6) {
            0 => bytes[at] ^= 1 << below(8),
            1 => bytes[at] = below(256) as u8,
            2 | 3 => {
                let width = [4, 8][below(2)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&HOSTILE[below(HOSTILE.len())].to_le_bytes()[..width]);
            }
            4 => bytes.truncate(at.max(1)),
            _ => {
                let n = below(64).min(bytes.len() - at);
                let piece = bytes[at..at + n].to_vec();
                let to = below(bytes.len() - n + 1);
                bytes[to..to + n].copy_from_slice(&piece);
            }
        }
    }
    bytes
}

#[test]
fn mutated_files_never_panic_and_never_claim_more_than_they_hold() {
    let count: usize = std::env::var("MENO_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(4000);
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gguf");
    let mut accepted = 0;
    for (k, name) in ["types", "qwen2", "llama", "deepseek_v2", "deepseek_v3", "qwen3_moe"].iter().enumerate() {
        let seed = std::fs::read(dir.join(format!("{name}.gguf"))).unwrap();
        let file = Gguf::from_bytes(name, seed.clone()).unwrap();
        let header = seed.len() - file.tensors().iter().map(|t| t.bytes).sum::<usize>();
        assert!(exercise(seed.clone()));
        let mut rng = Rng::new(&[20, k as u64]);
        accepted += (0..count).filter(|_| exercise(mutate(&seed, header, &mut rng))).count();
    }
    // Both outcomes must occur; otherwise the mutations test nothing.
    assert!(accepted > count / 10 && accepted < 5 * count, "{accepted} accepted");
}
