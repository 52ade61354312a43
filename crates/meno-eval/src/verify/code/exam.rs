//! Tests the values of a program. The program runs in one jail, the judge that runs the tests in another, with two
//! pipes between them. The judge writes its report to a file that only the judge and Meno can access.

use super::output::quote;
use super::run;
use super::suite::{EvalPlusInputs, Rules, Test, Tests};
use crate::error::Error;
use crate::sandbox::{End, Job, Limits, Sandbox};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

const PROGRAM: &str = concat!(include_str!("values.py"), "\n\n", include_str!("program.py"));
const EXAMINER: &str =
    concat!(include_str!("values.py"), "\n\n", include_str!("objects.py"), "\n\n", include_str!("examiner.py"));

/// The total time limit grows with the number of calls up to this number.
const MAX_TIMED_CALLS: u32 = 12;

/// The input of the judge.
#[derive(Serialize)]
struct JudgeInput<'a> {
    mark: &'a str,
    seconds: f64,
    call_seconds: f64,
    function: Option<&'a str>,
    scripts: Vec<&'a str>,
    calls: Vec<String>,
    rules: Rules,
    setup: &'a str,
    prompt: Option<&'a str>,
    entry: Option<&'a str>,
    plus: Option<&'a EvalPlusInputs>,
}

/// The input of the program's side.
#[derive(Serialize)]
struct ProgramInput<'a> {
    imports: Vec<&'a str>,
    setup: &'a str,
    prompt: Option<&'a str>,
    entry: Option<&'a str>,
    cpu_seconds: u64,
}

/// The report of the judge.
#[derive(Deserialize)]
struct Report {
    status: Status,
    reason: String,
    test: usize,
    expected: Option<String>,
    got: Option<String>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Right,
    Wrong,
    /// The program has ended.
    Ended,
    /// The tests are broken.
    Tests,
}

/// The reason why a program fails the calls and scripts; `None` if it passes.
pub(super) fn failure(sandbox: &Sandbox, program: &str, tests: &Tests) -> Result<Option<String>, Error> {
    let failed = |what: &str, e: std::io::Error| Error::Sandbox(format!("{what}: {e}"));
    let limits = sandbox.limits();
    let calls = calls(tests);
    let times = (calls.len() as u32).max(if tests.plus.is_some() { 3 } else { 1 }).min(MAX_TIMED_CALLS);
    let wall = limits.wall * times;
    let mark = mark().map_err(|e| failed("reading random bytes", e))?;
    let (orders, plan) = inputs(tests, calls, &mark, wall, &limits).map_err(|e| Error::Tests(e.to_string()))?;

    let (requests, ask) = std::io::pipe().map_err(|e| failed("a pipe", e))?;
    let (replies, answer) = std::io::pipe().map_err(|e| failed("a pipe", e))?;
    let mut report = tempfile::tempfile().map_err(|e| failed("the file of the report", e))?;
    let report_to: OwnedFd = report.try_clone().map_err(|e| failed("the file of the report", e))?.into();

    let limits = Limits { cpu_seconds: limits.cpu_seconds * u64::from(times), ..limits };
    let (requests, answer) = (Some(requests.into()), Some(answer.into()));
    let files: [(&str, &[u8]); 3] = [("side.py", PROGRAM.as_bytes()), ("program", program.as_bytes()), ("plan", &plan)];
    let job = sandbox.job(sandbox.python(), &["../side.py"]);
    let mut side = sandbox.start(Job { files: &files, limits, stdin: requests, stdout: answer, ..job })?;

    let limits = Limits { output_bytes: limits.output_bytes.max(1 << 20), ..limits };
    let (replies, ask) = (Some(replies.into()), Some(ask.into()));
    let files: [(&str, &[u8]); 2] = [("judge.py", EXAMINER.as_bytes()), ("job", &orders)];
    let job = sandbox.job(sandbox.python(), &["../judge.py"]);
    let stderr = Some(report_to);
    let mut judge = sandbox.start(Job { files: &files, limits, stdin: replies, stdout: ask, stderr, ..job })?;

    let code = judge.wait(Instant::now() + wall + Duration::from_secs(2))?;
    let text = read(&mut report).map_err(|e| failed("reading the report", e))?;
    match text.split_once(&mark).map(|(_, line)| serde_json::from_str::<Report>(line.trim_end())) {
        Some(Ok(report)) => match report.status {
            Status::Right => Ok(None),
            Status::Wrong => Ok(Some(describe(&report))),
            Status::Tests => Err(Error::Tests(report.reason)),
            // The program's exit status gives the reason, if it ends promptly.
            Status::Ended => Ok(Some(match side.wait(Instant::now() + Duration::from_secs(1))? {
                Some(End::Failed(124)) => run::ended(End::OutOfCpu, "", &sandbox.limits()),
                Some(End::Done) | None => report.reason,
                Some(end) => run::ended(end, "", &sandbox.limits()),
            })),
        },
        // Until it is ready, the judge handles only trusted input. A failure before that is a failure of Meno.
        _ if !text.starts_with("ready\n") => {
            let last = text.trim().lines().last().map(quote).unwrap_or_default();
            Err(Error::Sandbox(format!("the judge of programs did not start: it ended with {code:?} {last}")))
        }
        _ if code.is_none() => Ok(Some("time limit exceeded".to_owned())),
        _ => Ok(Some("the tests exceeded the limits of memory or CPU time with this program's answers".to_owned())),
    }
}

/// The inputs of the judge and of the program's side, as JSON.
fn inputs(
    tests: &Tests,
    calls: Vec<String>,
    mark: &str,
    wall: Duration,
    limits: &Limits,
) -> serde_json::Result<(Vec<u8>, Vec<u8>)> {
    let (prompt, entry) = tests.prompt.as_ref().map(|(p, e)| (p.as_str(), e.as_str())).unzip();
    let judge = JudgeInput {
        mark,
        seconds: wall.as_secs_f64(),
        call_seconds: limits.wall.as_secs_f64(),
        function: tests.function.as_deref(),
        scripts: tests
            .tests
            .iter()
            .filter_map(|t| if let Test::Script(s) = t { Some(s.as_str()) } else { None })
            .collect(),
        calls,
        rules: tests.rules,
        setup: &tests.setup,
        prompt,
        entry,
        plus: tests.plus.as_ref(),
    };
    let imports = run::imports(tests.preamble).lines().collect();
    let program = ProgramInput { imports, setup: &tests.setup, prompt, entry, cpu_seconds: limits.cpu_seconds };
    Ok((serde_json::to_vec(&judge)?, serde_json::to_vec(&program)?))
}

/// The calls as JSON texts for the judge.
fn calls(tests: &Tests) -> Vec<String> {
    let text = |test: &Test| match test {
        Test::Case { input, output } if tests.function.is_some() => {
            Some(serde_json::json!({ "input": input, "output": output }).to_string())
        }
        Test::Packed { packed } => Some(packed.clone()),
        _ => None,
    };
    tests.tests.iter().filter_map(text).collect()
}

/// 128 random bits as text.
fn mark() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read(file: &mut File) -> std::io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(1 << 20).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Describes a report in words.
fn describe(report: &Report) -> String {
    let mut text = if report.test > 0 { format!("test {}: ", report.test) } else { String::new() };
    text += &report.reason;
    if let Some(expected) = &report.expected {
        text += &format!("; expected {expected}");
    }
    if let Some(got) = &report.got {
        text += &format!(", got {got}");
    }
    text
}
