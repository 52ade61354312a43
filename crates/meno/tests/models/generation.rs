//! `generation_config.json`: written with every checkpoint, and read as the default.

use super::{Dir, tokens};
use serde_json::json;

#[test]
fn every_checkpoint_has_one() {
    let dir = Dir::new(true, |_| ());
    let bare = json!({"bos_token_id": 0, "eos_token_id": 1});
    let recipe = dir.sft("model", "a", "max_steps = 1");
    dir.ok(&["sft", &recipe, "--plain"]);
    assert_eq!(dir.json("a/generation_config.json"), bare);
    assert_eq!(dir.json("a/checkpoint-1/generation_config.json"), bare);
    dir.ok(&["convert", "model", "copy", "--type", "f32"]);
    assert_eq!(dir.json("copy/generation_config.json"), bare);

    // All settings of the source, even unknown ones, survive training and conversion.
    let own = r#"{"eos_token_id": [1, 691], "do_sample": true, "temperature": 0.7, "top_p": 0.8, "top_k": 20,
                  "repetition_penalty": 1.05, "something_else": 3}"#;
    dir.write("model/generation_config.json", own);
    let recipe = dir.sft("model", "b", "max_steps = 1");
    dir.ok(&["sft", &recipe, "--plain"]);
    dir.ok(&["convert", "model", "copy", "--type", "f32", "--force"]);
    for name in ["b", "b/checkpoint-1", "copy"] {
        let text = std::fs::read_to_string(dir.path(name).join("generation_config.json")).unwrap();
        assert_eq!(text, own, "{name}");
    }
    // GGUF has keys for the sampling settings.
    dir.ok(&["convert", "model", "model.gguf", "--type", "f32"]);
    dir.ok(&["convert", "model.gguf", "back", "--type", "f32"]);
    let recipe = dir.sft("model.gguf", "c", "max_steps = 1");
    dir.ok(&["sft", &recipe, "--plain"]);
    for name in ["back", "c", "c/checkpoint-1"] {
        let found = dir.json(&format!("{name}/generation_config.json"));
        for (key, value) in [
            ("do_sample", json!(true)),
            ("temperature", json!(0.7)),
            ("top_p", json!(0.8)),
            ("top_k", json!(20)),
            ("repetition_penalty", json!(1.05)),
            ("bos_token_id", json!(0)),
        ] {
            assert_eq!(found[key], value, "{name}: {found}");
        }
    }
}

#[test]
fn it_is_the_default_of_what_is_not_given() {
    let dir = Dir::new(true, |_| ());
    let run = |args: &[&str]| tokens(&dir.generate("model", &[&["--max-tokens", "30"], args].concat())[0]);
    let (greedy, hot) = (run(&["--temperature", "0"]), run(&["--temperature", "2", "--top-p", "1"]));
    assert_ne!(greedy, hot);
    dir.write("model/generation_config.json", r#"{"eos_token_id": 1, "do_sample": false}"#);
    assert_eq!(run(&[]), greedy);
    dir.write("model/generation_config.json", r#"{"eos_token_id": 1, "temperature": 2.0, "top_p": 1.0}"#);
    assert_eq!(run(&[]), hot);
    assert_eq!(run(&["--temperature", "0"]), greedy);
    dir.write("model/generation_config.json", r#"{"eos_token_id": 1, "temperature": 2.0, "top_k": 1}"#);
    assert_eq!(run(&[]), greedy);
    dir.write("model/generation_config.json", r#"{"temperature": "hot"}"#);
    dir.refused(
        &["generate", "-m", "model", "-p", "x", "--raw"],
        &["generation_config.json", "`temperature`", "\"hot\""],
    );
}
