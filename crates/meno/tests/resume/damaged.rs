//! Checkpoints that were damaged after they were written, and directories that another process works in.

use super::{Stage, has_checkpoint, results, set, small_model};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

fn stage(dir: &Path, max_steps: usize) -> Stage {
    let steps = format!("train.max_steps={max_steps}");
    let sets = [&steps, "train.max_tokens=256", "pretrain.tokens_per_step=256", "run.save_steps=2"];
    Stage { verb: "pretrain", recipe: "pretrain.toml", sets: set(&sets, &small_model(dir)) }
}

/// A copy of a run, and what resuming it says and leaves.
fn resumed(stage: &Stage, whole: &Path, copy: &Path, damage: impl FnOnce(&Path)) -> (Option<i32>, String) {
    let _ = std::fs::remove_dir_all(copy);
    assert!(Command::new("cp").arg("-r").args([whole, copy]).status().unwrap().success());
    damage(copy);
    let output = stage.start(copy, true).wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Flips one bit in the middle of a file.
fn flip(file: PathBuf) {
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_found_and_the_one_before_it_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, copy) = (dir.path().join("whole"), dir.path().join("copy"));
    let stage = stage(dir.path(), 6);
    stage.run(&whole);
    let expected = results(&whole);
    let last = |run: &Path, name: &str| run.join("checkpoint-6").join(name);
    for name in
        ["model.safetensors", "training_state.safetensors", "training_state.json", "config.json", "checksums.json"]
    {
        let (code, said) = resumed(&stage, &whole, &copy, |run| flip(last(run, name)));
        assert_eq!(code, Some(0), "{name}: {said}");
        assert!(said.contains("checkpoint-6 is damaged") && said.contains(name), "{name}: {said}");
        assert!(said.contains("going back to") && said.contains("checkpoint-4"), "{name}: {said}");
        assert!(results(&copy) == expected, "{name}: the run does not end as it would have");
        assert!(copy.join("checkpoint-6.damaged").exists(), "the damaged one is set aside");
    }
    // Cut short, absent, of another step; an empty directory is not a checkpoint.
    let (code, said) =
        resumed(&stage, &whole, &copy, |run| std::fs::write(last(run, "model.safetensors"), "x").unwrap());
    assert!(code == Some(0) && said.contains("has 1 bytes"), "{said}");
    let (code, said) =
        resumed(&stage, &whole, &copy, |run| std::fs::remove_file(last(run, "model.safetensors")).unwrap());
    assert!(code == Some(0) && said.contains("model.safetensors: No such file"), "{said}");
    let (code, said) = resumed(&stage, &whole, &copy, |run| {
        std::fs::rename(run.join("checkpoint-6"), run.join("checkpoint-9")).unwrap();
    });
    assert!(code == Some(0) && said.contains("its training state is of step 6"), "{said}");
    let (code, said) = resumed(&stage, &whole, &copy, |run| std::fs::create_dir(run.join("checkpoint-99")).unwrap());
    assert!(code == Some(0) && said.contains("resuming from step 6") && !said.contains("damaged"), "{said}");
    // Nothing whole is left: no new run from the start under the old one's name.
    let (code, said) = resumed(&stage, &whole, &copy, |run| {
        flip(run.join("checkpoint-4/model.safetensors"));
        flip(last(run, "model.safetensors"));
    });
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("checkpoint-6/model.safetensors: holds other bytes than were written"), "{said}");
    // Checkpoints of older versions have no checksums.
    let (code, said) = resumed(&stage, &whole, &copy, |run| std::fs::remove_file(last(run, "checksums.json")).unwrap());
    assert!(code == Some(0) && said.contains("checkpoint-6 has no checksums.json"), "{said}");
}

#[test]
fn one_process_in_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let stage = stage(dir.path(), 100_000);
    let mut first = stage.start(&run, false);
    let start = Instant::now();
    while !has_checkpoint(&run) && start.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(5));
    }
    for resume in [true, false] {
        let second = stage.start(&run, resume).wait_with_output().unwrap();
        let said = String::from_utf8(second.stderr).unwrap();
        assert_eq!(second.status.code(), Some(1), "{said}");
        let holder = format!("process {} works in this directory", first.id());
        assert!(said.contains(&holder) && said.contains(&run.display().to_string()), "{said}");
    }
    assert!(first.try_wait().unwrap().is_none(), "the first run goes on");
    first.kill().unwrap();
    first.wait().unwrap();
    // The kernel has released it.
    let steps = |n: usize| format!("train.max_steps={n}");
    let newest = std::fs::read_dir(&run)
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().to_str()?.strip_prefix("checkpoint-")?.parse::<usize>().ok());
    let mut stage = stage;
    stage.sets.push(steps(newest.max().unwrap()));
    let third = stage.start(&run, true).wait_with_output().unwrap();
    assert_eq!(third.status.code(), Some(0), "{}", String::from_utf8_lossy(&third.stderr));
    assert!(!run.join("run.lock").exists(), "a run that ends leaves no lock");
}

#[test]
fn one_replication_in_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let start = || {
        let mut command = crate::signals::meno();
        command.args(["replicate", "--preset", "smoke", "--plain", "--out"]).arg(&out);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let mut first = start();
    while !out.join("run.lock").exists() {
        assert!(first.try_wait().unwrap().is_none(), "the run ended by itself");
        std::thread::sleep(Duration::from_millis(2));
    }
    // The file is there a moment before it is locked.
    std::thread::sleep(Duration::from_millis(200));
    let second = start().wait_with_output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("process {} works in this directory", first.id())), "{said}");
    first.kill().unwrap();
    first.wait().unwrap();
}
