//! A job of the sandbox: what runs, what it may use, how it ended.

use super::tools::Tool;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What a program may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Time of a run.
    pub wall: Duration,
    /// CPU seconds of all its processes together.
    pub cpu_seconds: u64,
    /// Address space of each process, and memory of all of them together.
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
    /// Its processes used more CPU time than allowed.
    OutOfCpu,
    /// Its processes held more memory than allowed.
    OutOfMemory,
}

/// What a run left.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What it wrote to its standard output.
    pub output: String,
    /// How it ended.
    pub end: End,
}

/// One process to start.
pub(crate) struct Job<'a> {
    pub(crate) tool: &'a Tool,
    /// Its arguments; files are at `../NAME`, seen from its working directory.
    pub(crate) args: &'a [&'a str],
    /// Files that it can read and run, at the root of its file system.
    pub(crate) files: &'a [(&'a str, &'a [u8])],
    /// A shell script to run instead; `$0` is the tool.
    pub(crate) script: Option<&'a str>,
    pub(crate) limits: Limits,
    /// What it reads from standard input, if that is not `stdin`.
    pub(crate) input: Option<&'a [u8]>,
    /// Its streams; `/dev/null` where there is none.
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

/// What a run left, with its errors.
pub(crate) struct Ran {
    pub(crate) output: Vec<u8>,
    /// The end of what it wrote to standard error.
    pub(crate) errors: String,
    pub(crate) end: End,
}
