//! Programs: whether the code of a response passes its tests. It runs in a [`Sandbox`], or not at all.
//!
//! Three kinds of tests: text on standard input and output; calls of a Python function with JSON arguments and result;
//! Python scripts that assert. The program under test never sees a test's expectation and never decides about it: its
//! output is compared here, and its values travel as plain data to a judge in a cage of its own (`examiner.py`), which
//! rebuilds and compares them. `docs/verifiers-programs.md` has the rules of each benchmark and the trust model.

mod blocks;
mod exam;
mod output;
mod run;
mod suite;

pub use suite::{Plus, Preamble, Rules, Test, Tests};

use super::judgement::Verdict;
use crate::error::Error;
use crate::sandbox::{Language, Sandbox};
use serde::Serialize;

/// What the judge says of a response.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The program that was judged.
    pub program: Option<String>,
    /// Its language.
    pub language: Option<Language>,
    /// Why: the test that failed with what was expected and what came, the limit, the exception; or what is missing.
    pub reason: String,
}

/// Judges a response. An error means that it could not be judged: the sandbox failed, a compiler is missing, or the
/// tests themselves are broken.
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

/// What the verifier says of a response.
pub fn verify(sandbox: &Sandbox, response: &str, tests: &Tests, truncated: bool) -> Result<Verdict, Error> {
    Ok(judge(sandbox, response, tests, truncated)?.verdict)
}

/// The program of a response as a code block, the same for all ways to write it; [`judge`] reads it back.
pub fn answer(response: &str, tests: &Tests) -> Option<String> {
    blocks::program(response, tests).ok().map(|(language, code)| blocks::fenced(language, &code))
}

fn count(tests: &Tests) -> String {
    match tests.tests.len() {
        1 => "the test".to_owned(),
        n => format!("all {n} tests"),
    }
}

/// Why a program fails its tests; nothing if it passes.
fn failure(sandbox: &Sandbox, language: Language, program: &str, tests: &Tests) -> Result<Option<String>, Error> {
    let is_text = |test: &&Test| matches!(test, Test::Case { .. }) && tests.function.is_none();
    let text: Vec<&Test> = tests.tests.iter().filter(is_text).collect();
    if text.len() < tests.tests.len() || tests.plus.is_some() {
        if language != Language::Python {
            return Ok(Some(format!("the tests are Python, and the program is {language}")));
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
