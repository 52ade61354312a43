//! Runs with bad models, templates, prompts or data, with a full disk, and with Ctrl-C.

use super::{CONFIG, Dir, config_with, fails, letters, limited, meno, refused};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

/// Saves a random network with a character tokenizer and this chat template; returns its directory.
pub(super) fn model(dir: &Dir, template: &str) -> String {
    let path = dir.path("model");
    letters::save_model(Path::new(&path), template);
    path
}

pub(super) const TEMPLATE: &str = "{{ messages[0].content }}";

#[test]
fn a_good_model_answers() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    let output = meno(&["generate", "-m", &model, "--prompt", "ab", "--max-tokens", "4"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn models_whose_parts_do_not_fit() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    let refuse = |expected: &[&str]| refused(&["generate", "-m", &model, "--prompt", "a"], expected);
    let weights = std::fs::read(dir.path("model/model.safetensors")).unwrap();
    dir.write("model/model.safetensors", &weights[..weights.len() - 100]);
    refuse(&["model.safetensors", "cut short"]);
    dir.write("model/model.safetensors", &weights[..4]);
    refuse(&["model.safetensors"]);
    dir.write("model/model.safetensors", [0xff; 100]);
    refuse(&["model.safetensors"]);
    dir.write("model/model.safetensors", &weights);
    // The config requires other tensors than the file contains.
    dir.write("model/config.json", config_with("num_hidden_layers", 3.into()));
    refuse(&["model.layers.2.", "missing"]);
    dir.write("model/config.json", config_with("intermediate_size", 25.into()));
    refuse(&["model.layers.0.mlp.", "expected [25, 16]"]);
    dir.write("model/config.json", config_with("tie_word_embeddings", false.into()));
    refuse(&["`lm_head.weight` is missing"]);
    dir.write("model/config.json", config_with("hidden_size", serde_json::Value::Null));
    refuse(&["config.json", "`hidden_size`"]);
    // Only the config asks for terabytes.
    let mut huge: serde_json::Value = serde_json::from_str(CONFIG).unwrap();
    huge["intermediate_size"] = (1 << 22).into();
    huge["num_hidden_layers"] = 1000.into();
    dir.write("model/config.json", huge.to_string());
    refuse(&["model"]);
    dir.write("model/config.json", CONFIG);
    dir.write("model/tokenizer.json", "{}");
    refuse(&["tokenizer.json"]);
    refused(&["generate", "-m", &dir.path("nothing"), "--prompt", "a"], &["nothing"]);
    refused(&["logits", "-m", &dir.path("nothing"), "--tokens", "1", "--out", "x"], &["nothing", "No such file"]);
}

#[test]
fn templates_that_raise_or_loop_or_are_broken() {
    for (template, expected) in [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "chat template"),
        ("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "chat template"),
        ("{% for x in 'abc' %}", "chat template"),
        ("{{ messages[0].content.nothing.more }}", "chat template"),
    ] {
        let dir = Dir::new();
        refused(&["generate", "-m", &model(&dir, template), "--chat", "--prompt", "a"], &[expected]);
    }
}

#[test]
fn prompts_longer_than_the_context() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    let long = "a".repeat(70);
    refused(&["generate", "-m", &model, "--prompt", &long], &["70 tokens", "context holds 64"]);
    let ids = vec!["1"; 65].join(",");
    refused(&["logits", "-m", &model, "--tokens", &ids, "--out", &dir.path("x")], &["65 tokens", "context of 64"]);
    refused(&["logits", "-m", &model, "--tokens", "32", "--out", &dir.path("x")], &["32 is not below", "size 32"]);
    refused(&["generate", "-m", &model, "--context", "100", "--prompt", "a"], &["--context 100", "64"]);
}

