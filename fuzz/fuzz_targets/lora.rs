//! `cargo fuzz run lora` (see `fuzz/README.md`): a LoRA adapter of any content, merged into a small network. The input
//! is the `adapter_config.json`, a zero byte, and the `adapter_model.safetensors`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_model::Dtype;
use meno_model::convert::Checkpoint;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/meno-model/tests/golden/qwen2");
    let Some(end) = bytes.iter().position(|&b| b == 0) else { return };
    let dir = std::env::temp_dir().join(format!("meno-fuzz-lora-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
    std::fs::write(dir.join("adapter_config.json"), &bytes[..end]).expect("the temporary directory can be written");
    std::fs::write(dir.join("adapter_model.safetensors"), &bytes[end + 1..]).expect("the directory can be written");
    let Ok(adapted) = Checkpoint::open(&base, Some(&dir)) else { return };
    let _ = adapted.write_directory(&dir.join("merged"), Dtype::F32, &mut |_, _, _| {});
});
