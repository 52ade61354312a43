//! Training commands: settings that cannot work, data in other formats, runs that cannot continue, and what a
//! failure leaves behind.

use super::runs::{GOOD, TEMPLATE, model, recipe};
use super::{Dir, config_with, fails, meno, refused};
use meno::model::{Config, Dtype, Model};
use std::path::Path;

/// Runs the command to its end and returns its output.
#[track_caller]
fn done(args: &[&str]) -> String {
    let output = meno(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {stderr}");
    stderr
}

/// The arguments of a training command with these values changed, plus more arguments.
fn args<'a>(verb: &'a str, recipe: &'a str, sets: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![verb, recipe, "--plain"];
    for set in sets {
        args.extend(["--set", *set]);
    }
    args.extend(more.iter().copied());
    args
}

/// A recipe that contains only a model.
fn bare(dir: &Dir, model: &str) -> String {
    dir.write("bare.toml", format!("[model]\npath = {model:?}\n[run]\noutput_dir = {:?}\n", dir.path("run")))
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    let bare = bare(&dir, &model);
    let train: &[(&str, &str)] = &[
        ("train.learning_rate=-1e-3", "expected a finite number, 0 or above"),
        ("train.learning_rate=nan", "expected a finite number"),
        ("train.learning_rate=inf", "expected a finite number"),
        ("train.min_lr_rate=1.1", "`train.min_lr_rate` = 1.1: expected 0 to 1"),
        ("train.min_lr_rate=-0.1", "expected 0 to 1"),
        ("train.decay_start=2", "expected 0 to 1"),
        ("train.decay_end=0.5", "`train.decay_start` = 0.8: expected at most `train.decay_end` = 0.5"),
        ("train.adam_beta1=1", "expected a value from 0 to below 1"),
        ("train.adam_beta2=-0.5", "expected a value from 0 to below 1"),
        ("train.adam_epsilon=-1e-8", "expected a finite number above 0"),
        ("train.muon_momentum=1.5", "expected a value from 0 to below 1"),
        ("train.weight_decay=-0.1", "expected a finite number, 0 or above"),
        ("train.max_grad_norm=-1", "expected a finite number, 0 or above"),
        ("train.max_tokens=0", "expected 1 or above"),
    ];
    let sft = [
        ("sft.train_batch_size=0", "expected 1 or above"),
        ("sft.num_train_epochs=-1", "expected a finite number, 0 or above"),
        ("sft.mtp_loss_weight=-0.1", "expected a finite number, 0 or above"),
        ("sft.bias_update_speed=-1", "expected a finite number, 0 or above"),
        ("sft.max_length=0", "expected 1 or above"),
        ("data.files=[{path = \"x\", weight = nan}]", "`data.files.weight` = NaN: expected a finite number"),
        ("data.files=[{path = \"x\", weight = -1.0}]", "`data.files.weight` = -1"),
        ("data.files=[{path = \"x\", wieght = 1.0}]", "did you mean `weight`"),
    ];
    let pretrain = [
        ("pretrain.tokens_per_step=0", "expected 1 or above"),
        ("pretrain.mtp_loss_weight=-1", "expected a finite number, 0 or above"),
        ("pretrain.bias_update_until=1.5", "expected 0 to 1"),
    ];
    let grpo = [
        ("grpo.epsilon=-0.2", "expected a finite number, 0 or above"),
        ("grpo.epsilon_high=-0.2", "expected a finite number, 0 or above"),
        ("grpo.beta=-0.001", "expected a finite number, 0 or above"),
        ("grpo.beta=nan", "expected a finite number"),
        ("grpo.reward_weights=[1.0, nan]", "`grpo.reward_weights` = NaN: expected a finite number"),
        ("grpo.temperature=0", "expected a finite number above 0"),
        ("grpo.top_p=0", "expected a probability above 0, at most 1"),
        ("grpo.min_p=1.5", "expected 0 to 1"),
        ("grpo.max_sequences=0", "expected 1 or above"),
        ("grpo.logprob_gap_tolerance=-1", "expected a finite number, 0 or above"),
    ];
    let sample = [
        ("sample.temperature=-1", "expected a finite number, 0 or above"),
        ("sample.top_p=1.5", "expected a probability above 0, at most 1"),
        ("sample.num_questions=0", "expected 1 or above"),
        ("sample.keep_per_question=0", "expected 1 or above"),
        ("sample.min_language_consistency=2", "expected 0 to 1"),
        ("sample.max_repetition=-1", "expected 0 to 1"),
        ("sample.min_completion_length=999", "expected at most `sample.max_completion_length` = 256"),
    ];
    let eval = [
        ("eval.temperature=-1", "expected a finite number, 0 or above"),
        ("eval.top_p=0", "expected a probability above 0, at most 1"),
        ("eval.num_samples=0", "expected 1 or above"),
    ];
    let verbs: [(&str, &[(&str, &str)]); 8] = [
        ("sft", train),
        ("grpo", &train[..3]),
        ("sft", &sft),
        ("pretrain", &pretrain),
        ("grpo", &grpo),
        ("sample", &sample),
        ("distill", &sample[..1]),
        ("eval", &eval),
    ];
    for (verb, settings) in verbs {
        for (set, expected) in settings {
            let key = set.split('=').next().unwrap();
            let key = if set.starts_with("data") || set.starts_with("train.decay_end") { "" } else { key };
            // A recipe for eval has no [run].
            let from: &[&str] = if verb == "eval" { &["-m", &model] } else { &[&bare] };
            let from = [&[verb][..], from, &["--set", set, "--dry-run"]].concat();
            refused(&from, &[key, expected]);
        }
    }
    assert!(!Path::new(&dir.path("run")).exists());
}

