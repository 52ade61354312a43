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

use super::Verdict;
use crate::error::Error;
use crate::sandbox::{Language, Sandbox};
use serde::{Deserialize, Serialize};

/// What a program must do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Test {
    /// Write `output` when it reads `input`, or return it when called.
    Case {
        /// Standard input; or the arguments, one JSON value a line.
        input: String,
        /// Standard output; or the result as JSON.
        output: String,
    },
    /// Make this Python run to its end.
    Script(String),
    /// Calls as APPS packs them: JSON text of `{"inputs": [[argument, …], …], "outputs": [result, …]}`.
    Packed {
        /// The JSON text: whole numbers of any size stay what they are.
        packed: String,
    },
}

/// Whose checker is followed where they differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rules {
    /// LiveCodeBench: lines, decimals exactly.
    #[default]
    LiveCodeBench,
    /// APPS: lines without empty ones, fractions as `numpy.allclose`.
    Apps,
    /// code_contests: words in any case, fractions within 1e-5.
    CodeContests,
}

/// The imports that a benchmark puts before every program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preamble {
    /// None.
    #[default]
    None,
    /// LiveCodeBench's: the standard library, most of it by `*`.
    LiveCodeBench,
    /// APPS'.
    Apps,
}

/// EvalPlus' further inputs, whose results a reference solution gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plus {
    /// Source of the reference solution.
    pub reference: String,
    /// The function.
    pub entry: String,
    /// The arguments of each call.
    pub inputs: Vec<Vec<serde_json::Value>>,
    /// The absolute tolerance; 0 is 1e-6 for floating-point numbers and exact for everything else.
    pub atol: f64,
}

/// All tests of a problem.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tests {
    /// The function that is called; without one, programs read and write text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The tests, in order; the first that fails decides.
    pub tests: Vec<Test>,
    /// How results are compared.
    pub rules: Rules,
    /// What the program may use without importing it.
    pub preamble: Preamble,
    /// The language that the problem asks for; without one, the tag of the block selects it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Python that stands before the tests: imports, helpers, objects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub setup: String,
    /// HumanEval's prompt, whose function a response completes, and the name of that function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<(String, String)>,
    /// EvalPlus' inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plus: Option<Plus>,
}

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

/// A text for a message, shortened.
fn short(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= 200 {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(160).collect();
    format!("{start:?}… ({} characters)", text.chars().count())
}
