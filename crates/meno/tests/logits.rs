//! `meno logits` against transformers' logits.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use meno_model::safetensors::Safetensors;
use std::path::Path;
use std::process::Command;

fn read(file: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let file = Safetensors::open(file).unwrap();
    let shape = file.shape(name).unwrap().to_vec();
    let mut values = vec![0.0; shape.iter().product()];
    file.read_f32(name, &mut values).unwrap();
    (shape, values)
}

/// The ids of a golden file's first sequence. They are stored as int32; ids below 2³¹ are not the bits of a
/// normal f32.
fn ids(file: &Path, n: usize) -> Vec<String> {
    let bytes = std::fs::read(file).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let start = 8 + header + json["tokens"]["data_offsets"][0].as_u64().unwrap() as usize;
    let ids = bytes[start..].chunks_exact(4).take(n);
    ids.map(|b| u32::from_le_bytes(b.try_into().unwrap()).to_string()).collect()
}

#[test]
fn equal_to_transformers() {
    let dir = tempfile::tempdir().unwrap();
    for (name, device, precision, tolerance) in [
        ("deepseek_v3", "auto", "f32", 5e-5),
        ("deepseek_v3", "reference", "f32", 5e-5),
        ("qwen2", "cpu", "f32", 5e-5),
        ("llama", "cpu", "f32", 5e-5),
        ("llama", "cpu", "bf16", 0.5),
    ] {
        let out = dir.path().join(format!("{name}-{device}-{precision}.safetensors"));
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../meno-model/tests/golden").join(name);
        let expected = model.join("expected.safetensors");
        let output = Command::new(env!("CARGO_BIN_EXE_meno"))
            .args(["logits", "-m"])
            .arg(&model)
            .args(["--device", device, "--precision", precision, "--tokens", &ids(&expected, 21).join(","), "--out"])
            .arg(&out)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (shape, logits) = read(&out, "logits");
        assert_eq!(shape, [21, 96]);
        let (_, reference) = read(&expected, "logits");
        let gap = logits.iter().zip(&reference).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(gap <= tolerance, "{name} {device} {precision}: {gap:e}");
        assert!(precision == "f32" || gap > 1e-4, "bf16 was asked for");
    }
}

#[test]
fn an_id_outside_the_vocabulary_is_named() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../meno-model/tests/golden/qwen2");
    let output = Command::new(env!("CARGO_BIN_EXE_meno"))
        .args(["logits", "--tokens", "1,96", "--out", "unwritten.safetensors", "-m"])
        .arg(&model)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("96 is not below the vocabulary"), "{stderr}");
}

#[test]
fn an_unknown_device_is_refused() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../meno-model/tests/golden/qwen2");
    let output = Command::new(env!("CARGO_BIN_EXE_meno"))
        .args(["logits", "--device", "tpu", "--tokens", "1", "--out", "unwritten.safetensors", "-m"])
        .arg(&model)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && error.contains("unknown device 'tpu': use auto, cpu, cuda, cuda:N or"),
        "{error}"
    );
}
