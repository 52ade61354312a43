//! Programs: checks that the code in a response passes its tests. Programs run only in a [`Sandbox`].
//!
//! There are three kinds of tests: text on standard input and output; calls of a Python function with JSON arguments
//! and result; Python scripts with assertions. The program under test never sees the expected results and never takes
//! part in the verdict. Its output is compared here. Its values travel as plain data to a judge in a separate jail
//! (`examiner.py`), which rebuilds and compares them. `docs/verifiers-programs.md` describes the rules of each
//! benchmark and the trust model.

mod blocks;
mod exam;
mod output;
mod run;
mod suite;

pub use suite::{EvalPlusInputs, Preamble, Rules, Test, Tests};

use super::judgement::Verdict;
use crate::error::Error;
use crate::sandbox::{Language, Sandbox};
use serde::Serialize;

/// The judgement of a response.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The program that was judged.
    pub program: Option<String>,
    /// Its language.
    pub language: Option<Language>,
    /// The reason: the failed test with the expected and the actual result, the exceeded limit, the exception, or what
    /// is missing.
    pub reason: String,
}

/// Judges a response. Returns an error if no judgement is possible: the sandbox failed, a compiler is missing, or the
/// tests are broken.
pub fn judge(sandbox: &Sandbox, response: &str, tests: &Tests, truncated: bool) -> Result<Judgement, Error> {
    let (language, program) = match blocks::program(response, tests) {
        Ok((language, program)) => (Some(language), Ok(program)),
        Err(reason) => (None, Err(reason)),
    };
    let (verdict, reason) = match (&program, language) {
        _ if truncated => (Verdict::Truncated, "the response ran into the length limit".to_owned()),
        (Ok(program), Some(language)) => match failure(sandbox, language, program, tests)? {
            None => (Verdict::Right, format!("passes {}", count(tests))),
            Some(reason) => (Verdict::Wrong, reason),
        },
        (Err(reason), _) => (Verdict::Unparsable, reason.clone()),
        (Ok(_), None) => (Verdict::Unparsable, "there is no code block".to_owned()),
    };
    Ok(Judgement { verdict, program: program.ok(), language, reason })
}

/// The verdict on a response.
pub fn verify(sandbox: &Sandbox, response: &str, tests: &Tests, truncated: bool) -> Result<Verdict, Error> {
    Ok(judge(sandbox, response, tests, truncated)?.verdict)
}

/// The program of a response as a code block in a normal form, which [`judge`] can read.
pub fn answer(response: &str, tests: &Tests) -> Option<String> {
    blocks::program(response, tests).ok().map(|(language, code)| blocks::fenced(language, &code))
}

fn count(tests: &Tests) -> String {
    match tests.tests.len() {
        1 => "the test".to_owned(),
        n => format!("all {n} tests"),
    }
}

/// The reason why a program fails its tests; `None` if it passes.
fn failure(sandbox: &Sandbox, language: Language, program: &str, tests: &Tests) -> Result<Option<String>, Error> {
    let is_text = |test: &&Test| matches!(test, Test::Case { .. }) && tests.function.is_none();
    let text: Vec<&Test> = tests.tests.iter().filter(is_text).collect();
    if text.len() < tests.tests.len() || tests.plus.is_some() {
        if language != Language::Python {
            return Ok(Some(format!("the tests are in Python, but the program is in {language}")));
        }
        if let Some(reason) = exam::failure(sandbox, program, tests)? {
            return Ok(Some(reason));
        }
    }
    if text.is_empty() {
        return Ok(None);
    }
    run::failure(sandbox, language, program, tests)
}
