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
mod calls;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod inside;
#[cfg(target_os = "linux")]
mod jail;
#[cfg(not(target_os = "linux"))]
#[path = "sandbox/unsupported.rs"]
mod jail;
mod job;
mod language;
mod tools;
#[cfg(target_os = "linux")]
mod usage;
#[cfg(target_os = "linux")]
mod walls;

pub use job::{End, Limits, Outcome};
pub(crate) use job::{Job, Ran};
pub use language::Language;
pub(crate) use tools::Tool;

use crate::error::Error;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

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
        jail::rehearse(Job { files: &files, limits, ..sandbox.job(&sandbox.python, &["../program"]) })?;
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
        let mut jail = jail::Jail::start(Job { stdout, stderr, ..job })?;
        let end = jail.wait(deadline)?.unwrap_or(End::OutOfTime);
        drop(jail);
        let read = |file, most| read_back(file, most).map_err(|e| Error::Sandbox(format!("reading the output: {e}")));
        let errors = String::from_utf8_lossy(&read(errors, limits.output_bytes)?).into_owned();
        Ok(Ran { output: read(output, limits.output_bytes)?, errors, end })
    }

    /// Starts a job and lets it run.
    pub(crate) fn start(&self, job: Job) -> Result<jail::Jail, Error> {
        jail::Jail::start(job)
    }
}

/// What a program wrote; it shares the file's position with it.
fn read_back(mut file: File, most: u64) -> std::io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