/// Writes a fine-tuning recipe for `data`; returns its path.
pub(super) fn recipe(dir: &Dir, model: &str, data: &str, rest: &str) -> String {
    let (data, out) = (dir.write("data.jsonl", data), dir.path("run"));
    dir.write(
        "sft.toml",
        format!(
            "[model]\npath = {model:?}\n[data]\nfiles = [{data:?}]\n[run]\noutput_dir = {out:?}\nsave_steps = 5\n\
             [train]\nmax_steps = 100000\nmax_tokens = 64\n{rest}"
        ),
    )
}

pub(super) const GOOD: &str = "{\"prompt\": \"ab\", \"completion\": \"cd\"}\n";

#[test]
fn datasets_that_are_not_json() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    for (line, expected) in [
        ("not json", "data.jsonl:3: not JSON"),
        ("{\"prompt\": \"ab\"", "data.jsonl:3: not JSON"),
        ("{\"prompt\": 1, \"completion\": \"b\"}", "data.jsonl:3"),
        ("{\"question\": \"ab\"}", "data.jsonl:3"),
        ("[]", "data.jsonl:3"),
    ] {
        let recipe = recipe(&dir, &model, &format!("{GOOD}{GOOD}{line}\n{GOOD}"), "");
        refused(&["sft", &recipe, "--plain"], &[expected]);
    }
    let absent = recipe(&dir, &model, GOOD, "");
    std::fs::remove_file(dir.path("data.jsonl")).unwrap();
    refused(&["sft", &absent, "--plain"], &["data.jsonl", "No such file"]);
}

#[test]
fn recipes_with_unknown_keys() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    refused(&["sft", &recipe(&dir, &model, GOOD, "learning_rat = 1.0\n")], &["sft.toml", "learning_rat"]);
    refused(&["sft", &recipe(&dir, &model, GOOD, "seed = \"x\"\n")], &["sft.toml", "seed"]);
    refused(&["sft", &recipe(&dir, &model, GOOD, "seed = \n")], &["sft.toml"]);
    let good = recipe(&dir, &model, GOOD, "");
    refused(&["sft", &good, "--set", "train.sed=1"], &["sed"]);
    refused(&["sft", &good, "--set", "nonsense"], &["KEY=VALUE"]);
}

/// Names in a directory, sorted.
fn names(path: &str) -> Vec<String> {
    let entries = std::fs::read_dir(path).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_full_disk_loses_nothing() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    // The old file stays, and no part of a new one.
    let out = dir.write("logits/old.safetensors", "old");
    let logits = ["logits", "-m", &model, "--tokens", "1,2,3", "--out", &out];
    refused(&logits, &["old.safetensors: already exists", "--force"]);
    fails(&mut limited(&[&logits[..], &["--force"]].concat(), 100), &["cannot write", "old"]);
    assert_eq!(names(&dir.path("logits")), ["old.safetensors"]);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "old");
    // A run whose checkpoint does not fit on the disk, although the small files do.
    let recipe = recipe(&dir, &model, GOOD, "");
    fails(&mut limited(&["sft", &recipe, "--plain"], 8000), &["run/", "File too large"]);
    let left = names(&dir.path("run"));
    assert!(!left.iter().any(|n| n.starts_with("checkpoint-")), "a partial checkpoint is left: {left:?}");
}

#[test]
fn a_run_writes_over_nothing_but_a_run() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    let good = recipe(&dir, &model, GOOD, "");
    let weights = std::fs::read(dir.path("model/model.safetensors")).unwrap();
    // The output is the model itself, or the directory of the recipe.
    refused(&["sft", &good, "-o", &model], &["model: is the input"]);
    refused(&["sft", &good, "-o", &dir.path("")], &["holds the input"]);
    assert_eq!(std::fs::read(dir.path("model/model.safetensors")).unwrap(), weights);
    // Files that no run wrote.
    let notes = dir.write("notes/metrics.jsonl", "mine");
    let notes_dir = dir.path("notes");
    for verb in ["sft", "sample"] {
        let recipe = match verb {
            "sft" => good.clone(),
            _ => dir.write("sample.toml", format!("[model]\npath = {model:?}\n[task]\nname = \"arithmetic\"\n")),
        };
        refused(&[verb, &recipe, "-o", &notes_dir], &["notes: is not empty and holds no run"]);
        refused(&[verb, &recipe, "-o", &notes], &["metrics.jsonl: is a file; expected a directory"]);
    }
    refused(&["replicate", "--preset", "smoke", "-o", &notes_dir], &["notes: is not empty and holds no run"]);
    refused(&["man", "-o", &notes], &["metrics.jsonl: is a file; expected a directory"]);
    dir.write("pages/meno-chat.1", "mine");
    refused(&["man", "-o", &dir.path("pages")], &["meno-chat.1: already exists; use --force"]);
    assert_eq!(
        (names(&notes_dir), std::fs::read_to_string(&notes).unwrap()),
        (vec!["metrics.jsonl".into()], "mine".into())
    );
}

