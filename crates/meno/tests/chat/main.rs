//! `meno generate` and `meno chat` through the binary, on a small random network with a character tokenizer.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod pty;
#[cfg(unix)]
#[path = "../common/signals.rs"]
mod signals;
#[cfg(unix)]
mod terminal;

use meno_engine::Tokenizer;
use meno_engine::task_profile::{QuestionPattern, TaskProfile};
use meno_engine::tokenizer::CharacterLevel;
use meno_model::{Config, Dtype, Model};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const TEMPLATE: &str = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}\
                        {% if add_generation_prompt %}a:<think>{% endif %}";

fn model(dir: &Path, taught: bool) {
    model_of(dir, taught, 64);
}

/// The same model with another context length. A model with a long context does not end its answers: the row
/// of `<eos>` is zero, so another token is always more likely.
fn model_of(dir: &Path, taught: bool, context: usize) {
    let tokenizer = Tokenizer::character_level(&CharacterLevel {
        special: &["<pad>", "<eos>", "<unk>"],
        tags: &["<think>", "</think>"],
        alphabet: "0123456789+-= abcdefghijklmnopqrstuvwxyz:;",
        eos: "<eos>",
        pad: Some("<pad>"),
        unk: "<unk>",
        ..Default::default()
    })
    .unwrap();
    let config = json!({
        "model_type": "qwen2", "vocab_size": tokenizer.vocab_size(), "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": context,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true, "initializer_range": 0.3,
        "hidden_act": "silu"
    });
    let mut model = Model::random(Config::from_value("config.json", config).unwrap(), 4).unwrap();
    if context > 64 {
        let eos = tokenizer.eos()[0] as usize;
        let embedding = model.layout().find("model.embed_tokens.weight").unwrap();
        model.weights.update(embedding, &mut |w| w[32 * eos..32 * (eos + 1)].fill(0.0)).unwrap();
    }
    model.save(dir, Dtype::F32).unwrap();
    tokenizer.save(dir, Some(TEMPLATE)).unwrap();
    if taught {
        let pattern =
            QuestionPattern { pattern: r"(\d+\+\d+)".into(), ignore: Some(r"[\s=?]".into()), prompt: "{1}=".into() };
        TaskProfile {
            description: "Sums.".into(),
            examples: vec!["1 + 2".into()],
            patterns: vec![pattern],
            fallback: "I only know sums.".into(),
        }
        .save(dir)
        .unwrap();
    }
}

fn meno(args: &[&str], dir: &Path, input: &str) -> Output {
    let mut command = signals::meno();
    command.arg(args[0]).arg("-m").arg(dir).args(&args[1..]).args(["--threads", "1"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Standard output of a command that succeeds.
#[track_caller]
fn ok(args: &[&str], dir: &Path, input: &str) -> String {
    let output = meno(args, dir, input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(args: &[&str], dir: &Path, expected: &str) {
    let output = meno(args, dir, "");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(expected), "{stderr}");
}

#[test]
fn generate_answers_in_json_and_the_same_for_the_same_seed() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), false);
    let run = |args: &[&str]| -> Vec<Value> {
        let args: Vec<&str> = ["generate", "--json", "-p", "1+2="].iter().chain(args).copied().collect();
        ok(&args, dir.path(), "").lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    };
    let answers = run(&["-n", "5", "--max-tokens", "12", "--temperature", "1", "--top-p", "1", "--seed", "3"]);
    assert_eq!(answers.len(), 5);
    for (i, a) in answers.iter().enumerate() {
        let tokens = a["tokens"].as_array().unwrap();
        assert_eq!(a["index"], i);
        assert!(!tokens.is_empty() && tokens.len() <= 12);
        assert_eq!(tokens.len(), a["logprobs"].as_array().unwrap().len());
        assert!(a["logprobs"].as_array().unwrap().iter().all(|l| l.as_f64().unwrap() <= 0.0));
        assert!(a["finish_reason"] == "length" && tokens.len() == 12 || a["finish_reason"] == "stop");
        assert_eq!(a["prompt_tokens"], 10); // u:1+2=;a:<think>, where the tag is one token
    }
    assert!(answers.iter().any(|a| a["tokens"] != answers[0]["tokens"]), "samples differ");
    let again = run(&["-n", "5", "--max-tokens", "12", "--temperature", "1", "--top-p", "1", "--seed", "3"]);
    assert!(answers.iter().zip(&again).all(|(a, b)| a["tokens"] == b["tokens"] && a["logprobs"] == b["logprobs"]));
    let raw = run(&["--raw", "--temperature", "0", "--max-tokens", "3"]);
    assert_eq!(raw[0]["prompt_tokens"], 4);
}

#[test]
fn generate_stops_at_a_text_and_prints_plainly() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), false);
    let base = ["generate", "--raw", "-p", "1+2=", "--temperature", "0", "--max-tokens", "20"];
    let whole = ok(&base, dir.path(), "");
    let first = whole.chars().nth(2).unwrap().to_string();
    let stopped = ok(&[&base[..], &["--stop", &first]].concat(), dir.path(), "");
    assert_eq!(stopped.trim_end_matches('\n'), whole.split_once(&first).unwrap().0.trim_end_matches('\n'));
    let from_stdin: Vec<&str> = base.iter().map(|a| if *a == "1+2=" { "-" } else { a }).collect();
    assert_eq!(ok(&from_stdin, dir.path(), "1+2="), whole);
}

