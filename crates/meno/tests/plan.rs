//! `meno plan` through the binary.
#![allow(clippy::unwrap_used)] // a test may fail by panicking

use serde_json::Value;
use std::path::Path;
use std::process::Command;

const V3: [&str; 7] = ["recipes/v3-pretrain.toml", "--device", "h800", "--nodes", "256", "--gpus", "8"];

/// Exit code, output, errors; in the root of the repository.
fn plan(args: &[&str]) -> (i32, String, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = Command::new(env!("CARGO_BIN_EXE_meno")).arg("plan").args(args).current_dir(root).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

fn json(args: &[&str]) -> Value {
    let (code, out, err) = plan(&[args, &["--json"]].concat());
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn the_cluster_of_v3_is_planned_without_its_memory() {
    let (code, out, err) = plan(&[&V3[..], &["--pipeline-parallel", "16", "--expert-parallel", "64"]].concat());
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("Computed, not measured"), "{out}");
    for text in [
        "pretrain of deepseek_v3: 671.0 B parameters, 37.6 B used by a token",
        "2048 ranks: 256 nodes × 8 (h800); 128 share the tokens of a step, 64 the experts of a layer, 16 the layers",
        "Memory of a rank",
        "gradients: reduce-scatter",
        "experts: all-to-all",
        "pipeline bubble",
        "Meno has no pipeline",
        "neither is measured",
    ] {
        assert!(out.contains(text), "{text:?} in\n{out}");
    }
    let total = |line: &str| line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap();
    let totals: Vec<f64> = out.lines().filter(|line| line.trim_start().starts_with("total ")).map(total).collect();
    assert!(totals[0] > 10.0 && totals[0] < 79.0, "{totals:?}");
    // The same figures for programs.
    let plan = json(&[&V3[..], &["--pipeline-parallel", "16", "--expert-parallel", "64"]].concat());
    let gib = plan["memory"]["total"].as_f64().unwrap() / (1u64 << 30) as f64;
    assert!((gib - totals[0]).abs() < 0.01 && plan["limit"]["binds"] == "compute", "{plan}");
    // Without the paper's layout it does not fit; the plan names what binds.
    let (code, out, _) = self::plan(&V3);
    assert!(code == 0 && out.contains("Memory binds: a rank needs 6370.5 GiB and has 79.0"), "{out}");
}

#[test]
fn a_recipe_is_planned_with_the_measured_speed_of_this_machine() {
    let one = json(&["recipes/tiny/r1-zero.toml", "-m", "recipes/tiny/model", "--threads", "1"]);
    assert_eq!((&one["verb"], &one["ranks"]["total"]), (&Value::from("grpo"), &Value::from(1)));
    assert!(one["assumptions"][0].as_str().unwrap().starts_with("measured on this machine, cpu with 1 thread: "));
    assert!(one["traffic"].as_array().unwrap().is_empty() && one["time"]["step_seconds"].as_f64().unwrap() > 0.0);
    let four = ["recipes/tiny/r1-zero.toml", "-m", "recipes/tiny/model/config.json", "--threads", "1"];
    let four = json(&[&four[..], &["--nodes", "2", "--gpus", "2", "--memory", "3"]].concat());
    assert_eq!(four["ranks"]["data_parallel"], 4);
    assert_eq!(four["memory"]["available"], 3u64 << 30);
    let bytes = |plan: &Value, name: &str| {
        let parts = plan["memory"]["parts"].as_array().unwrap().clone();
        parts.iter().find(|part| part["name"] == name).unwrap()["bytes"].as_u64().unwrap()
    };
    assert!(bytes(&four, "optimizer state") < bytes(&one, "optimizer state"));
    assert_eq!(bytes(&four, "gradients"), bytes(&one, "gradients"));
    assert_eq!(four["traffic"].as_array().unwrap().len(), 2);
}

#[test]
fn mistakes_are_named() {
    let tiny = "recipes/tiny/pretrain.toml";
    let cases: [(&[&str], &str); 12] = [
        (&[tiny, "--nodes", "0"], "`--nodes` = 0: expected 1 or above"),
        (&[tiny, "--gpus", "3"], "`--nodes × --gpus` = 3: expected a power of two"),
        (&[tiny, "--gpus", "2", "--expert-parallel", "3"], "expected a divisor of the 4 routed experts"),
        (&[tiny, "--device", "h1000"], "--device h1000: expected cpu, cuda or cuda:N"),
        (&[tiny, "--mfu", "0.5"], "--mfu 0.5: expected a share above 0, up to 1, of a device whose published"),
        (&[tiny, "--device", "h100", "--mfu", "2"], "--mfu 2: expected a share above 0"),
        (&[tiny, "--memory", "0"], "--memory 0: expected GiB, above 0"),
        (&[tiny, "--bandwidth", "-1"], "`--bandwidth` = -1: expected a finite number above 0"),
        (&[tiny, "--length", "1M"], "`--length` = 1048576: a sequence has 2 to 1024 tokens"),
        (&[tiny, "--set", "train.max_token=1"], "unknown key `max_token`; did you mean `max_tokens`?"),
        (&["recipes/eval-r1.toml"], "expected exactly one of [pretrain], [sft], [grpo] and [distill]"),
        (&["recipes/r1-zero.toml"], "the recipe names no model: set model.path or model.config, or name one with -m"),
    ];
    for (args, message) in cases {
        let (code, out, err) = plan(args);
        assert!(code == 1 && out.is_empty() && err.contains(message), "{args:?}: {code} {out}{err}");
    }
}
