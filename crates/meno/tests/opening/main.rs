//! Every bad model with every command: all print the same message, with exit code 1 and without internals of
//! Rust or the system.

#![allow(clippy::unwrap_used)] // a test may fail by panicking
#![cfg(unix)]

mod files;
#[path = "../common/letters.rs"]
mod letters;

use files::{Dir, golden};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Phrases that no message for users may contain.
const LEAKS: &[&str] = &[
    "os error",
    "usize",
    "u32",
    "u64",
    "i64",
    "capacity:",
    "serde",
    "Some(",
    "None",
    "Err(",
    "panicked",
    "BACKTRACE",
    "ENOENT",
    "expected struct",
    "invalid type",
    "io: ",
    "internal error",
    "invalid digit",
    "data did not match",
    "Utf8Error",
];

/// A command that opens a model.
struct Verb {
    name: &'static str,
    /// The arguments before and after the model.
    arguments: fn(&Dir, &str) -> Vec<String>,
}

macro_rules! verbs {
    ($($name:literal: |$dir:ident, $model:ident| [$($argument:expr),* $(,)?];)*) => {
        &[$(Verb { name: $name, arguments: |$dir, $model| { let _ = &$dir; vec![$($argument.to_string()),*] } }),*]
    };
}

const VERBS: &[Verb] = verbs! {
    "chat": |d, m| ["chat", "-m", m, "-p", "a"];
    "generate": |d, m| ["generate", m, "-p", "a"];
    "serve": |d, m| ["serve", "-m", m, "--port", "0"];
    "eval": |d, m| ["eval", m, "--problems", "1", "--max-tokens", "1"];
    "inspect": |d, m| ["inspect", "-m", m];
    "quantize": |d, m| ["quantize", m, "--type", "q8_0", "--allow-requantize", "-o", d.path("out/q.gguf")];
    "convert": |d, m| ["convert", m, d.path("out/directory")];
    "convert to GGUF": |d, m| ["convert", "-m", m, "-o", d.path("out/c.gguf")];
    "logits": |d, m| ["logits", m, "--tokens", "1", "--out", d.path("out/logits")];
    "perplexity": |d, m| ["perplexity", "-m", m, "-f", d.path("text.txt"), "--context", "4"];
    "bench infer": |d, m| ["bench", "infer", m, "--prompt", "1", "--gen", "1", "--sequences", "1", "--repeat", "1"];
    "pretrain": |d, m| ["pretrain", d.path("recipe.toml"), "-m", m, "--plain"];
    "plan": |d, m| ["plan", d.path("plan.toml"), "-m", m, "--device", "h100"];
    "sft": |d, m| ["sft", d.path("recipe.toml"), "-m", m, "--plain"];
    "grpo": |d, m| ["grpo", d.path("recipe.toml"), "-m", m, "--plain"];
    "sample": |d, m| ["sample", d.path("recipe.toml"), "-m", m, "--plain"];
    "distill": |d, m| ["distill", d.path("recipe.toml"), "-m", m, "--plain",
                       "--set", format!("distill.traces={:?}", d.path("traces.jsonl"))];
    "distill from a teacher": |d, m| ["distill", d.path("recipe.toml"), "-m", d.path("good"), "--plain",
                                      "--set", format!("distill.teacher={m:?}")];
};

/// The commands that work without a certain part of the model.
const NO_TOKENIZER: &[&str] = &["inspect", "logits", "bench infer", "convert", "plan"];
const HEADERS: &[&str] = &["inspect"];
const CONFIG: &[&str] = &["inspect", "plan"];
const COPIES_TOKENIZER: &[&str] = &["inspect", "logits", "bench infer", "quantize", "convert to GGUF", "plan"];

/// A bad model: its path, the expected error, and the commands that do not need the missing part.
type Bad = (String, &'static [&'static str], &'static [&'static str]);

/// Runs the command.
fn meno(dir: &Dir, arguments: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meno"));
    command.args(arguments).stdin(Stdio::null()).current_dir(dir.path(""));
    command.env("HF_HOME", dir.path("cache")).env("HF_ENDPOINT", "http://127.0.0.1:9").env_remove("HF_HUB_CACHE");
    command.env_remove("RUST_BACKTRACE").output().unwrap()
}

