//! Bad input, tested through the binary: a clear message on one line, exit code 1, no panic, and no memory
//! allocated from a forged number.

#![allow(clippy::unwrap_used)] // a test may fail by panicking
#![cfg(unix)]

mod files;
mod hostile;
#[path = "../common/letters.rs"]
mod letters;
mod runs;
#[path = "../common/signals.rs"]
mod signals;
mod training;

use letters::CONFIG;
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Address space limit of a command: far more than the small files need, far less than the forged sizes demand.
const MEMORY: libc::rlim_t = 8 << 30;
/// CPU time limit of a command: several times the longest expected run.
const CPU_SECONDS: libc::rlim_t = 30;

fn meno(args: &[&str]) -> Command {
    limited(args, libc::RLIM_INFINITY)
}

/// The command, with a disk that is full after `file_size` bytes of any file, and the limits [`MEMORY`] and
/// [`CPU_SECONDS`].
fn limited(args: &[&str], file_size: libc::rlim_t) -> Command {
    let mut command = signals::meno();
    command.args(args).stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    let limit = |n| libc::rlimit { rlim_cur: n, rlim_max: n };
    // SAFETY: setrlimit and signal are async-signal-safe, and they only change the child.
    unsafe {
        command.pre_exec(move || {
            libc::setrlimit(libc::RLIMIT_AS, &limit(MEMORY));
            libc::setrlimit(libc::RLIMIT_FSIZE, &limit(file_size));
            libc::setrlimit(libc::RLIMIT_CPU, &limit(CPU_SECONDS));
            // Otherwise the limit kills the process instead of failing the write, as a full disk does.
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            Ok(())
        });
    }
    command
}

/// Asserts that the command fails with a user error, on one line that contains all of `expected`.
#[track_caller]
fn refused(args: &[&str], expected: &[&str]) {
    fails(&mut meno(args), expected);
}

#[track_caller]
fn fails(command: &mut Command, expected: &[&str]) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{command:?}: {stderr}");
    let errors: Vec<&str> = stderr.lines().filter(|l| l.starts_with("error: ")).collect();
    let [error] = errors[..] else { panic!("{command:?}: expected one line of error: {stderr}") };
    assert!(stderr.ends_with(&format!("{error}\n")), "{command:?}: more after the error: {stderr}");
    for part in expected {
        assert!(error.contains(part), "{command:?}: {error:?} does not say {part:?}");
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../meno-model/tests/golden/gguf").join(name)
}

/// A directory of bad files.
struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Dir {
        Dir(tempfile::tempdir().unwrap())
    }
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

/// CONFIG with one key set, or removed if the value is null.
fn config_with(key: &str, value: Value) -> String {
    let mut config: Value = serde_json::from_str(CONFIG).unwrap();
    match value {
        Value::Null => drop(config.as_object_mut().unwrap().remove(key)),
        value => config[key] = value,
    }
    config.to_string()
}
