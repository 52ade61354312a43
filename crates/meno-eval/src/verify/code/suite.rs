//! The tests of a programming problem.

use crate::sandbox::Language;
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