/// The single error line of a rejection, or a description of what is wrong with it.
fn refusal(dir: &Dir, name: &str, arguments: &[String]) -> Result<String, String> {
    let output = meno(dir, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() != Some(1) {
        return Err(format!("{name}: {arguments:?} ends with {}: {stderr}", output.status));
    }
    if let Some(leak) = LEAKS.iter().find(|leak| stderr.contains(**leak)) {
        return Err(format!("{name}: {leak:?} in {stderr}"));
    }
    let errors: Vec<&str> = stderr.lines().filter(|l| l.starts_with("error: ")).collect();
    match errors[..] {
        [error] => Ok(error.to_owned()),
        _ => Err(format!("{name}: expected one line of error: {stderr}")),
    }
}

fn bad_models(dir: &Dir) -> Vec<Bad> {
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 98123456\n";
    let gguf = std::fs::read(golden("gguf/qwen2.gguf")).unwrap();
    let good = |name: &str| std::fs::read(dir.path(&format!("good/{name}"))).unwrap();
    // The good model without one of its files, or with other contents in it.
    let without = |name: &str, file: &str| {
        let to = dir.copy("good", name);
        std::fs::remove_file(Path::new(&to).join(file)).unwrap();
        to
    };
    let with = |name: &str, file: &str, content: &[u8]| {
        let to = dir.copy("good", name);
        std::fs::write(Path::new(&to).join(file), content).unwrap();
        to
    };
    let weights = good("model.safetensors");
    let config = String::from_utf8(good("config.json")).unwrap();
    std::fs::create_dir(dir.path("empty")).unwrap();
    std::fs::create_dir_all(dir.path("runs/replicate-seed1")).unwrap();
    dir.copy("good", "runs/replicate-seed1/r1");
    let adapter = dir.copy_golden("lora", "adapter");
    let pickles = without("pickles", "model.safetensors");
    dir.write("pickles/pytorch_model.bin", b"PK\x03\x04");
    let index = r#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    let shards = without("shards", "model.safetensors");
    dir.write("shards/model.safetensors.index.json", index);
    dir.write("shards/model-00001-of-00002.safetensors", &weights);
    let unindexed = without("unindexed", "model.safetensors");
    dir.write("unindexed/model-00001-of-00002.safetensors", &weights);
    let part = dir.write(
        "m-00001-of-00002.gguf",
        files::with_keys(&gguf, &[("split.count", 2u16.into()), ("split.no", 0u16.into())]),
    );
    let second = dir.write(
        "n-00002-of-00002.gguf",
        files::with_keys(&gguf, &[("split.count", 2u16.into()), ("split.no", 1u16.into())]),
    );
    let kind =
        |name: &str, keys: &[(&str, files::Value)]| dir.write(name, files::with_keys(&files::one_tensor(), keys));
    vec![
        // Files.
        (dir.write("notes.txt", "hello"), &["notes.txt: is text, not a model"], &[]),
        (dir.write("empty.gguf", ""), &["empty.gguf: is empty", "fetch it again"], &[]),
        (dir.write("lfs.gguf", lfs), &["Git LFS pointer", "98.1 MB", "git lfs pull", "meno pull"], &[]),
        (dir.write("page.gguf", "<!DOCTYPE html><html>"), &["web page", "/resolve/"], &[]),
        (dir.write("pytorch_model.bin", b"PK\x03\x04\0\0"), &["PyTorch pickle", "safetensors"], &[]),
        (dir.write("consolidated.00.pth", b"\x80\x02}"), &["PyTorch pickle"], &[]),
        (dir.write("old.bin", b"tjgg\x03\0\0\0"), &["before GGUF"], &[]),
        (dir.write("model.tar.gz", b"\x1f\x8b\x08\0"), &["gzip archive (unpack it first)"], &[]),
        (dir.write("noise.gguf", b"\xff\xfe\0\x01\x02\x03"), &["neither GGUF nor any other"], &[]),
        (dir.write("cut.gguf", &gguf[..gguf.len() - 4000]), &["cut short", "fetch it again"], &[]),
        (dir.write("head.gguf", &gguf[..200]), &["cut short", "fetch it again"], &[]),
        (
            dir.write("alone/model-00002-of-00003.safetensors", &weights),
            &["one safetensors file without the rest"],
            HEADERS,
        ),
        (dir.path("good/model.safetensors"), &["is one file of a model; name its directory"], HEADERS),
        (dir.path("good/config.json"), &["is one file of a model; name its directory"], CONFIG),
        (dir.path("adapter/adapter_model.safetensors"), &["LoRA adapter", "--lora"], HEADERS),
        // GGUF files that are not runnable models.
        (part, &["first of 2 files", "m-00002-of-00002.gguf", "fetch all"], &[]),
        (second, &["file 2 of 2; open n-00001-of-00002.gguf"], &[]),
        (
            kind("gemma.gguf", &[("general.architecture", "gemma3".into())]),
            &["architecture `gemma3`", "not supported", "llama, qwen2"],
            &[],
        ),
        (
            kind("mmproj.gguf", &[("general.architecture", "clip".into()), ("general.type", "mmproj".into())]),
            &["mmproj", "model itself"],
            &[],
        ),
        (
            kind("lora.gguf", &[("general.architecture", "llama".into()), ("general.type", "adapter".into())]),
            &["LoRA adapter in GGUF", "--lora"],
            &[],
        ),
        (kind("imatrix.gguf", &[("general.type", "imatrix".into())]), &["importance matrix"], &[]),
        (
            dir.write("pre.gguf", files::with_keys(&gguf, &files::tokenizer("nonsense"))),
            &["tokenizer.ggml.pre", "nonsense"],
            COPIES_TOKENIZER,
        ),
        // Directories.
        (dir.path("empty"), &["is an empty directory"], &[]),
        (adapter, &["LoRA adapter", "meno convert ", "--lora"], &[]),
        (without("no-config", "config.json"), &["no config.json"], HEADERS),
        (without("no-weights", "model.safetensors"), &["no weights", "model.safetensors"], CONFIG),
        (without("no-tokenizer", "tokenizer.json"), &["no tokenizer.json"], NO_TOKENIZER),
        (pickles, &["only as a PyTorch pickle (pytorch_model.bin)"], &[]),
        (shards, &["lacks 1 of its 2 weight files", "model-00002-of-00002.safetensors"], &[]),
        (unindexed, &["1 of 2 weight files", "not model.safetensors.index.json"], CONFIG),
        (with("cut", "model.safetensors", &weights[..weights.len() - 100]), &["model.safetensors", "cut short"], &[]),
        (with("pointer", "model.safetensors", lfs.as_bytes()), &["model.safetensors: is a Git LFS pointer"], &[]),
        (with("pointers", "config.json", lfs.as_bytes()), &["config.json: is a Git LFS pointer"], &[]),
        (with("tokens", "tokenizer.json", lfs.as_bytes()), &["tokenizer.json: is a Git LFS pointer"], NO_TOKENIZER),
        (
            with("mamba", "config.json", config.replace("qwen2", "mamba").as_bytes()),
            &["`model_type`", "mamba", "deepseek_v3"],
            &[],
        ),
        (
            with("typed", "config.json", config.replacen("16", "\"big\"", 1).as_bytes()),
            &["config.json", "\"big\"", "whole number"],
            &[],
        ),
        (dir.path("runs/replicate-seed1"), &["is not a model itself but holds one", "replicate-seed1/r1"], &[]),
        // Names.
        (dir.path("goood"), &["No such file or directory; did you mean ", "/good?"], &[]),
        (dir.path("runs/replicate-seed1/rl"), &["did you mean ", "replicate-seed1/r1?"], &[]),
        (dir.path("notes.txt/model"), &["notes.txt is a file, not a directory"], &[]),
        ("good.gguf".into(), &["No such file", "ORG/NAME"], &[]),
        ("qwen".into(), &["qwen: No such file", "ORG/NAME"], &[]),
        (
            "org/nothing".into(),
            &["org/nothing is neither an existing path", "nor in the cache", "cannot reach http://127.0.0.1:9"],
            &[],
        ),
    ]
}

/// Checks how a command handles a bad model; returns its error if it is as expected.
fn judge(dir: &Dir, verb: &Verb, (path, expected, accepted): &Bad) -> Result<Option<String>, String> {
    let arguments = (verb.arguments)(dir, path);
    dir.fresh("out");
    if accepted.contains(&verb.name) {
        let output = meno(dir, &arguments);
        return match output.status.success() {
            true => Ok(None),
            false => Err(format!("{}: {arguments:?}: {}", verb.name, String::from_utf8_lossy(&output.stderr))),
        };
    }
    let error = refusal(dir, verb.name, &arguments)?;
    if let Some(part) = expected.iter().find(|part| !error.contains(**part)) {
        return Err(format!("{}: {error:?} does not say {part:?}", verb.name));
    }
    match std::fs::read_dir(dir.path("out")).unwrap().count() {
        0 => Ok(Some(error)),
        _ => Err(format!("{}: the refusal of {path} leaves files behind", verb.name)),
    }
}

#[test]
fn every_command_refuses_every_bad_model_with_the_same_words() {
    let dir = Dir::new();
    files::good_model(&dir);
    let mut wrong = Vec::new();
    for bad in &bad_models(&dir) {
        let mut first: Option<(&str, String)> = None;
        for verb in VERBS {
            match (judge(&dir, verb, bad), &first) {
                (Err(why), _) => wrong.push(why),
                (Ok(Some(error)), Some((other, same))) if error != *same => {
                    wrong.push(format!("{} and {other} differ:\n  {error}\n  {same}", verb.name));
                }
                (Ok(Some(error)), None) => first = Some((verb.name, error)),
                (Ok(_), _) => {}
            }
        }
        // Lets a person read the messages: cargo test -- --nocapture
        println!("{}", first.map_or_else(String::new, |(_, error)| error));
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_misspelt_hub_name_names_the_cached_model() {
    let dir = Dir::new();
    std::fs::create_dir_all(dir.path("cache/hub/models--Qwen--Qwen3-0.6B-GGUF")).unwrap();
    let arguments = ["generate", "-m", "Qwen/Qwen3-0.6-GGUF", "-p", "a"].map(str::to_owned);
    let error = refusal(&dir, "generate", &arguments).unwrap();
    assert!(error.contains("did you mean Qwen/Qwen3-0.6B-GGUF, which is in the cache?"), "{error}");
}

/// Errors on the command line, in recipes and in records: no names of Rust types, no error numbers of the system.
#[test]
fn mistakes_elsewhere_do_not_leak_either() {
    let dir = Dir::new();
    files::good_model(&dir);
    let good = dir.path("good");
    let typed = dir.write("typed.toml", "[train]\nlearning_rate = \"big\"\n");
    let listed = dir.write("listed.toml", "[sft]\ntrain_batch_size = [1]\n");
    let negative = dir.write("negative.toml", "[train]\nmax_steps = -1\n");
    let syntax = dir.write("syntax.toml", "[train\n");
    let lines = dir.write("lines.jsonl", "{\"gold\":");
    let teacher = dir.write("section.toml", "model = 3\n");
    let recipe = dir.path("recipe.toml");
    let cases: &[(&[&str], &str)] = &[
        (&["sft", &typed], "found the string \"big\", expected a number"),
        (&["sft", &listed], "line 2"),
        (&["sft", &negative], "line 2"),
        (&["sft", &syntax], "syntax.toml"),
        (&["sft", &teacher], "line 1"),
        (&["sft", &recipe, "--set", "train.max_steps=-1"], "expected a whole number"),
        (&["sft", &recipe, "--set", "train.precision=f8"], "unknown value `f8`"),
        (&["sft", &recipe, "--set", "model=3"], "expected an object"),
        (&["sft", "absent.toml"], "absent.toml: No such file or directory"),
        (&["replicate", "--preset", &typed], "typed.toml"),
        (&["replicate", "--preset", "absent.toml"], "No such file"),
        (&["verify", "absent.jsonl"], "absent.jsonl: No such file or directory"),
        (&["verify", &lines], "lines.jsonl:1: not JSON: it ends where a value is expected"),
        (&["generate", "-m", &good, "-p", "a", "--context", "x"], "expected a whole number, which may end with k"),
        (&["generate", "-m", &good, "-p", "a", "--top-k", "x"], "expected a whole number"),
        (&["generate", "-m", &good, "-p", "a", "--temperature", "x"], "expected a number"),
        (&["generate", "-m", &good, "-p", "a", "--threads", "x"], "from 0 (all cores)"),
        (&["serve", "-m", &good, "--port", "70000"], "--port"),
        (&["logits", &good, "--tokens", "a", "--out", "x"], "expected a whole number"),
        (&["generate", "-m", &good, "-p", "a", "--context", "1"], "--context 1"),
        (&["serve", "-m", &good, "--port", "0", "--cache-tokens", "1"], "--cache-tokens"),
        (&["generate", "-m", &good, "-p", "a", "--speculative", "mtp"], "MTP"),
        (&["convert", &good], "no output given"),
        (&["convert"], "no model given"),
        (&["convert", &good, "a", "-o", "b"], "one argument too many"),
        (&["eval", &good, "-m", &good], "-m names the model already"),
    ];
    let mut wrong = Vec::new();
    for (arguments, expected) in cases {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let output = meno(&dir, &arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let leaks = LEAKS.iter().any(|leak| stderr.contains(leak));
        if output.status.code() != Some(1) || !stderr.contains(expected) || leaks {
            wrong.push(format!("{arguments:?} ({}) should say {expected:?}: {stderr}", output.status));
        }
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_model_is_named_either_way_and_sizes_and_threads_alike() {
    let dir = Dir::new();
    files::good_model(&dir);
    let good = dir.path("good");
    let said = |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let output = meno(&dir, &arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let ask = ["-p", "ab", "--max-tokens", "4", "--temperature", "0"];
    let one = said(&[&["generate", &good], &ask[..]].concat());
    assert_eq!(one, said(&[&["generate", "-m", &good, "--threads", "0"], &ask[..]].concat()));
    assert_eq!(one, said(&[&["generate", "--model", &good, "--threads", "2"], &ask[..]].concat()));
    assert_eq!(said(&["inspect", &good]), said(&["inspect", "-m", &good]));
    said(&["convert", "-m", &good, &dir.path("first")]);
    said(&["convert", &good, "-o", &dir.path("second")]);
    assert_eq!(
        std::fs::read(dir.path("first/config.json")).unwrap(),
        std::fs::read(dir.path("second/config.json")).unwrap()
    );
    said(&["logits", &good, "--tokens", "1,2", "-o", &dir.path("logits"), "--threads", "0"]);
    // Without a model, the newest result of `meno replicate` is used.
    std::fs::create_dir_all(dir.path("runs/x")).unwrap();
    dir.copy("good", "runs/x/r1");
    assert!(said(&["inspect"]).contains("qwen2"));
}

#[test]
fn completions_and_manual_pages() {
    let dir = Dir::new();
    for (shell, expected) in [("bash", "_meno()"), ("zsh", "#compdef meno"), ("fish", "complete -c meno")] {
        let output = meno(&dir, &["completions".into(), shell.into()]);
        let script = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && script.contains(expected) && script.contains("quantize"),
            "{shell}: {script}"
        );
    }
    let output = meno(&dir, &["man".into(), "--out".into(), dir.path("man")]);
    assert!(output.status.success());
    let page = |name: &str| std::fs::read_to_string(dir.path(&format!("man/{name}.1"))).unwrap();
    assert!(!page("meno-chat").contains("kernels"), "a page depends on the machine that wrote it");
    assert!(page("meno").contains(".TH") && page("meno").contains("chat"));
    assert!(page("meno-quantize").contains("Examples") && page("meno-bench-infer").contains("threads"));
}
