//! The network of the tiny recipes.

use meno::model::{Config, Dtype, Model};
use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Saves the network with random weights and its tokenizer in a directory.
pub(crate) fn save_model(dir: &Path) {
    let tiny = root().join("recipes/tiny/model");
    let config = serde_json::from_str(&std::fs::read_to_string(tiny.join("config.json")).unwrap()).unwrap();
    Model::random(Config::from_value("tiny", config).unwrap(), 1).unwrap().save(dir, Dtype::F32).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(tiny.join(name), dir.join(name)).unwrap();
    }
}
