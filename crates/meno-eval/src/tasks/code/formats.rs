//! Reads the tests of a programming problem in their published formats.

use crate::sandbox::Language;
use crate::verify::code::{EvalPlusInputs, Preamble, Rules, Test, Tests};
use serde_json::Value;

/// Keys that only programming problems have.
pub(super) const KEYS: [&str; 9] = [
    "tests",
    "test",
    "test_list",
    "public_test_cases",
    "input_output",
    "public_tests",
    "private_tests",
    "generated_tests",
    "assertion",
];

/// Reads the tests of a record:
/// - LiveCodeBench: `public_test_cases` and `private_test_cases` (unpacked to JSON), a list of `input`, `output`,
///   `testtype`; the function of functional tests is `func_name` in `metadata`;
/// - `tests`: the same list, with `function` as a separate key; or a list of Python scripts;
/// - APPS: `input_output` with `inputs`, `outputs` and `fn_name`;
/// - code_contests: `public_tests`, `private_tests` and `generated_tests` with lists `input` and `output`;
/// - HumanEval: `prompt`, `entry_point` and `test`; EvalPlus also has `base_input`, `plus_input` and
///   `canonical_solution`;
/// - MBPP: `test_list` with `test_setup_code` or `test_imports`; EvalPlus' `test` or `assertion`.
///
/// `language` gives the programming language if the tests do not determine it: `python`, `cpp`, `rust` or `javascript`.
pub fn tests_of(value: &Value) -> Result<Tests, String> {
    let mut tests = Tests { function: string(value, "function"), ..Tests::default() };
    lists(value, &mut tests)?;
    apps(value, &mut tests)?;
    contests(value, &mut tests)?;
    scripts(value, &mut tests)?;
    if tests.tests.is_empty() && tests.plus.is_none() {
        return Err("there are no tests".to_owned());
    }
    let python = tests.function.is_some() || tests.tests.iter().any(|t| !matches!(t, Test::Case { .. }));
    let asked = value.get("language").and_then(Value::as_str).and_then(Language::from_tag);
    match asked {
        Some(asked) if python && asked != Language::Python => {
            return Err(format!("`language` is {asked}, but function calls and assertions are Python tests"));
        }
        Some(asked) => tests.language = Some(asked),
        None if python => tests.language = Some(Language::Python),
        None => {}
    }
    if tests.function.is_some() && tests.preamble == Preamble::None {
        tests.preamble = Preamble::LiveCodeBench;
    }
    Ok(tests)
}

/// The non-empty string at a key.
fn string(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Returns JSON as it is, or parses a string that holds JSON.
fn unpacked(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(text) if text.trim().is_empty() => Ok(Value::Null),
        Value::String(text) => serde_json::from_str(text).map_err(|e| format!("not JSON: {e}")),
        other => Ok(other.clone()),
    }
}

/// Reads LiveCodeBench's lists, and `tests`.
fn lists(value: &Value, tests: &mut Tests) -> Result<(), String> {
    if let Some(metadata) = value.get("metadata") {
        let metadata = unpacked(metadata).map_err(|e| format!("`metadata`: {e}"))?;
        tests.function = string(&metadata, "func_name").or(tests.function.take());
    }
    for key in ["tests", "public_test_cases", "private_test_cases"] {
        let Some(list) = value.get(key).filter(|list| !list.is_null()) else { continue };
        let list = match (key, list, unpacked(list)) {
            (_, _, Ok(list)) => list,
            // A single script.
            ("tests", Value::String(script), Err(_)) => Value::Array(vec![Value::String(script.clone())]),
            (_, _, Err(e)) => return Err(format!("`{key}`: {e}; packed tests must be unpacked to JSON first")),
        };
        if list.is_null() {
            continue;
        }
        let list = list.as_array().ok_or_else(|| format!("`{key}` is not a list of tests"))?;
        if list.iter().any(|test| test.get("testtype").and_then(Value::as_str) == Some("stdin")) {
            tests.function = None;
        }
        for test in list {
            let test = case(test, tests.function.is_some());
            tests.tests.push(test.ok_or_else(|| {
                format!(
                    "a test of `{key}` is not {{\"input\", \"output\"}}, both strings or lists of them, and no script"
                )
            })?);
        }
        if key != "tests" {
            tests.preamble = Preamble::LiveCodeBench;
            tests.language = Some(Language::Python);
        }
    }
    Ok(())
}