#[test]
fn what_cannot_be_generated_is_said() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), false);
    let long = "1+".repeat(40);
    refused(&["generate", "-p", &long], dir.path(), "86 tokens, but the context holds 64");
    refused(&["generate", "-p", "1", "--temperature=-1"], dir.path(), "expected a number, 0 or more");
    refused(&["generate", "-p", "1", "--context", "100"], dir.path(), "at most 64");
    refused(&["generate", "-p", "1"], &dir.path().join("no"), "No such file");
    std::fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    refused(&["chat", "-p", "1"], dir.path(), "tokenizer.json");
}

#[test]
fn what_is_piped_in_is_one_question() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), false);
    let ask = |args: &[&str], input: &str| {
        ok(&[&["chat", "--seed", "1", "--max-tokens", "5", "--think"][..], args].concat(), dir.path(), input)
    };
    let both = ask(&["-p", "1+1\n\n/exit\n2"], "");
    assert_eq!(ask(&[], "1+1\n\n/exit\n2\n"), both, "lines are neither separate questions nor commands");
    assert_eq!(ask(&["-p", "1+1"], "/exit\n2\n"), both, "the prompt, then what is piped in");
    assert_eq!(ask(&["-p", "-"], "1+1\n\n/exit\n2"), both);
    assert_ne!(ask(&["-p", "1+1"], ""), both);
    refused(&["chat"], dir.path(), "standard input is empty");
    refused(&["chat", "-p", "-"], dir.path(), "standard input is empty");
    refused(&["chat", "-p", &"1+1".repeat(30)], dir.path(), "the context holds 64");
}

/// Sends a signal.
fn kill(signal: &str, id: u32) {
    assert!(Command::new("kill").args([signal, &id.to_string()]).status().unwrap().success());
}

#[test]
fn what_was_written_before_ctrl_c_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    model_of(dir.path(), false, 100_000);
    for (verb, signal, code) in [("generate", "-INT", 130), ("generate", "-TERM", 143), ("chat", "-INT", 130)] {
        let mut command = signals::meno();
        command.args([verb, "--context", "100000", "--threads", "1", "--temperature", "0", "-p", "1+1", "-m"]);
        command.arg(dir.path()).args(if verb == "chat" { &["--think"][..] } else { &[] });
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 20];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        kill(signal, child.id());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{verb}: {stderr}");
        assert!(output.stdout.ends_with(b"\n") && first.starts_with(b"<think>"), "{verb}");
    }
}

#[test]
fn a_model_of_one_task_says_what_it_was_taught() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), true);
    let out = ok(&["chat", "-p", "who are you?"], dir.path(), "");
    assert_eq!(out, "I only know sums.\n  1 + 2\n");
    let args = ["--temperature", "0", "--max-tokens", "6"];
    let sum = ok(&[&["chat", "--think", "-p", "1 + 2 = ?"][..], &args].concat(), dir.path(), "");
    let plain = ok(&[&["generate", "--raw", "-p", "1+2="][..], &args].concat(), dir.path(), "");
    let joined = |s: &str| s.split_whitespace().collect::<String>();
    let note = "(thetextabovewasstillpartofthethought)";
    assert_eq!(joined(&sum), joined(&plain) + note, "six tokens do not end the thought");
}
