//! Runs programs that read and write text: compiles once if needed, then runs on every input.

use super::output::{self, quote};
use super::suite::{Preamble, Rules, Test, Tests};
use crate::error::Error;
use crate::sandbox::{End, Job, Language, Limits, RunOutput, Sandbox, Tool};
use std::time::Duration;

/// The imports of LiveCodeBench's checker (`import_string`), one per line.
const LIVE_CODE_BENCH: &str = include_str!("imports_livecodebench.txt");
/// The imports of APPS' checker, one per line.
const APPS: &str = include_str!("imports_apps.txt");

/// The lines of a preamble.
pub(super) fn imports(preamble: Preamble) -> &'static str {
    match preamble {
        Preamble::None => "",
        Preamble::LiveCodeBench => LIVE_CODE_BENCH,
        Preamble::Apps => APPS,
    }
}

/// A program that is ready to run.
enum Runnable<'a> {
    Python { program: &'a str, imports: &'a str },
    Node { program: &'a str },
    Binary(Vec<u8>),
}

/// The reason why a program fails one of the text tests; `None` if it passes all.
pub(super) fn failure(
    sandbox: &Sandbox,
    language: Language,
    program: &str,
    tests: &Tests,
) -> Result<Option<String>, Error> {
    let ready = match language {
        Language::Python => Runnable::Python { program, imports: imports(tests.preamble) },
        Language::JavaScript => Runnable::Node { program },
        Language::Cpp | Language::Rust => match compile(sandbox, language, program)? {
            Ok(binary) => Runnable::Binary(binary),
            Err(message) => return Ok(Some(format!("does not compile: {message}"))),
        },
    };
    for (number, test) in tests.tests.iter().enumerate() {
        let Test::Case { input, output } = test else { continue };
        let ran = run(sandbox, &ready, input, output.len() as u64)?;
        if let Some(reason) = differs(&ran, output, tests.rules, &sandbox.limits()) {
            return Ok(Some(format!("test {}: {reason}", number + 1)));
        }
    }
    Ok(None)
}

/// The reason why a run is wrong; `None` if it is right.
fn differs(ran: &RunOutput, wanted: &str, rules: Rules, limits: &Limits) -> Option<String> {
    let last = || ran.errors.trim().lines().last().map(quote).unwrap_or_default();
    if ran.end != End::Done {
        return Some(ended(ran.end, &last(), limits));
    }
    let Ok(got) = std::str::from_utf8(&ran.output) else { return Some("the output is not UTF-8".to_owned()) };
    if output::same(got, wanted, rules) {
        return None;
    }
    Some(format!("expected {}, got {}", quote(wanted), quote(got)))
}

/// Describes how a failed program ended.
pub(super) fn ended(end: End, last: &str, limits: &Limits) -> String {
    let code = match end {
        End::OutOfTime => return format!("time limit ({} s) exceeded", limits.wall.as_secs()),
        End::OutOfCpu => return format!("CPU time limit ({} s) exceeded", limits.cpu_seconds),
        End::OutOfMemory => return "memory limit exceeded".to_owned(),
        End::Done => 0,
        End::Failed(code) => code,
    };
    match code - 128 {
        libc::SIGKILL | libc::SIGXCPU => format!("CPU time limit ({} s) exceeded", limits.cpu_seconds),
        libc::SIGSEGV | libc::SIGBUS => format!("crashed (signal {}), or memory limit exceeded", code - 128),
        libc::SIGABRT => format!("aborted {last}"),
        1.. => format!("killed by signal {}", code - 128),
        _ if last.contains("MemoryError") || last.contains("bad_alloc") => "memory limit exceeded".to_owned(),
        _ => format!("failed with exit code {code} {last}").trim_end().to_owned(),
    }
}

/// Runs a program on one input; `expected` is the length of the right output in bytes.
fn run(sandbox: &Sandbox, ready: &Runnable, input: &str, expected: u64) -> Result<RunOutput, Error> {
    let limits = sandbox.limits();
    let limits = Limits { output_bytes: limits.output_bytes.max(2 * expected + 4096), ..limits };
    let input = Some(input.as_bytes());
    match ready {
        Runnable::Python { program, imports } => {
            let files: [(&str, &[u8]); 3] = [
                ("stdin.py", include_bytes!("stdin.py")),
                ("program", program.as_bytes()),
                ("imports", imports.as_bytes()),
            ];
            sandbox.capture(Job { files: &files, limits, input, ..sandbox.job(sandbox.python(), &["../stdin.py"]) })
        }
        Runnable::Node { program } => {
            let module = program.lines().any(|l| l.starts_with("import ") || l.starts_with("export "));
            let name = if module { "program.mjs" } else { "program.cjs" };
            let heap = format!("--max-old-space-size={}", limits.memory_bytes >> 20);
            let path = format!("../{name}");
            let files: [(&str, &[u8]); 1] = [(name, program.as_bytes())];
            let tool = sandbox.tool(Language::JavaScript)?;
            sandbox.capture(Job { files: &files, limits, input, ..sandbox.job(tool, &[&heap, &path]) })
        }
        Runnable::Binary(binary) => {
            let files: [(&str, &[u8]); 1] = [("binary", binary)];
            let tool = Tool::from_job_file("../binary");
            sandbox.capture(Job { files: &files, limits, input, ..sandbox.job(&tool, &[]) })
        }
    }
}

/// Compiles a program in a separate jail. Returns the first error of the compiler if compilation fails.
fn compile(sandbox: &Sandbox, language: Language, program: &str) -> Result<Result<Vec<u8>, String>, Error> {
    let (name, arguments) = match language {
        // rustc's bundled linker reads its own location from /proc.
        Language::Rust => {
            ("program.rs", "--edition 2021 -C opt-level=2 -C codegen-units=1 -C strip=symbols -C link-arg=-fuse-ld=bfd")
        }
        _ => ("program.cpp", "-std=c++17 -O2 -s -w"),
    };
    let tool = sandbox.tool(language)?;
    let limits = Limits {
        wall: Duration::from_secs(60),
        cpu_seconds: 30,
        memory_bytes: 4 << 30,
        processes: 64,
        output_bytes: 64 << 20,
        files_bytes: 256 << 20,
    };
    // The shell receives the compiler as $0. The working directory is deleted at the end, so the script writes the
    // program to its output.
    let script = format!("\"$0\" {arguments} -o program ../{name} && cat program");
    let files: [(&str, &[u8]); 1] = [(name, program.as_bytes())];
    let ran = sandbox.capture(Job { files: &files, limits, script: Some(&script), ..sandbox.job(tool, &[]) })?;
    Ok(match ran.end {
        End::Done => Ok(ran.output),
        End::OutOfTime => Err("the compiler exceeded its time limit".to_owned()),
        _ => {
            let line = ran.errors.lines().find(|line| line.contains("error")).or_else(|| ran.errors.lines().next());
            Err(line.map(quote).unwrap_or_else(|| "the compiler exceeded its limits".to_owned()))
        }
    })
}