#[test]
fn values_are_refused_by_their_flags() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    let (chat, serve) = (["chat", &model, "-p", "hi"], ["serve", &model, "--port", "0"]);
    for (verb, flag, value, expected) in [
        (&chat, "--top-p", "2", "a number above 0 and at most 1"),
        (&chat, "--min-p", "5", "a number from 0 to 1"),
        (&chat, "--temperature", "nan", "0 or more"),
        (&chat, "--temperature", "-1", "0 or more"),
        (&chat, "--top-k", "-1", "a whole number, 0 or more"),
        (&chat, "--threads", "-1", "from 0 (all cores)"),
        (&chat, "--max-tokens", "0", "1 or more"),
        (&chat, "--seed", "-1", "'-1'"),
        (&serve, "--api-key", "", "a value is required"),
        (&serve, "--name", "", "a value is required"),
        (&serve, "--timeout", "0", "not in 1.."),
        (&serve, "--cors-origin", "foo", "https://example.org"),
    ] {
        let output = meno(&[&verb[..], &[flag, value]].concat()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(flag) && stderr.contains(expected) && !stderr.contains("-- -1"), "{stderr}");
    }
    refused(&["serve", &model, "--host", "name.invalid"], &["name.invalid", "the host name has no address"]);
    let good = recipe(&dir, &model, GOOD, "");
    let output = meno(&["sft", &good, "--dry-run", "--set", "train.max_tokens=1k"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("max_tokens = 1024"));
}

/// Waits for a line of the child's output that contains `text`.
fn wait_for(lines: &mut impl Iterator<Item = std::io::Result<String>>, text: &str) {
    let mut seen = String::new();
    while let Some(Ok(line)) = lines.next() {
        if line.contains(text) {
            return;
        }
        seen += &(line + "\n");
    }
    panic!("the run ended without {text:?}: {seen}");
}

#[test]
fn ctrl_c_stops_cleanly_and_the_run_goes_on() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    let recipe = recipe(&dir, &model, GOOD, "");
    let mut child = meno(&["sft", &recipe, "--plain"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Look for any checkpoint: older ones are replaced by newer ones faster than this loop checks.
    while !names(&dir.path("run")).iter().any(|n| n.starts_with("checkpoint-")) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // SAFETY: sends a signal to a child that has not been waited for, so the id is still its own.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    wait_for(&mut lines, "continue with: meno sft");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let saved = names(&dir.path("run"));
    assert!(saved.iter().any(|n| n.starts_with("checkpoint-")), "{saved:?}");
    assert!(!saved.iter().any(|n| n.contains("tmp")), "{saved:?}");
    // The run cannot be restarted from the beginning by mistake …
    refused(&["sft", &recipe, "--plain"], &["--resume"]);
    // … but it can continue from its last step.
    let (_, newest) =
        saved.iter().filter_map(|n| n.strip_prefix("checkpoint-")?.parse().ok().map(|s: usize| (s, n))).max().unwrap();
    let step: usize = newest["checkpoint-".len()..].parse().unwrap();
    let steps = format!("train.max_steps={}", step + 3);
    let output = meno(&["sft", &recipe, "--plain", "--resume", "--set", &steps]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains(&format!("done: {} steps", step + 3)), "{stderr}");
}
