//! Runs untrusted programs in a sandbox: Linux namespaces, a private file system, Landlock, a system call filter and
//! resource limits. If any of these is unavailable, nothing runs.
//!
//! A program runs in new user, mount, process, network, IPC, host name and control group namespaces. Process 1 of the
//! process namespace is Meno's own init (`inside`). The init ends when the program ends, when Meno kills it, or when
//! Meno exits; the kernel then kills every other process in the namespace, whatever it does to survive. The file system
//! holds read-only views of the tool and the system libraries, the job's files and one small writable directory in
//! memory. The machine's own file system is not reachable. Landlock enforces the same file access a second time. A
//! filter answers every system call that is not listed (`calls`) with ENOSYS.
//!
//! The kernel limits the CPU time, memory and files of each process, and the number of processes. Meno monitors what
//! all processes use together (`usage`). If this machine cannot enforce a part, the sandbox returns an error that names
//! it and never runs with weaker protection. The sandbox does not protect against bugs in the kernel.

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
#[cfg(target_os = "linux")]
mod layers;
mod tools;
#[cfg(target_os = "linux")]
mod usage;

pub use job::{End, Limits, Outcome};
pub(crate) use job::{Job, RunOutput};
pub use language::Language;
pub(crate) use tools::Tool;

use crate::error::Error;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// A sandbox for one Python interpreter, which is tested when the sandbox opens. Compilers for other languages are
/// located on first use.
#[derive(Clone, Debug)]
pub struct Sandbox {
    python: Tool,
    limits: Limits,
    others: Arc<OtherTools>,
}

/// The tools of the other languages, located once.
#[derive(Debug, Default)]
struct OtherTools {
    cpp: OnceLock<Result<Tool, String>>,
    rust: OnceLock<Result<Tool, String>>,
    javascript: OnceLock<Result<Tool, String>>,
}

/// The names of the sandbox's layers in setup order. If one cannot be set up, `Sandbox::open` returns an
/// [`Error::Layer`] with its name.
pub fn layers() -> Vec<&'static str> {
    #[cfg(target_os = "linux")]
    return layers::LAYERS.iter().map(|&(_, name)| name).collect();
    #[cfg(not(target_os = "linux"))]
    Vec::new()
}

/// Leaves an orphan that uses CPU time and exits, then sleeps.
const SELF_TEST: &str = "
import os, time
if os.fork() == 0:
    if os.fork() == 0:
        while time.process_time() < 0.1: pass
    os._exit(0)
os.wait()
time.sleep(1000)
";

impl Sandbox {
    /// Opens a sandbox for programs of `interpreter` (a path, or a name that is looked up in `PATH`). Runs test
    /// programs first, so a machine that cannot isolate, monitor or kill programs returns an error here.
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
        let files: [(&str, &[u8]); 1] = [("program", SELF_TEST.as_bytes())];
        jail::self_test(Job { files: &files, limits, ..sandbox.job(&sandbox.python, &["../program"]) })?;
        Ok(sandbox)
    }

    /// The path of the compiler or interpreter for a language.
    pub fn path_of(&self, language: Language) -> Result<&Path, Error> {
        self.tool(language).map(|tool| tool.path.as_path())
    }

    /// The resource limits of programs.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Runs `program` with `input` on its standard input.
    pub fn run(&self, program: &str, input: &str) -> Result<Outcome, Error> {
        let ran = self.capture(Job {
            files: &[("program", program.as_bytes())],
            input: Some(input.as_bytes()),
            ..self.job(&self.python, &["../program"])
        })?;
        Ok(Outcome { output: String::from_utf8_lossy(&ran.output).into_owned(), end: ran.end })
    }

    /// The Python interpreter.
    pub(crate) fn python(&self) -> &Tool {
        &self.python
    }

    /// The compiler or interpreter for a language.
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

    /// A job that runs a tool with these arguments and nothing else.
    pub(crate) fn job<'a>(&self, tool: &'a Tool, args: &'a [&'a str]) -> Job<'a> {
        let limits = self.limits;
        Job { tool, args, files: &[], script: None, limits, input: None, stdin: None, stdout: None, stderr: None }
    }

    /// Runs a job until it ends and reads its output.
    pub(crate) fn capture(&self, job: Job) -> Result<RunOutput, Error> {
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
        Ok(RunOutput { output: read(output, limits.output_bytes)?, errors, end })
    }

    /// Starts a job without waiting for it.
    pub(crate) fn start(&self, job: Job) -> Result<jail::Jail, Error> {
        jail::Jail::start(job)
    }
}

/// Reads a program's output from the start; the program shares the file's position.
fn read_back(mut file: File, most: u64) -> std::io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
