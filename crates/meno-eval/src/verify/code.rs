//! Programs: whether the code of a response passes its tests. It runs in a [`Sandbox`], or not at all.
//!
//! The tests are LiveCodeBench's (`lcb_runner/evaluation/testing_util.py`): text on standard input and output, or calls
//! of a function with JSON arguments and result; or, as HumanEval and MBPP have them, Python to run after the program.

use super::{Verdict, after_thinking};
use crate::error::Error;
use crate::sandbox::{End, Sandbox};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a program must do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Test {
    /// Write `output` when it reads `input`, or give it back when called.
    Case {
        /// Standard input; or the arguments, one JSON value a line.
        input: String,
        /// Standard output; or the result as JSON.
        output: String,
    },
    /// Run to its end with this Python after it.
    Script(String),
}

/// All tests of a problem.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tests {
    /// The function that is called; without one, programs read and write text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The tests, in order; the first that fails decides.
    pub tests: Vec<Test>,
}

/// The program of a response: its last fenced block, after the reasoning.
pub fn program(response: &str) -> Option<&str> {
    let text = after_thinking(response);
    let end = text.rfind("```")?;
    let start = text[..end].rfind("```")?;
    let block = &text[start + 3..end];
    // The first line names the language.
    let code = block.split_once('\n').map(|(_, code)| code)?;
    (!code.trim().is_empty()).then_some(code)
}

/// Whether `program` passes every test.
pub fn passes(sandbox: &Sandbox, program: &str, tests: &Tests) -> Result<bool, Error> {
    for test in &tests.tests {
        let passed = match (test, &tests.function) {
            (Test::Script(script), _) => {
                // A program that exits before its tests has not passed them: the last line must be reached.
                let mark = "the tests were reached and hold";
                let whole = format!("{program}\n\n{script}\n\nprint('\\n{mark}')\n");
                let ran = sandbox.run(&whole, "")?;
                ran.end == End::Done && ran.output.trim_end().lines().last() == Some(mark)
            }
            (Test::Case { input, output }, None) => {
                let ran = sandbox.run(program, input)?;
                ran.end == End::Done && same_text(&ran.output, output)
            }
            (Test::Case { input, output }, Some(function)) => {
                let ran = sandbox.run(&call(program, function), input)?;
                let last = ran.output.trim_end().lines().last().unwrap_or_default();
                ran.end == End::Done && same_value(last, output)
            }
        };
        if !passed {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the verifier says of a response.
pub fn verify(sandbox: &Sandbox, response: &str, tests: &Tests, truncated: bool) -> Result<Verdict, Error> {
    Ok(match program(response) {
        _ if truncated => Verdict::Truncated,
        None => Verdict::Unparsable,
        Some(code) if passes(sandbox, code, tests)? => Verdict::Right,
        Some(_) => Verdict::Wrong,
    })
}

/// The program with a call of its function (or of the method of its class `Solution`) at the end.
fn call(program: &str, function: &str) -> String {
    format!(
        "{program}\n\nimport json as _json, sys as _sys\n\
         _arguments = [_json.loads(line) for line in _sys.stdin.read().splitlines() if line.strip()]\n\
         _function = getattr(Solution(), {function:?}) if 'Solution' in globals() else globals()[{function:?}]\n\
         print()\nprint(_json.dumps(_function(*_arguments)))\n"
    )
}

/// Whether two outputs are the same: line by line, ends trimmed; a line that differs may hold the same numbers.
fn same_text(got: &str, wanted: &str) -> bool {
    let lines = |text: &str| text.trim().lines().map(|l| l.trim().to_owned()).collect::<Vec<_>>();
    let (got, wanted) = (lines(got), lines(wanted));
    got.len() == wanted.len() && got.iter().zip(&wanted).all(|(g, w)| g == w || same_numbers(g, w))
}

/// Decimal numbers of equal value, word by word: `1.50 2` and `1.5 2.0`.
fn same_numbers(got: &str, wanted: &str) -> bool {
    let numbers = |line: &str| -> Option<Vec<f64>> { line.split_whitespace().map(|w| w.parse().ok()).collect() };
    matches!((numbers(got), numbers(wanted)), (Some(g), Some(w)) if g == w)
}

/// Whether two JSON values are equal, 1 and 1.0 included.
fn same_value(got: &str, wanted: &str) -> bool {
    fn equal(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
            (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
            _ => a == b,
        }
    }
    let read = |text: &str| serde_json::from_str::<Value>(text.trim());
    matches!((read(got), read(wanted)), (Ok(g), Ok(w)) if equal(&g, &w))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_block_is_the_program() {
        let text = "<think>```python\nno\n```</think>First\n```python\na = 1\n```\nbetter\n```py\nb = 2\n```\ndone";
        assert_eq!(program(text), Some("b = 2\n"));
        assert_eq!(program("```\nc\n```"), Some("c\n"));
        for none in ["no code", "```python\n\n```", "``` ```", "```"] {
            assert_eq!(program(none), None, "{none}");
        }
    }

    #[test]
    fn outputs_are_compared_as_judges_do() {
        for (got, wanted) in [("1 2\n3\n", "1 2 \n3"), ("0.50 2", "0.5 2.0"), ("yes\n", "yes")] {
            assert!(same_text(got, wanted), "{got:?} {wanted:?}");
        }
        for (got, wanted) in [("1\n2", "1 2"), ("Yes", "yes"), ("", "0"), ("1", "1\n1"), ("0.1", "0.10001")] {
            assert!(!same_text(got, wanted), "{got:?} {wanted:?}");
        }
        assert!(same_value("[1.0, \"a\", [true]]", "[1,\"a\",[true]]"));
        assert!(!same_value("[1, 2]", "[2, 1]") && !same_value("nonsense", "nonsense"));
    }
}
