//! A model whose head is its embedding (tied) stays tied in every format.

use super::{Dir, tokens};
use meno::model::gguf::Gguf;
use std::path::Path;

fn tensors(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.names().into_iter().map(str::to_owned).collect()
}

#[track_caller]
fn is_tied(dir: &Dir, name: &str) {
    assert_eq!(dir.json(&format!("{name}/config.json"))["tie_word_embeddings"], true);
    let names = tensors(&dir.path(name).join("model.safetensors"));
    assert!(names.iter().any(|n| n == "model.embed_tokens.weight") && !names.iter().any(|n| n == "lm_head.weight"));
}

#[test]
fn through_gguf_and_back() {
    let dir = Dir::new(true, |_| ());
    dir.ok(&["convert", "model", "model.gguf", "--type", "f32"]);
    let file = Gguf::open(&dir.path("model.gguf")).unwrap();
    assert!(file.info("token_embd.weight").is_some() && file.info("output.weight").is_none());
    dir.ok(&["convert", "model.gguf", "back", "--type", "f32"]);
    is_tied(&dir, "back");
    dir.ok(&["convert", "back", "again.gguf", "--type", "q8_0"]);
    assert!(Gguf::open(&dir.path("again.gguf")).unwrap().info("output.weight").is_none());
    let answers = ["model", "model.gguf", "back"]
        .map(|m| tokens(&dir.generate(m, &["--temperature", "0", "--precision", "f32"])[0]));
    assert!(answers[0] == answers[1] && answers[0] == answers[2]);
    // An untied model stays untied.
    let dir = Dir::new(false, |_| ());
    dir.ok(&["convert", "model", "model.gguf", "--type", "f32"]);
    assert!(Gguf::open(&dir.path("model.gguf")).unwrap().info("output.weight").is_some());
    dir.ok(&["convert", "model.gguf", "back", "--type", "f32"]);
    assert_eq!(dir.json("back/config.json")["tie_word_embeddings"], false);
}

#[test]
fn training_from_gguf_is_training_from_the_directory() {
    let dir = Dir::new(true, |_| ());
    dir.ok(&["convert", "model", "model.gguf", "--type", "f32"]);
    for (model, out) in [("model", "a"), ("model.gguf", "b")] {
        let recipe = dir.sft(model, out, "max_steps = 3\nlearning_rate = 1e-2");
        dir.ok(&["sft", &recipe, "--plain"]);
        is_tied(&dir, out);
        is_tied(&dir, &format!("{out}/checkpoint-2"));
    }
    // The gradients of embedding and head are summed in the same order: the weights are bit-identical, and
    // they have changed.
    let weights = |name: &str| std::fs::read(dir.path(name).join("model.safetensors")).unwrap();
    let values = |name: &str| {
        let bytes = weights(name);
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        file.tensor("model.embed_tokens.weight").unwrap().data().to_vec()
    };
    assert_eq!(values("a"), values("b"));
    assert_ne!(values("a"), values("model"));
}
