//! GRPO through the binary: external rewards, held-out questions, the best checkpoint, warnings.

#![allow(clippy::unwrap_used)] // a test may fail by panicking
#![cfg(unix)]

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Half of the documents are right, half are wrong.
const RIGHT: &str = "2+3=?<think>3 and 2</think><answer>5</answer>";
const WRONG: &str = "2+3=?<think>hm</think><answer>6</answer>";

/// A directory with a small network that answers its only question correctly half of the time.
struct Base(tempfile::TempDir);

static BASE: LazyLock<Base> = LazyLock::new(|| {
    let base = Base(tempfile::tempdir().unwrap());
    let line = |text: &str| serde_json::json!({ "text": text }).to_string();
    let corpus: Vec<String> = (0..64).map(|i| line(if i % 2 == 0 { RIGHT } else { WRONG })).collect();
    std::fs::write(base.path("corpus.jsonl"), corpus.join("\n")).unwrap();
    for name in ["q.jsonl", "held-out.jsonl"] {
        std::fs::write(base.path(name), r#"{"question":"2+3=?","answer":"5"}"#).unwrap();
    }
    let files = format!("data.files=[{:?}]", base.path("corpus.jsonl").display().to_string());
    let sets = ["train.max_steps=60", "train.max_tokens=256", "pretrain.tokens_per_step=512", &files];
    let output = meno("pretrain", "pretrain.toml", &base.path("base"), &sets);
    assert!(output.status.success(), "{}", stderr(&output));
    base
});

impl Base {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn meno(verb: &str, recipe: &str, out: &Path, sets: &[&str]) -> Output {
    meno_with(verb, recipe, out, sets, &[])
}

fn meno_with(verb: &str, recipe: &str, out: &Path, sets: &[&str], more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meno"));
    command.arg(verb).arg(root().join("recipes/tiny").join(recipe)).arg("--plain").args(more).current_dir(root());
    let out = format!("run.output_dir={:?}", out.display().to_string());
    sets.iter().copied().chain([out.as_str()]).for_each(|set| {
        command.args(["--set", set]);
    });
    command.stdin(Stdio::null()).output().unwrap()
}

/// Runs GRPO on the base model and its question, with these values changed.
fn grpo(out: &Path, sets: &[&str]) -> Output {
    grpo_with(out, sets, &[])
}

/// Like [`grpo`], with more arguments.
fn grpo_with(out: &Path, sets: &[&str], more: &[&str]) -> Output {
    let model = format!("model.path={:?}", BASE.path("base").display().to_string());
    let task = format!("task.name={:?}", BASE.path("q.jsonl").display().to_string());
    let own = [
        model.as_str(),
        &task,
        "task.prompt=plain",
        "train.max_tokens=256",
        "grpo.num_questions=4",
        "grpo.steps_per_generation=1",
        "grpo.num_generations=8",
        "grpo.max_completion_length=48",
        "run.save_steps=0",
    ];
    meno_with("grpo", "r1-zero.toml", out, &[&own[..], sets].concat(), more)
}

fn lines(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// The values of a metric, over the steps that have it.
fn column(out: &Path, name: &str) -> Vec<f64> {
    lines(out).iter().filter_map(|l| l[name].as_f64()).collect()
}

fn script(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// A program that rewards answers which the verifier finds wrong; it records each of its starts.
fn contrary(dir: &Path) -> String {
    let starts = dir.join("starts").display().to_string();
    let text = format!(
        "#!/bin/sh\necho start >> {starts}\nwhile IFS= read -r line; do\n  case \"$line\" in\n    \
         *'\"verdict\":\"wrong\"'*) echo '{{\"reward\": 1}}' ;;\n    *) echo 0.0 ;;\n  esac\ndone\n"
    );
    script(dir, "contrary.sh", &text)
}

#[test]
fn a_program_rewards_a_whole_run() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let funcs = format!("grpo.reward_funcs=[\"accuracy\", {:?}]", contrary(dir.path()));
    let output = grpo(&out, &["train.max_steps=3", &funcs, "grpo.reward_weights=[1.0, 0.5]"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let (reward, right) = (column(&out, "reward"), column(&out, "rewards/accuracy/mean"));
    let (own, wrong) = (column(&out, "rewards/contrary/mean"), column(&out, "verdicts/wrong"));
    assert_eq!((reward.len(), own.len()), (3, 3));
    assert_eq!(own, wrong, "the program saw what the verifier said");
    for i in 0..3 {
        assert!((reward[i] - (right[i] + 0.5 * own[i])).abs() < 1e-6);
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("starts")).unwrap(), "start\n", "one process for all");
}

#[test]
fn a_program_that_cannot_be_used_is_the_users_mistake_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let plain = script(dir.path(), "plain.sh", "#!/bin/sh\n");
    std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o644)).unwrap();
    let chatty = script(dir.path(), "chatty.sh", "#!/bin/sh\nread -r l; echo 'Loading…'; cat > /dev/null\n");
    let broken = script(dir.path(), "broken.sh", "#!/bin/sh\necho 'no module named torch' >&2; exit 1\n");
    for (program, parts) in [
        ("./no/such/reward", vec!["`./no/such/reward` does not exist", "working directory"]),
        (&plain, vec!["plain.sh", "not executable (chmod +x"]),
        (&chatty, vec!["chatty.sh` wrote \"Loading…\" for answer 1 of 32", "{\"reward\": number}"]),
        (&broken, vec!["broken.sh", "exit status: 1", "2 times", "no module named torch"]),
        ("acuracy", vec!["unknown value `acuracy`; did you mean `accuracy`?", "./PROGRAM"]),
    ] {
        let funcs = format!("grpo.reward_funcs=[{program:?}]");
        let sets = [&funcs, "grpo.reward_weights=[]", "train.max_steps=1", "grpo.reward_max_restarts=1"];
        let output = grpo(&dir.path().join("run"), &sets);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{program}: {text}");
        let error = text.lines().last().unwrap();
        assert!(error.starts_with("error: ") && parts.iter().all(|p| error.contains(p)), "{program}: {text}");
        assert!(!dir.path().join("run/metrics.jsonl").exists() || !text.contains("step 1"), "{text}");
    }
}

/// The example in `docs/recipes.md` whose first line is `begin`.
fn documented(begin: &str) -> String {
    let docs = std::fs::read_to_string(root().join("docs/recipes.md")).unwrap();
    let start = docs.find(&format!("\n{begin}\n")).unwrap_or_else(|| panic!("docs/recipes.md has no {begin}")) + 1;
    let end = docs[start..].find("\n```").unwrap();
    format!("{}\n", &docs[start..start + end])
}

#[test]
fn the_documented_programs_work() {
    let dir = tempfile::tempdir().unwrap();
    for (begin, name) in [("#!/usr/bin/env python3", "short.py"), ("#!/bin/sh", "short.sh")] {
        if name.ends_with(".py") && Command::new("python3").arg("--version").output().is_err() {
            eprintln!("no python3: the Python example is not run");
            continue;
        }
        let funcs = format!("grpo.reward_funcs=[{:?}]", script(dir.path(), name, &documented(begin)));
        let out = dir.path().join(name.replace('.', "-"));
        let output = grpo(&out, &["train.max_steps=2", &funcs, "grpo.reward_weights=[]"]);
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        let mean = column(&out, "rewards/short/mean");
        assert!(mean.len() == 2 && mean.iter().all(|m| (0.0..=1.0).contains(m)), "{name}: {mean:?}");
        assert!(mean.iter().any(|m| *m > 0.0), "{name}: {mean:?}");
    }
}

fn held_out() -> String {
    format!("eval.eval_task={:?}", BASE.path("held-out.jsonl").display().to_string())
}

#[test]
fn evaluation_leaves_training_as_it_is_and_agrees_with_meno_eval() {
    let dir = tempfile::tempdir().unwrap();
    let (with, without) = (dir.path().join("with"), dir.path().join("without"));
    let sets = ["train.max_steps=4", "grpo.reward_funcs=[\"accuracy\"]", "grpo.reward_weights=[]"];
    let eval = held_out();
    let eval = ["eval.eval_steps=2", &eval, "eval.num_samples=32", "eval.temperature=1", "eval.top_p=1"];
    let output = grpo(&with, &[&sets[..], &eval].concat());
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("step 2: held-out pass@1 ") && said.contains("the best so far, kept in"), "{said}");
    assert!(grpo(&without, &sets).status.success());
    let weights = |out: &Path| std::fs::read(out.join("model.safetensors")).unwrap();
    assert!(weights(&with) == weights(&without), "the same bits with and without evaluation");
    assert_eq!(column(&with, "reward"), column(&without, "reward"));
    let scores = column(&with, "eval/pass1");
    assert_eq!(scores.len(), 2);
    assert_eq!(column(&with, "eval/best").last().copied(), scores.iter().copied().reduce(f64::max));
    // The best model is complete, and `meno eval` computes the score that is stored with it.
    let record: Value = serde_json::from_slice(&std::fs::read(with.join("best/eval.json")).unwrap()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_meno"))
        .args(["eval", "-m"])
        .arg(with.join("best"))
        .arg("--task")
        .arg(BASE.path("held-out.jsonl"))
        .args(["--prompt", "plain", "-k", "32", "--temperature", "1", "--top-p", "1", "--max-tokens", "48", "--json"])
        .output()
        .unwrap();
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(figures, record["summary"], "{}", stderr(&output));
    let at = record["step"].as_u64().unwrap() as usize / 2 - 1;
    assert_eq!(record["summary"]["pass1"]["mean"].as_f64(), Some(scores[at]));
}

#[test]
fn a_run_that_gets_worse_warns_and_ends_with_its_best_model() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let (funcs, eval) = (format!("grpo.reward_funcs=[{:?}]", contrary(dir.path())), held_out());
    let sets = [
        "train.max_steps=8",
        "train.learning_rate=1e-3",
        &funcs,
        "grpo.reward_weights=[]",
        "run.save_steps=1",
        "run.save_total_limit=1",
        "eval.eval_steps=2",
        &eval,
        "eval.num_samples=32",
        "eval.temperature=1",
        "eval.top_p=1",
        "eval.load_best_model_at_end=true",
    ];
    let output = grpo(&out, &sets);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    let scores = column(&out, "eval/pass1");
    assert!(scores.len() == 4 && scores[3] < scores[0], "rewarded for wrong answers it gets worse: {scores:?}");
    let record: Value = serde_json::from_slice(&std::fs::read(out.join("best/eval.json")).unwrap()).unwrap();
    assert!(record["step"].as_u64().unwrap() < 8, "{record}");
    let weights = |name: &str| std::fs::read(out.join(name).join("model.safetensors")).unwrap();
    assert!(weights("") == weights("best"), "the best model is what the run ends with");
    assert!(weights("checkpoint-8") != weights("best"));
    let warning = "while the held-out score went from";
    assert!(said.contains("warning: steps 2 to 8: the reward rose from") && said.contains(warning), "{said}");
    let warned: Vec<Value> = lines(&out).into_iter().filter(|l| l["warnings"].to_string().contains(warning)).collect();
    assert!(warned.len() == 1 && warned[0]["step"] == 8, "{warned:?}");
}