/// Reads a script, or an input with its output. A list holds lines of text, or the arguments of a call.
fn case(test: &Value, call: bool) -> Option<Test> {
    if let Some(script) = test.as_str() {
        return Some(Test::Script(script.to_owned()));
    }
    let (input, output) = (test.get("input")?, test.get("output")?);
    if !call {
        return Some(Test::Case { input: lines(input)?, output: lines(output)? });
    }
    let is_json = |text: &str| serde_json::from_str::<Value>(text).is_ok();
    let input = match input {
        Value::Array(items) => match lines(input).filter(|text| text.lines().all(is_json)) {
            Some(text) => text,
            None => items.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"),
        },
        _ => input.as_str()?.to_owned(),
    };
    let output = match output {
        Value::String(text) if is_json(text) || matches!(text.trim(), "NaN" | "Infinity" | "-Infinity") => text.clone(),
        other => other.to_string(),
    };
    Some(Test::Case { input, output })
}

/// A text, or the joined lines of a list.
fn lines(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(lines) => Some(lines.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join("\n")),
        _ => None,
    }
}

/// Reads the tests of APPS.
fn apps(value: &Value, tests: &mut Tests) -> Result<(), String> {
    let Some(packed) = value.get("input_output").filter(|packed| !packed.is_null()) else { return Ok(()) };
    let read = unpacked(packed).map_err(|e| format!("`input_output`: {e}"))?;
    if read.is_null() {
        return Ok(());
    }
    let list = |key: &str| {
        read.get(key).and_then(Value::as_array).ok_or_else(|| format!("`input_output` has no list `{key}`"))
    };
    let (inputs, outputs) = (list("inputs")?, list("outputs")?);
    if inputs.len() != outputs.len() {
        return Err(format!("`input_output` has {} inputs and {} outputs", inputs.len(), outputs.len()));
    }
    tests.rules = Rules::Apps;
    tests.preamble = Preamble::Apps;
    tests.language = Some(Language::Python);
    if let Some(function) = string(&read, "fn_name") {
        tests.function = Some(function);
        if !inputs.is_empty() {
            let packed = packed.as_str().map_or_else(|| packed.to_string(), str::to_owned);
            tests.tests.push(Test::Packed { packed });
        }
        return Ok(());
    }
    for (input, output) in inputs.iter().zip(outputs) {
        let both = lines(input).zip(lines(output));
        let (input, output) = both.ok_or("`input_output`: an input or output is neither text nor a list of lines")?;
        tests.tests.push(Test::Case { input, output });
    }
    Ok(())
}

/// Reads the tests of code_contests.
fn contests(value: &Value, tests: &mut Tests) -> Result<(), String> {
    for key in ["public_tests", "private_tests", "generated_tests"] {
        let Some(lists) = value.get(key).filter(|lists| !lists.is_null()) else { continue };
        let lists = unpacked(lists).map_err(|e| format!("`{key}`: {e}"))?;
        let list = |name: &str| -> Result<Vec<String>, String> {
            let wrong = || format!("`{key}` has no list `{name}` of strings");
            let list = lists.get(name).and_then(Value::as_array).ok_or_else(wrong)?;
            list.iter().map(|text| lines(text).ok_or_else(wrong)).collect()
        };
        let (inputs, outputs) = (list("input")?, list("output")?);
        if inputs.len() != outputs.len() {
            return Err(format!("`{key}` has {} inputs and {} outputs", inputs.len(), outputs.len()));
        }
        tests.rules = Rules::CodeContests;
        tests.tests.extend(inputs.into_iter().zip(outputs).map(|(input, output)| Test::Case { input, output }));
    }
    Ok(())
}

/// Reads the tests of HumanEval, MBPP, and EvalPlus' versions of both.
fn scripts(value: &Value, tests: &mut Tests) -> Result<(), String> {
    tests.setup = string(value, "test_setup_code").unwrap_or_default();
    if let Some(imports) = value.get("test_imports").filter(|imports| !imports.is_null()) {
        let imports = lines(imports).ok_or("`test_imports` is not a list of import statements")?;
        tests.setup = format!("{imports}\n{}", tests.setup);
    }
    if let Some(list) = value.get("test_list").filter(|list| !list.is_null()) {
        let list = list.as_array().ok_or("`test_list` is not a list of assertions")?;
        for test in list {
            let test = test.as_str().ok_or("`test_list` is not a list of assertions")?;
            tests.tests.push(Test::Script(test.to_owned()));
        }
    }
    let entry = string(value, "entry_point");
    let test = string(value, "test");
    if let Some(script) = &test {
        let check = match &entry {
            Some(name) if script.contains("def check(") => format!("\n\ncheck({name})"),
            None if script.contains("def check(candidate") => {
                return Err("`test` defines `check`, but there is no `entry_point` to check".to_owned());
            }
            _ => String::new(),
        };
        tests.tests.push(Test::Script(format!("{script}{check}")));
    } else if let Some(script) = string(value, "assertion") {
        tests.tests.push(Test::Script(script));
    }
    let prompt = string(value, "prompt").filter(|prompt| prompt.contains("def "));
    if let (Some(prompt), Some(entry)) = (prompt, entry) {
        plus(value, &prompt, &entry, tests)?;
        tests.prompt = Some((prompt, entry));
    }
    Ok(())
}

