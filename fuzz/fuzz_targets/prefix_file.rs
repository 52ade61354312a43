//! A file of kept prefixes: any bytes after a valid header, or instead of it. Gives an error or prefixes, and takes no
//! more memory than the file justifies.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_engine::{Generator, GeneratorConfig};
use meno_model::{Config, Model};
use serde_json::json;
use std::cell::RefCell;
use std::path::PathBuf;

struct State {
    model: Model,
    generator: Generator,
    path: PathBuf,
    good: Vec<u8>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new(state());
}

fn state() -> State {
    let config = json!({
        "model_type": "qwen2", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 1, "num_key_value_heads": 1, "max_position_embeddings": 256, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "tie_word_embeddings": true, "initializer_range": 0.3, "hidden_act": "silu"
    });
    let config = Config::from_value("config.json", config).expect("a sound config");
    let mut model = Model::random(config, 4).expect("a model");
    let config = GeneratorConfig { step_rows: 16, ..GeneratorConfig::new(2, 256).serving() };
    let mut generator = Generator::new(&model, config).expect("a generator");
    let path = std::env::temp_dir().join(format!("meno-fuzz-prefixes-{}", std::process::id()));
    generator.save_prefixes(&mut *model.weights, &path).expect("a file");
    let good = std::fs::read(&path).expect("the file");
    State { model, generator, path, good }
}

fuzz_target!(|data: &[u8]| {
    STATE.with_borrow_mut(|s| {
        // Two counts and a checksum end the file without prefixes.
        let head = &s.good[..s.good.len() - 16];
        for bytes in [data.to_vec(), [head, data].concat()] {
            std::fs::write(&s.path, bytes).expect("a file");
            let _ = s.generator.load_prefixes(&mut *s.model.weights, &s.path);
            s.generator.forget();
            assert_eq!(s.generator.cache_pages().used, 0, "no page is lost");
        }
    });
});