#[test]
fn settings_of_evaluation_that_cannot_work_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for (sets, part) in [
        (vec!["eval.eval_steps=1"], "a file has no splits, so eval.eval_task must name another"),
        (vec!["eval.eval_steps=1", "eval.eval_task=held-out.jsonl", "eval.split=train"], "holds out nothing"),
        (vec!["eval.load_best_model_at_end=true"], "`eval.load_best_model_at_end` = true: there is no best model"),
        (vec!["eval.num_samples=0"], "`eval.num_samples` = 0"),
        (vec!["eval.top_p=0"], "`eval.top_p` = 0"),
        (vec!["eval.evalsteps=1"], "did you mean `eval_steps`"),
        (vec!["eval.eval_steps=1", "eval.eval_task=no-such.jsonl"], "no-such.jsonl"),
    ] {
        for more in [&[][..], &["--dry-run"]] {
            let output = grpo_with(&dir.path().join("run"), &sets, more);
            let text = stderr(&output);
            assert!(output.status.code() == Some(1) && text.contains(part), "{sets:?}: {text}");
        }
    }
}

#[test]
fn a_dry_run_finds_what_a_run_would_fail_with() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let held_out = held_out();
    for (sets, part) in [
        (
            vec!["grpo.loss_type=gspo", "grpo.importance_sampling_level=token"],
            "`grpo.importance_sampling_level` = token",
        ),
        (vec!["grpo.delta=1.0"], "`grpo.delta` = 1: expected above"),
        (
            vec!["grpo.reward_funcs=[\"./no/such/reward\"]", "grpo.reward_weights=[]"],
            "`./no/such/reward` does not exist",
        ),
        (vec!["grpo.reward_funcs=[]", "grpo.reward_weights=[]"], "`grpo.reward_funcs` = []: expected at least one"),
        (vec!["grpo.reward_weights=[1.0, 2.0, 3.0]"], "`grpo.reward_weights` = [1.0, 2.0, 3.0]: expected"),
        (vec!["grpo.sync_ref_model=true", "grpo.beta=0"], "`grpo.sync_ref_model` = true: there is no reference"),
        (vec!["grpo.max_completion_length=9999"], "`grpo.max_completion_length`"),
        (vec!["train.max_steps=0"], "`train.max_steps` = 0: expected 1 or above"),
        (vec!["task.name=no-such.jsonl"], "no-such.jsonl"),
        (vec!["eval.eval_steps=1", "eval.eval_files=[\"a.jsonl\"]", &held_out], "`eval.eval_files` = a.jsonl"),
    ] {
        let output = grpo_with(&out, &sets, &["--dry-run"]);
        let text = stderr(&output);
        assert!(output.status.code() == Some(1) && text.contains(part), "{sets:?}: {text}");
    }
    let funcs = format!("grpo.reward_funcs=[\"accuracy\", {:?}]", contrary(dir.path()));
    let sets =
        [&funcs, "grpo.reward_weights=[]", "eval.eval_steps=1", &held_out, "grpo.epsilon=10", "grpo.cosine_max_len=7"];
    let output = grpo_with(&out, &sets, &["--dry-run"]);
    let (text, shown) = (stderr(&output), String::from_utf8_lossy(&output.stdout).into_owned());
    assert!(output.status.success() && shown.contains("# Memory"), "{text}");
    assert!(text.contains("note: `grpo.epsilon` = 10.0 leaves the ratio without a lower bound"), "{text}");
    assert!(text.contains("note: `grpo.cosine_max_len` = 7 has no effect"), "{text}");
    assert!(!out.exists(), "a dry run writes nothing");
}

