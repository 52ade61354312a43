//! Weights and logits that are not finite: every command reports an error that names the place.

use super::{Dir, change};
use meno::model::gguf::Gguf;
use std::path::Path;

const TENSOR: &str = "model.layers.1.mlp.up_proj.weight";

/// Writes NaN over element 5 of a tensor in a safetensors file.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let at = 8 + header + metadata.info(TENSOR).unwrap().data_offsets.0 + 5 * 4;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(path, bytes).unwrap();
}

/// Sets the scale of the last block of a GGUF file's q8_0 tensor to infinity.
fn damage_gguf(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let file = Gguf::open(path).unwrap();
    let info = file.info("blk.1.ffn_up.weight").unwrap();
    let (dtype, whole) = (info.dtype.name(), info.bytes);
    assert_eq!(dtype, "Q8_0");
    // The tensors are stored in file order, each at a multiple of 32.
    let after = |name: &str| {
        let tensors = file.tensors();
        let at = tensors.iter().position(|t| t.name == name).unwrap();
        tensors[at..].iter().map(|t| t.bytes.next_multiple_of(32)).sum::<usize>()
    };
    let start = bytes.len().next_multiple_of(32) - after("blk.1.ffn_up.weight");
    let scale = start + whole - 34;
    drop(file);
    bytes[scale..scale + 2].copy_from_slice(&[0x00, 0x7C]);
    std::fs::write(path, bytes).unwrap();
}

fn verbs(dir: &Dir, model: &str, expected: &[&str]) {
    dir.write("text.txt", &"one two three four five six seven eight ".repeat(40));
    dir.write("q.jsonl", "{\"question\": \"one two\", \"answer\": \"3\"}\n");
    let sft = dir.sft(model, "tuned", "max_steps = 1");
    let task = format!("[model]\npath = {model:?}\n[task]\nname = \"q.jsonl\"\nprompt = \"plain\"\n");
    let run = "[run]\noutput_dir = \"rl\"\n";
    dir.write("rl.toml", &format!("{task}[train]\nmax_steps = 1\n{run}"));
    dir.write("sample.toml", &format!("{task}[sample]\nnum_questions = 1\n{run}"));
    let commands: [&[&str]; 11] = [
        &["generate", "-m", model, "-p", "x", "--raw"],
        &["chat", "-m", model, "-p", "x"],
        &["serve", "-m", model, "--port", "0"],
        &["eval", "-m", model, "--task", "q.jsonl", "--prompt", "plain"],
        &["perplexity", "-m", model, "-f", "text.txt", "--context", "32"],
        &["logits", "-m", model, "--tokens", "5,6,7", "--out", "logits.safetensors"],
        &["convert", model, "copy"],
        &["quantize", model, "--type", "q4_0", "--out", "small.gguf", "--allow-requantize"],
        &["sft", &sft, "--plain"],
        &["grpo", "rl.toml", "--plain"],
        &["sample", "sample.toml", "--plain"],
    ];
    for command in commands {
        dir.refused(command, expected);
    }
    for output in ["logits.safetensors", "copy/model.safetensors", "small.gguf", "tuned/model.safetensors"] {
        assert!(!dir.path(output).exists(), "{output} was left behind");
    }
}

#[test]
fn a_weight_that_is_nan() {
    let dir = Dir::new(true, |_| ());
    damage(&dir.path("model/model.safetensors"));
    verbs(&dir, "model", &["model.safetensors", TENSOR, "NaN or infinity at element 5"]);
}

#[test]
fn a_scale_of_a_gguf_file_that_is_infinite() {
    let dir = Dir::new(true, |_| ());
    dir.ok(&["convert", "model", "model.gguf", "--type", "q8_0"]);
    damage_gguf(&dir.path("model.gguf"));
    verbs(&dir, "model.gguf", &["model.gguf", "blk.1.ffn_up.weight", "NaN or infinity at element 2016"]);
}

#[test]
fn weights_that_are_finite_and_logits_that_are_not() {
    let dir = Dir::new(false, |model| {
        change(model, "lm_head.weight", |w| w.iter_mut().for_each(|w| *w *= 1e38));
    });
    dir.write("text.txt", &"one two three four five six seven eight ".repeat(40));
    dir.refused(&["generate", "-m", "model", "-p", "one", "--raw"], &["the logits at position", "are not finite"]);
    dir.refused(&["chat", "-m", "model", "-p", "one"], &["are not finite"]);
    dir.refused(
        &["perplexity", "-m", "model", "-f", "text.txt", "--context", "32", "--json"],
        &["window 1, token 16", "not finite"],
    );
    let logits = ["logits", "-m", "model", "--tokens", "5,6,7", "--out", "logits.safetensors"];
    dir.refused(&logits, &["the logits after token 0 are not finite"]);
    assert!(!dir.path("logits.safetensors").exists());
    // Types with fewer bits cannot represent such weights.
    dir.refused(&["convert", "model", "half", "--type", "f16"], &["lm_head.weight", "too large for float16"]);
    dir.refused(&["convert", "model", "half.gguf", "--type", "f16"], &["output.weight", "too large for F16"]);
    assert!(!dir.path("half.gguf").exists() && !dir.path("half/model.safetensors").exists());
}

#[test]
fn training_that_leaves_the_numbers_names_the_step_and_saves_nothing_broken() {
    let dir = Dir::new(true, |_| ());
    let recipe = dir.sft("model", "tuned", "max_steps = 50\nlearning_rate = 1e36\nwarmup_steps = 0");
    dir.refused(&["sft", &recipe, "--plain"], &["step ", "learning_rate"]);
    let stderr = String::from_utf8(dir.meno(&["sft", &recipe, "--plain", "--resume"]).stderr).unwrap();
    assert!(!stderr.contains("step 0:"), "{stderr}");
    assert!(!dir.path("tuned/model.safetensors").exists());
}
