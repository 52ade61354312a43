//! Runs programs that nobody has read: Linux namespaces, a file system of their own, Landlock, a filter of system calls
//! and limits, or not at all.
//!
//! A program is a process of fresh user, mount, process, network, IPC, host name and control group namespaces. Process
//! 1 there is an init of Meno's own (`inside`), which ends with the program, when Meno kills it and when Meno is gone;
//! the kernel then kills whatever else runs in the namespace, whatever it did to survive. The file system holds
//! read-only views of the tool and the system's libraries, the job's files and one small writable directory in memory;
//! the machine's own is not there any more. Landlock guards the same files a second time, and a filter answers every
//! system call that is not listed (`calls`) as if the kernel did not have it.
//!
//! The kernel limits each process (CPU time, memory, files) and their number; Meno watches what all of them use
//! together (`usage`). What this machine cannot enforce is an error that names the missing part, never a weaker
//! sandbox. It does not guard against a bug in the kernel itself.

#[cfg(target_os = "linux")]
mod cage;
#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod inside;
mod language;
mod tools;
#[cfg(target_os = "linux")]
mod usage;
#[cfg(target_os = "linux")]
mod walls;

pub use language::Language;
pub(crate) use tools::Tool;

use crate::error::Error;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

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

/// A sandbox around one interpreter, tried before it is trusted, and around the compilers that are found when they are
/// needed.
#[derive(Clone, Debug)]
pub struct Sandbox {
    python: Tool,
    limits: Limits,
    others: Arc<Others>,
}

/// The tools of the other languages: looked for once.
#[derive(Debug, Default)]
struct Others {
    cpp: OnceLock<Result<Tool, String>>,
    rust: OnceLock<Result<Tool, String>>,
    javascript: OnceLock<Result<Tool, String>>,
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

/// The names of the walls, in the order in which they are built: when one cannot be, `Sandbox::open` gives an
/// [`Error::Wall`] with its name.
pub fn walls() -> Vec<&'static str> {
    #[cfg(target_os = "linux")]
    return walls::WALLS.iter().map(|&(_, name)| name).collect();
    #[cfg(not(target_os = "linux"))]
    Vec::new()
}

/// Leaves an orphan that uses CPU time and ends, and then sleeps.
const REHEARSAL: &str = "
import os, time
if os.fork() == 0:
    if os.fork() == 0:
        while time.process_time() < 0.1: pass
    os._exit(0)
os.wait()
time.sleep(1000)
";

impl Sandbox {
    /// A sandbox for programs of `interpreter` (a path, or a name looked up in `PATH`). Runs programs in it first: a
    /// machine that cannot hold, watch or end them is an error here.
    pub fn open(interpreter: &Path, limits: Limits) -> Result<Sandbox, Error> {
        let python = Tool::find(interpreter).map_err(Error::Sandbox)?;
        if !usage::is_visible() {
            return Err(Error::Sandbox(
                "/proc does not show this process, so the CPU time and memory of programs cannot be bounded. Mount \
                 the /proc of this process namespace (docker does, unless --pid or a mount hides it)"
                    .to_owned(),
            ));
        }
        let sandbox = Sandbox { python, limits, others: Arc::default() };
        let tried = sandbox.run("print(6 * 7)", "")?;
        if tried != (Outcome { output: "42\n".into(), end: End::Done }) {
            let message = format!("`print(6 * 7)` by {} gave {tried:?}", interpreter.display());
            return Err(Error::Sandbox(message));
        }
        let limits = Limits::default();
        let files: [(&str, &[u8]); 1] = [("program", REHEARSAL.as_bytes())];
        cage::rehearse(Job { files: &files, limits, ..sandbox.job(&sandbox.python, &["../program"]) })?;
        Ok(sandbox)
    }

    /// Where the compiler or interpreter of a language is.
    pub fn path_of(&self, language: Language) -> Result<&Path, Error> {
        self.tool(language).map(|tool| tool.path.as_path())
    }