/// A program receives the columns of a data file, whatever layout the file has.
#[test]
fn a_program_sees_the_whole_record() {
    let dir = tempfile::tempdir().unwrap();
    let csv = dir.path().join("q.csv");
    std::fs::write(&csv, "question,answer,level\n2+3=?,5,0.25\n").unwrap();
    let text = "#!/bin/sh\nwhile IFS= read -r line; do\n  case \"$line\" in\n    \
                *'\"level\":\"0.25\"'*) echo 0.25 ;;\n    *) echo 0 ;;\n  esac\ndone\n";
    let funcs = format!("grpo.reward_funcs=[\"accuracy\", {:?}]", script(dir.path(), "level.sh", text));
    let task = format!("task.name={:?}", csv.display().to_string());
    let out = dir.path().join("run");
    let output = grpo(&out, &["train.max_steps=1", &funcs, "grpo.reward_weights=[]", &task]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(column(&out, "rewards/level/mean"), [0.25]);
}

#[test]
fn an_unknown_language_is_refused_before_anything_is_trained() {
    let dir = tempfile::tempdir().unwrap();
    let questions = dir.path().join("questions.jsonl");
    let lines = "{\"question\":\"2+3=?\",\"answer\":\"5\"}\n\
                 {\"question\":\"2+4=?\",\"answer\":\"6\",\"language\":\"deutsch\"}\n";
    std::fs::write(&questions, lines).unwrap();
    let task = format!("task.name={:?}", questions.display().to_string());
    let out = dir.path().join("run");
    let output = grpo(&out, &[&task, "grpo.reward_funcs=[\"language_consistency\"]", "grpo.reward_weights=[]"]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in ["question 1 (\"2+4=?\")", "`language` is \"deutsch\"", "ISO 639", "`language_consistency`"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!out.exists(), "nothing was written");
}
