//! `cargo fuzz run safetensors` (see `fuzz/README.md`). The reader maps files, so each input becomes one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_model::safetensors::Safetensors;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("meno-fuzz-{}.safetensors", std::process::id()));
    std::fs::write(&path, bytes).expect("the temporary directory can be written");
    let Ok(file) = Safetensors::open(&path) else { return };
    for name in file.names() {
        let shape = file.shape(&name).expect("a listed tensor has a shape");
        let elements: usize = shape.iter().product();
        assert!(elements <= 2 * bytes.len(), "more elements than the file has bytes for");
        let _ = file.read_f32(&name, &mut vec![0.0; elements]);
    }
});
