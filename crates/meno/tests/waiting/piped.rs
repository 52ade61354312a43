//! Without a terminal, every long-running command reports its progress repeatedly.

use super::Place;
use super::tiny::root;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn strings(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn an_evaluation_shows_where_it_is_from_the_first_second() {
    let place = Place::new();
    let (model, questions) = (place.text("model"), place.text("q.jsonl"));
    let args = ["eval", "-m", &model, "--task", &questions, "--prompt", "plain", "-k", "2", "--max-tokens", "60"];
    let mut command = place.meno(&args);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    errors.read_line(&mut first).unwrap();
    assert_eq!(first.trim(), "responses: 0/120, 0 s");
    std::io::copy(&mut errors, &mut std::io::sink()).unwrap();
    assert!(child.wait().unwrap().success());
    // Reports as often as requested.
    let output = place.meno(&args).env("MENO_PROGRESS_SECONDS", "0.001").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = said.lines().filter(|l| l.contains("tokens/s")).collect();
    assert!(!lines.is_empty() && lines.iter().all(|l| l.starts_with("responses: ")), "{said}");
    assert!(!said.contains('\r') && !said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn reinforcement_says_how_far_a_rollout_is() {
    let place = Place::new();
    let recipe = root().join("recipes/tiny/r1-zero.toml").display().to_string();
    let sets = [
        format!("model.path={:?}", place.text("model")),
        format!("run.output_dir={:?}", place.text("out")),
        format!("task.name={:?}", place.text("q.jsonl")),
        "train.max_steps=1".into(),
        "grpo.num_questions=4".into(),
        "grpo.num_generations=8".into(),
        "grpo.max_completion_length=60".into(),
    ];
    let mut args = vec!["grpo".to_owned(), recipe];
    args.extend(sets.into_iter().flat_map(|s| ["--set".to_owned(), s]));
    let output = place.meno(&strings(&args)).env("MENO_PROGRESS_SECONDS", "0.001").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.lines().any(|l| l.starts_with("responses 0/32")), "{said}");
    assert!(said.lines().any(|l| l.contains("responses ") && l.contains("tokens/s")), "{said}");
}

#[test]
fn a_dry_run_says_how_long_the_run_will_take() {
    let place = Place::new();
    let mut args = place.pretraining(200);
    args.push("--dry-run".into());
    let output = place.meno(&strings(&args)).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        text.contains("# Time\n") && text.contains("training: 200 steps") && text.contains("in total, estimated"),
        "{text}"
    );
    assert!(!place.path("out").exists(), "a dry run writes nothing");
    // The printed text is still a valid recipe.
    assert!(toml::from_str::<toml::Value>(&text).is_ok(), "{text}");
    let output = place.meno(&["replicate", "--preset", "smoke", "--dry-run"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for stage in ["Tokenizer", "R1-Zero with language reward", "RL on the student", "in total, estimated"] {
        assert!(text.contains(stage), "{stage}: {text}");
    }
    assert!(!place.path("runs").exists());
}

#[test]
fn a_slow_download_says_how_much_has_come() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            reader.read_line(&mut line).unwrap();
            let file = json!({"rfilename": "m-Q8_0.gguf", "size": 10000, "lfs": {
                "sha256": "0".repeat(64), "size": 10000, "pointerSize": 1
            }});
            let list = json!({"sha": "0123456789abcdef0123456789abcdef01234567", "siblings": [file]}).to_string();
            if line.contains("/api/models/") {
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{list}",
                    list.len()
                );
                continue;
            }
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 10000\r\nconnection: close\r\n\r\n");
            for _ in 0..10 {
                let _ = stream.write_all(&[0; 1000]);
                std::thread::sleep(Duration::from_millis(150));
            }
        }
    });
    let place = Place(tempfile::tempdir().unwrap());
    let mut command = place.meno(&["pull", "org/slow:Q8_0"]);
    command.env("HF_ENDPOINT", address).env("HF_HOME", place.path("hub")).env("MENO_PROGRESS_SECONDS", "0.2");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("m-Q8_0.gguf  10 kB\n"), "{said}");
    let told: Vec<&str> = said.lines().filter(|l| l.contains(" of 10 kB, ") && l.contains("kB/s")).collect();
    assert!(told.len() >= 3 && told.len() < 30, "{said}");
}

#[test]
fn steps_of_training_tell_the_time_that_is_left() {
    let place = Place::new();
    let args = place.pretraining(4);
    let start = Instant::now();
    let output = place.meno(&strings(&args)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.lines().any(|l| l.starts_with("step 1/4") && l.ends_with(" left")), "{said}");
    assert!(said.contains("done: 4 steps"), "{said} after {:?}", start.elapsed());
}