/// Reads EvalPlus' inputs if a reference solution provides the expected results. Skips MBPP, whose inputs are not plain
/// JSON.
fn plus(value: &Value, prompt: &str, entry: &str, tests: &mut Tests) -> Result<(), String> {
    let Some(solution) = string(value, "canonical_solution") else { return Ok(()) };
    if string(value, "task_id").is_some_and(|id| id.starts_with("Mbpp/")) {
        return Ok(());
    }
    let mut inputs = Vec::new();
    for key in ["base_input", "plus_input"] {
        let Some(list) = value.get(key).filter(|list| !list.is_null()) else { continue };
        let wrong = || format!("`{key}` is not a list of lists of arguments");
        for arguments in list.as_array().ok_or_else(wrong)? {
            inputs.push(arguments.as_array().cloned().ok_or_else(wrong)?);
        }
    }
    if !inputs.is_empty() {
        let atol = value.get("atol").and_then(Value::as_f64).unwrap_or(0.0);
        tests.plus =
            Some(EvalPlusInputs { reference: format!("{prompt}{solution}"), entry: entry.to_owned(), inputs, atol });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn broken_tests_are_named() {
        let error = |value: Value| tests_of(&value).unwrap_err();
        assert!(error(json!({"question": "q"})).contains("no tests"));
        assert!(error(json!({"tests": []})).contains("no tests"));
        assert!(error(json!({"tests": [{"input": 1}]})).contains("`tests`"));
        assert!(error(json!({"private_test_cases": "eJxrYJmqw"})).contains("must be unpacked"));
        assert!(error(json!({"input_output": "{\"inputs\": [\"1\"]}"})).contains("`outputs`"));
        assert!(error(json!({"input_output": {"inputs": ["1"], "outputs": []}})).contains("1 inputs and 0 outputs"));
        assert!(error(json!({"public_tests": {"input": ["1"]}})).contains("`output`"));
        assert!(error(json!({"test": "def check(candidate): pass"})).contains("`entry_point`"));
        assert!(error(json!({"test_list": ["assert f()"], "language": "rust"})).contains("Rust"));
    }

    #[test]
    fn each_format_has_its_rules() {
        let case = json!([{"input": "1", "output": "2", "testtype": "stdin"}]);
        let lcb =
            tests_of(&json!({"public_test_cases": case.to_string(), "metadata": "{\"func_name\": \"f\"}"})).unwrap();
        assert_eq!((lcb.function, lcb.preamble, lcb.language), (None, Preamble::LiveCodeBench, Some(Language::Python)));
        let plain = tests_of(&json!({"tests": case})).unwrap();
        assert_eq!((plain.rules, plain.preamble, plain.language), (Rules::LiveCodeBench, Preamble::None, None));
        let rust = tests_of(&json!({"tests": case, "language": "rs"})).unwrap();
        assert_eq!(rust.language, Some(Language::Rust));
        let contest =
            json!({"public_tests": {"input": ["1"], "output": ["2"]}, "generated_tests": {"input": [], "output": []}});
        let contest = tests_of(&contest).unwrap();
        assert_eq!((contest.rules, contest.tests.len(), contest.language), (Rules::CodeContests, 1, None));
        let packed = json!({"inputs": [["1", "2"]], "outputs": [["3"]]});
        let apps = tests_of(&json!({"input_output": packed.to_string()})).unwrap();
        assert_eq!(apps.tests, [Test::Case { input: "1\n2".into(), output: "3".into() }]);
        assert_eq!((apps.rules, apps.preamble), (Rules::Apps, Preamble::Apps));
    }

    #[test]
    fn arguments_may_be_lists() {
        let test = |input: Value, output: Value| case(&json!({"input": input, "output": output}), true);
        let expect = |input: &str, output: &str| Some(Test::Case { input: input.into(), output: output.into() });
        assert_eq!(test(json!([[1, 2], 3]), json!([4])), expect("[1,2]\n3", "[4]"));
        assert_eq!(test(json!(["[1]", "2"]), json!("3")), expect("[1]\n2", "3"));
        assert_eq!(test(json!(["ab", "c"]), json!("abc")), expect("\"ab\"\n\"c\"", "\"abc\""));
    }
}
