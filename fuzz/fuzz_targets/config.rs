//! `cargo fuzz run config` (see `fuzz/README.md`): any JSON as a `config.json`. What is accepted has shapes that can be
//! listed and counted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_model::{Config, InferOptions, Model};

fuzz_target!(|json: &[u8]| {
    let Ok(value) = serde_json::from_slice(json) else { return };
    let Ok(config) = Config::from_value("fuzzed", value) else { return };
    config.counts();
    config.rope_frequencies();
    Model::tensor_shapes(&config);
    for absorbed in [false, true] {
        Model::cache_shapes(&config, InferOptions { absorbed });
    }
    let again = Config::from_value("again", config.to_value()).expect("what is written is read");
    assert_eq!(again, config);
});