#[test]
fn a_run_goes_on_with_the_same_settings_and_data_only() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    let recipe = recipe(&dir, &model, &GOOD.repeat(3), "");
    done(&args("sft", &recipe, &["train.max_steps=1", "sft.train_batch_size=2"], &[]));
    let before = std::fs::read_to_string(dir.path("run/recipe.toml")).unwrap();
    let other = ["train.max_steps=2", "sft.train_batch_size=3", "train.learning_rate=0.5"];
    let expected = ["sft.train_batch_size: 2 -> 3", "train.learning_rate: 0.0003", "-> 0.5", "model.path = "];
    refused(&args("sft", &recipe, &other, &["--resume"]), &expected);
    assert_eq!(std::fs::read_to_string(dir.path("run/recipe.toml")).unwrap(), before);
    // Location, length, intervals and number of threads may change.
    let harmless = ["train.max_steps=2", "sft.train_batch_size=2", "run.save_steps=1", "run.threads=1"];
    assert!(done(&args("sft", &recipe, &harmless, &["--resume"])).contains("done: 2 steps"));
    // The contents of the files identify the data, not their location.
    std::fs::rename(dir.path("data.jsonl"), dir.path("moved.jsonl")).unwrap();
    let moved = format!("data.files=[{:?}]", dir.path("moved.jsonl"));
    let third = ["train.max_steps=3", "sft.train_batch_size=2", moved.as_str()];
    assert!(done(&args("sft", &recipe, &third, &["--resume"])).contains("done: 3 steps"));
    dir.write("moved.jsonl", GOOD.repeat(2) + "{\"prompt\": \"ab\", \"completion\": \"ce\"}\n");
    let fourth = ["train.max_steps=4", "sft.train_batch_size=2", moved.as_str()];
    refused(&args("sft", &recipe, &fourth, &["--resume"]), &["moved.jsonl: ", "sha256"]);
    // A checkpoint of an older version does not record this, and has no checksums.
    std::fs::remove_file(dir.path("run/checkpoint-3/checksums.json")).unwrap();
    dir.write("moved.jsonl", GOOD.repeat(3));
    let state = dir.path("run/checkpoint-3/training_state.json");
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
    assert!(value.as_object_mut().unwrap().remove("begun").is_some());
    std::fs::write(&state, value.to_string()).unwrap();
    let other = ["train.max_steps=4", "sft.train_batch_size=3", moved.as_str()];
    let said = done(&args("sft", &recipe, &other, &["--resume"]));
    assert!(said.contains("note: ") && said.contains("does not record the settings") && said.contains("4 steps"));
}

#[test]
fn a_command_that_fails_leaves_nothing_behind() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    let gone = |args: &[&str], expected: &[&str]| {
        refused(args, expected);
        assert!(!Path::new(&dir.path("run")).exists(), "{args:?}");
    };
    let long = format!("{{\"prompt\": \"ab\", \"completion\": \"{}\"}}\n", "cd ".repeat(40));
    let too_long = recipe(&dir, &model, &long, "");
    gone(&["sft", &too_long, "--plain"], &["1 of 1 examples", "data.jsonl:1 (123 tokens)", "train.max_tokens = 64"]);
    let out = dir.path("run/deep/er");
    let nested = format!("run.output_dir={out:?}");
    let bare = bare(&dir, &model);
    // The run detects only after its start that the task's prompts are too long.
    let task = [nested.as_str(), "task.name=arithmetic", "task.prompt=plain"];
    let grpo = [&task[..], &["grpo.max_prompt_length=1", "grpo.max_completion_length=8"]].concat();
    gone(&args("grpo", &bare, &grpo, &[]), &["`grpo.max_prompt_length` = 1"]);
    let missing = [&task[..], &["model.tokenizer=\"no-such\""]].concat();
    gone(&args("sample", &bare, &missing, &[]), &["no-such"]);
    let prompts = [&task[..], &["sample.max_prompt_length=1", "sample.max_completion_length=8"]].concat();
    gone(&args("sample", &bare, &prompts, &[]), &["tokens"]);
}

