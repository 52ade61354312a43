//! `cargo fuzz run gguf crates/meno-model/tests/golden/gguf` (see `fuzz/README.md`).
#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_model::gguf::{FileType, Gguf, Metadata, hf_name};
use meno_model::{Config, convert};

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Gguf::from_bytes("fuzzed.gguf", bytes.to_vec()) else { return };
    let _ = Metadata::copied(&file);
    if let Ok(config) = file.config().map_err(|_| ()).and_then(|c| Config::from_value("fuzzed", c).map_err(|_| ())) {
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
            assert!(elements <= 4 * bytes.len(), "more elements than the file has bytes for");
            file.read_f32(&name, &mut vec![0.0; elements]).expect("a tensor whose shape is known can be read");
        }
    }
});
