//! A job of the sandbox: what to run, its limits, its result.

use super::tools::Tool;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The resource limits of a program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Wall time of a run.
    pub wall: Duration,
    /// CPU seconds of all processes together.
    pub cpu_seconds: u64,
    /// Address space of each process, and memory of all processes together, in bytes.
    pub memory_bytes: u64,
    /// Concurrent processes and threads.
    pub processes: u64,
    /// Size of the output, and of any single file, in bytes.
    pub output_bytes: u64,
    /// Total size of all written files, in bytes.
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
    /// With this exit code; 128 and above: killed by a signal (which may be a limit).
    Failed(i32),
    /// Killed when the wall time was over.
    OutOfTime,
    /// Its processes exceeded the CPU time limit.
    OutOfCpu,
    /// Its processes exceeded the memory limit.
    OutOfMemory,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The program's standard output.
    pub output: String,
    /// How it ended.
    pub end: End,
}

/// A process to start.
pub(crate) struct Job<'a> {
    pub(crate) tool: &'a Tool,
    /// Its arguments. Files are at `../NAME` relative to the working directory.
    pub(crate) args: &'a [&'a str],
    /// Files that the process can read and execute, in the root of its file system.
    pub(crate) files: &'a [(&'a str, &'a [u8])],
    /// A shell script to run instead of the tool; `$0` is the tool.
    pub(crate) script: Option<&'a str>,
    pub(crate) limits: Limits,
    /// The content of standard input, if `stdin` is not set.
    pub(crate) input: Option<&'a [u8]>,
    /// The standard streams; `None` is `/dev/null`.
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

/// The result of a run, including its error output.
pub(crate) struct RunOutput {
    pub(crate) output: Vec<u8>,
    /// The end of its standard error.
    pub(crate) errors: String,
    pub(crate) end: End,
}
