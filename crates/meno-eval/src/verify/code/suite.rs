//! The tests of a programming problem.

use crate::sandbox::Language;
use serde::{Deserialize, Serialize};

/// One test of a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Test {
    /// The program must write `output` after reading `input`, or return it when called.
    Case {
        /// Standard input; or the arguments, one JSON value per line.
        input: String,
        /// Standard output; or the result as JSON.
        output: String,
    },
    /// This Python script must run to its end without an exception.
    Script(String),
    /// Calls in the packed form of APPS: JSON text of `{"inputs": [[argument, …], …], "outputs": [result, …]}`.
    Packed {
        /// The JSON text. It stays text so that whole numbers keep any size.
        packed: String,
    },
}

/// Which benchmark's checker compares the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rules {
    /// LiveCodeBench: by lines, decimals exactly.
    #[default]
    LiveCodeBench,
    /// APPS: by non-empty lines, fractions as `numpy.allclose`.
    Apps,
    /// code_contests: by words, ignoring case, fractions within 1e-5.
    CodeContests,
}

/// The imports that a benchmark adds before every program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preamble {
    /// No imports.
    #[default]
    None,
    /// LiveCodeBench: the standard library, mostly with `import *`.
    LiveCodeBench,
    /// APPS.
    Apps,
}

/// The extra inputs of EvalPlus. A reference solution computes their expected results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvalPlusInputs {
    /// The source code of the reference solution.
    pub reference: String,
    /// The name of the function.
    pub entry: String,
    /// The arguments of each call.
    pub inputs: Vec<Vec<serde_json::Value>>,
    /// The absolute tolerance. 0 means 1e-6 for floating-point numbers and exact comparison for everything else.
    pub atol: f64,
}

/// All tests of a problem.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tests {
    /// The function to call. `None`: programs read and write text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The tests in order; the first failure decides.
    pub tests: Vec<Test>,
    /// The rules that compare the output.
    pub rules: Rules,
    /// The imports that the program may rely on.
    pub preamble: Preamble,
    /// The required language. `None`: the tag of the code block selects it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Python code before the tests: imports, helpers, objects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub setup: String,
    /// The HumanEval prompt, whose function a response completes, and the name of that function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<(String, String)>,
    /// The extra inputs of EvalPlus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plus: Option<EvalPlusInputs>,
}