#[test]
fn a_dry_run_reads_the_data() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    let recipe = recipe(&dir, &model, &format!("{GOOD}{{\"prompt\": \"ab\"}}\n"), "");
    refused(&args("sft", &recipe, &[], &["--dry-run"]), &["data.jsonl:2"]);
    let missing = format!("data.files=[{:?}]", dir.path("no-such.jsonl"));
    refused(&args("sft", &recipe, &[&missing], &["--dry-run"]), &["no-such.jsonl"]);
}

#[test]
fn training_that_leaves_the_numbers_is_an_error_and_saves_nothing() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    let recipe = recipe(&dir, &model, &GOOD.repeat(4), "");
    for steps in ["train.max_steps=1", "train.max_steps=5"] {
        let wild = ["train.learning_rate=1e38", "train.max_grad_norm=0", "train.warmup_steps=0", steps];
        refused(&args("sft", &recipe, &wild, &[]), &["lower `train.learning_rate`"]);
        assert!(!Path::new(&dir.path("run")).exists(), "no model, no figures, no event file");
    }
}

/// A tokenizer with more tokens than the network has rows.
#[test]
fn tokens_without_a_row_are_refused() {
    let dir = Dir::new();
    let path = model(&dir, TEMPLATE);
    let config = serde_json::from_str(&config_with("vocab_size", 20.into())).unwrap();
    let small = Model::random(Config::from_value("CONFIG", config).unwrap(), 1).unwrap();
    small.save(Path::new(&path), Dtype::F32).unwrap();
    let expected = &["is outside the vocabulary of the network, which has 20 rows"];
    let text = dir.write("text.txt", "zebra ".repeat(40));
    refused(&["perplexity", &path, "-f", &text, "--context", "8"], expected);
    let recipe = recipe(&dir, &path, "{\"prompt\": \"z\", \"completion\": \"y\"}\n", "");
    refused(&args("sft", &recipe, &[], &[]), expected);
}

#[test]
fn long_examples_and_masked_ones_are_named() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    let long = |n: usize| format!("{{\"prompt\": \"ab\", \"completion\": \"{}\"}}\n", "cd ".repeat(n));
    let recipe = recipe(&dir, &model, &format!("{GOOD}{}{GOOD}{}", long(30), long(40)), "");
    let said = done(&["sft", &recipe, "--plain", "--set", "train.max_steps=1"]);
    let expected = "note: 2 of 4 examples have more than train.max_tokens = 64 tokens and are left out: ";
    assert!(said.contains(expected) && said.contains("data.jsonl:2 (93 tokens)"), "{said}");
    assert!(said.contains("data.jsonl:4 (123 tokens); the longest has 123. Raise train.max_tokens"), "{said}");
    refused(&["sft", &recipe, "--plain", "--set", "sft.max_length=65", "--resume"], &["sft.max_length"]);
}

#[test]
fn data_in_other_forms_is_read() {
    let dir = Dir::new();
    let model = model(&dir, TEMPLATE);
    let first = recipe(&dir, &model, GOOD, "");
    let records = r#"[{"instruction": "ab", "input": "", "output": "cd"}, {"question": "ab", "answer": "cd"}]"#;
    let csv = "prompt,completion\nab,cd\nab,\"cd, e\"\n";
    let files = format!(
        "data.files=[{{path = {:?}, weight = 2.0}}, {:?}]",
        dir.write("a.json", format!("\u{feff}{records}")),
        dir.write("b.csv", csv)
    );
    let said = done(&["sft", &first, "--plain", "--set", "train.max_steps=1", "--set", &files]);
    assert!(said.contains("done: 1 steps"), "{said}");
    let bad = dir.write("c.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"a\", \"contents\": \"b\"}]}\n");
    let files = format!("data.files=[{bad:?}]");
    let out = format!("run.output_dir={:?}", dir.path("other"));
    refused(
        &["sft", &first, "--plain", "--set", &files, "--set", &out],
        &["c.jsonl:1: `messages[0]`: unknown key `contents`"],
    );
    assert!(!Path::new(&dir.path("other")).exists());
}

/// A launcher of MPI starts several processes. Each of them would do the whole work, so the program that has no MPI says
/// so, once.
#[cfg(not(feature = "mpi"))]
#[test]
fn several_processes_without_mpi() {
    let start = |rank: &str| {
        let mut command = meno(&["pretrain", "recipe.toml"]);
        for (name, value) in [("SIZE", "2"), ("LOCAL_SIZE", "2"), ("LOCAL_RANK", rank)] {
            command.env(format!("OMPI_COMM_WORLD_{name}"), value);
        }
        command
    };
    fails(&mut start("0"), &["2 processes were started", "built without MPI", "--features mpi"]);
    let second = start("1").output().unwrap();
    assert_eq!((second.status.code(), second.stderr.len()), (Some(1), 0));
}
