//! Runs programs that nobody has read: Linux namespaces, Landlock and resource limits, or not at all.
//!
//! A program gets a fresh user, mount, process, network and IPC namespace: no network, no process but its own, a small
//! file system in memory as its only writable place, reading allowed only of the system's directories and of the
//! interpreter's. CPU time, memory of a process, number of processes, file size and wall time are bounded; when
//! its time is over the whole namespace dies at once. What this machine cannot give is an error, never a weaker
//! cage. What it does not guard against is a hole in the kernel itself; there is no filter of system calls.

use crate::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a program may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Wall time of a run.
    pub wall: Duration,
    /// CPU seconds of a process.
    pub cpu_seconds: u64,
    /// Address space of a process.
    pub memory_bytes: u64,
    /// Processes and threads at once.
    pub processes: u64,
    /// Bytes of its output, and of any file it writes.
    pub output_bytes: u64,
    /// Bytes of all files it writes together.
    pub files_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            wall: Duration::from_secs(10),
            cpu_seconds: 6,
            memory_bytes: 1 << 30,
            processes: 16,
            output_bytes: 1 << 20,
            files_bytes: 16 << 20,
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With exit code 0.
    Done,
    /// With this exit code; 128 and above is a signal (a limit among them).
    Failed(i32),
    /// It was killed when its wall time was over.
    OutOfTime,
}

/// What a run left.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What it wrote to its standard output.
    pub output: String,
    /// How it ended.
    pub end: End,
}

/// A cage around one interpreter, tried before it is trusted.
#[derive(Clone, Debug)]
pub struct Sandbox {
    interpreter: PathBuf,
    limits: Limits,
}

impl Sandbox {
    /// A cage for programs of `interpreter` (a path, or a name looked up in `PATH`). Runs a program in it first: a
    /// machine that cannot hold it is an error here.
    pub fn open(interpreter: &Path, limits: Limits) -> Result<Sandbox, Error> {
        let interpreter = find(interpreter)
            .ok_or_else(|| Error::Sandbox(format!("there is no `{}` to run programs with", interpreter.display())))?;
        let sandbox = Sandbox { interpreter, limits };
        let tried = sandbox.run("print(6 * 7)", "")?;
        if tried != (Outcome { output: "42\n".into(), end: End::Done }) {
            let message = format!("`print(6 * 7)` by {} gave {tried:?}", sandbox.interpreter.display());
            return Err(Error::Sandbox(message));
        }
        Ok(sandbox)
    }

    /// Runs `program` with `input` as its standard input.
    pub fn run(&self, program: &str, input: &str) -> Result<Outcome, Error> {
        cage::run(&self.interpreter, &self.limits, program, input)
    }
}

/// The file of an interpreter, links followed.
fn find(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return name.canonicalize().ok();
    }
    std::env::split_paths(&std::env::var_os("PATH")?).find_map(|dir| {
        let file = dir.join(name).canonicalize().ok()?;
        // A shim that is a script finds its interpreter in a home directory: the next one in PATH, then.
        let mut magic = [0; 4];
        std::io::Read::read_exact(&mut std::fs::File::open(&file).ok()?, &mut magic).ok()?;
        (magic == *b"\x7fELF").then_some(file)
    })
}

#[cfg(not(target_os = "linux"))]
mod cage {
    use super::*;
    pub(super) fn run(_: &Path, _: &Limits, _: &str, _: &str) -> Result<Outcome, Error> {
        Err(Error::Sandbox("it is made of what Linux offers, and this is another system".into()))
    }
}

#[cfg(target_os = "linux")]
mod cage;
