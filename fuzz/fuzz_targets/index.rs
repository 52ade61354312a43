//! `cargo fuzz run index` (see `fuzz/README.md`): any JSON as `model.safetensors.index.json`, beside one good shard. No
//! name leads out of the directory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_model::{Model, hf};
use std::path::{Component, Path};

fuzz_target!(|json: &[u8]| {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/meno-model/tests/golden/qwen2");
    let dir = std::env::temp_dir().join(format!("meno-fuzz-index-{}", std::process::id()));
    if !dir.exists() {
        std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
        std::fs::copy(golden.join("config.json"), dir.join("config.json")).expect("the golden file is there");
        std::fs::copy(golden.join("model.safetensors"), dir.join("a.safetensors")).expect("the golden file is there");
    }
    let index = dir.join("model.safetensors.index.json");
    std::fs::write(&index, json).expect("the temporary directory can be written");
    if let Ok(names) = hf::shards(&index) {
        for name in names {
            let parts: Vec<Component> = Path::new(&name).components().collect();
            assert!(matches!(parts[..], [Component::Normal(_)]), "{name:?} leads out of the directory");
        }
    }
    let _ = Model::load(&dir);
});