    /// What programs may use.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Runs `program` with `input` as its standard input.
    pub fn run(&self, program: &str, input: &str) -> Result<Outcome, Error> {
        let ran = self.capture(Job {
            files: &[("program", program.as_bytes())],
            input: Some(input.as_bytes()),
            ..self.job(&self.python, &["../program"])
        })?;
        Ok(Outcome { output: String::from_utf8_lossy(&ran.output).into_owned(), end: ran.end })
    }

    /// The interpreter.
    pub(crate) fn python(&self) -> &Tool {
        &self.python
    }

    /// The compiler or interpreter of a language.
    pub(crate) fn tool(&self, language: Language) -> Result<&Tool, Error> {
        let find = |names: &[&str], what: &str| {
            let tried = names.iter().map(|name| Tool::find(Path::new(name)));
            let mut reasons = Vec::new();
            for tool in tried {
                match tool {
                    Ok(tool) => return Ok(tool),
                    Err(reason) => reasons.push(reason),
                }
            }
            Err(format!("an answer is a {language} program: {}; install {what}", reasons.join("; ")))
        };
        let found = match language {
            Language::Python => return Ok(&self.python),
            Language::Cpp => self.others.cpp.get_or_init(|| find(&["g++", "clang++"], "g++ or clang++")),
            Language::Rust => self.others.rust.get_or_init(|| find(&["rustc"], "Rust from rustup.rs")),
            Language::JavaScript => self.others.javascript.get_or_init(|| find(&["node", "nodejs"], "Node.js")),
        };
        found.as_ref().map_err(|reason| Error::Sandbox(reason.clone()))
    }

    /// A job of a tool with these arguments and nothing else.
    pub(crate) fn job<'a>(&self, tool: &'a Tool, args: &'a [&'a str]) -> Job<'a> {
        let limits = self.limits;
        Job { tool, args, files: &[], script: None, limits, input: None, stdin: None, stdout: None, stderr: None }
    }

    /// Runs a job to its end and reads what it wrote.
    pub(crate) fn capture(&self, job: Job) -> Result<Ran, Error> {
        let file = || tempfile::tempfile().map_err(|e| Error::Sandbox(format!("the file of the output: {e}")));
        let (output, errors) = (file()?, file()?);
        let shared =
            |f: &File| f.try_clone().map(OwnedFd::from).map_err(|e| Error::Sandbox(format!("the output: {e}")));
        let (stdout, stderr) = (Some(shared(&output)?), Some(shared(&errors)?));
        let limits = job.limits;
        let deadline = Instant::now() + limits.wall;
        let mut caged = cage::Caged::start(Job { stdout, stderr, ..job })?;
        let end = caged.wait(deadline)?.unwrap_or(End::OutOfTime);
        drop(caged);
        let read = |file, most| read_back(file, most).map_err(|e| Error::Sandbox(format!("reading the output: {e}")));
        let errors = String::from_utf8_lossy(&read(errors, limits.output_bytes)?).into_owned();
        Ok(Ran { output: read(output, limits.output_bytes)?, errors, end })
    }

    /// Starts a job and lets it run.
    pub(crate) fn start(&self, job: Job) -> Result<cage::Caged, Error> {
        cage::Caged::start(job)
    }
}

/// What a program wrote; it shares the file's position with it.
fn read_back(mut file: File, most: u64) -> std::io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(not(target_os = "linux"))]
mod cage {
    use super::*;

    pub(crate) fn rehearse(_: Job) -> Result<(), Error> {
        Err(Error::Sandbox("it needs Linux: user namespaces and Landlock".into()))
    }

    /// No process: this system has no cage for it.
    pub(crate) enum Caged {}

    impl Caged {
        pub(crate) fn start(_: Job) -> Result<Caged, Error> {
            Err(Error::Sandbox("it needs Linux: user namespaces and Landlock".into()))
        }

        pub(crate) fn wait(&mut self, _: Instant) -> Result<Option<End>, Error> {
            match *self {}
        }
    }
}
