//! Answers as models write them, in one piece and split at every position.

use super::*;

/// The text, and the calls as `name arguments`.
fn text_and_calls(parts: Vec<Part>) -> (String, Vec<String>) {
    let (mut text, mut calls) = (String::new(), Vec::<String>::new());
    for part in parts {
        match part {
            Part::Text(t) => text += &t,
            Part::Call { index, name } => {
                assert_eq!(index, calls.len());
                calls.push(name + " ");
            }
            Part::Arguments { index, text } => {
                assert_eq!(index + 1, calls.len());
                calls[index] += &text;
            }
        }
    }
    (text, calls)
}

fn run(format: ToolFormat, pieces: &[&str]) -> (String, Vec<String>) {
    let mut parser = ToolParser::new(format, vec!["weather".into(), "add".into()]);
    let mut parts: Vec<Part> = pieces.iter().flat_map(|p| parser.push(p)).collect();
    parts.extend(parser.finish());
    text_and_calls(parts)
}

#[track_caller]
fn check(format: ToolFormat, answer: &str, text: &str, calls: &[&str]) {
    let expected = (text.to_owned(), calls.iter().map(|c| c.to_string()).collect::<Vec<_>>());
    let chars: Vec<String> = answer.chars().map(String::from).collect();
    assert_eq!(run(format, &chars.iter().map(String::as_str).collect::<Vec<_>>()), expected, "char by char");
    for (at, _) in answer.char_indices() {
        assert_eq!(run(format, &[&answer[..at], &answer[at..]]), expected, "cut at {at}");
    }
}

#[test]
fn hermes_and_qwen() {
    let f = ToolFormat::Hermes;
    check(f, "Hello <b> you </b>\n", "Hello <b> you </b>\n", &[]);
    check(
        f,
        "Let me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Köln }\\\"\"}}\n</tool_call>",
        "Let me see.",
        &[r#"weather {"city": "Köln }\""}"#],
    );
    check(
        f,
        "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": [2, {\"c\": 3}]}}\n</tool_call>\n\
         <tool_call>\n{\"arguments\": {}, \"name\": \"weather\"}\n</tool_call>",
        "",
        &[r#"add {"a": 1, "b": [2, {"c": 3}]}"#, "weather {}"],
    );
    // Arguments as a string, as null, and a call that the limit of tokens cut off.
    check(f, r#"<tool_call>{"name":"add","arguments":"{\"a\": 1}"}</tool_call>"#, "", &[r#"add {"a": 1}"#]);
    check(f, r#"<tool_call>{"name":"add","arguments":null}</tool_call> done"#, " done", &["add {}"]);
    check(f, r#"<tool_call>{"name": "add", "arguments": {"a": 1"#, "", &[r#"add {"a": 1"#]);
    // What goes wrong after the name is a call all the same, however the text is cut (found by fuzzing).
    check(f, r#"<tool_call>{"name": "add", "arguments"<x: 1"#, "", &["add "]);
    // No calls: an unclosed tag, and text in a tag.
    check(f, "a < b and <tool_ is a word", "a < b and <tool_ is a word", &[]);
    check(f, "<tool_call>never mind</tool_call>", "<tool_call>never mind</tool_call>", &[]);
    check(f, "the tag <tool_call>", "the tag <tool_call>", &[]);
    check(f, r#"<tool_call>{"nom": 1}</tool_call>"#, r#"<tool_call>{"nom": 1}</tool_call>"#, &[]);
}

#[test]
fn a_call_without_its_tags() {
    let f = ToolFormat::Hermes;
    check(f, r#"{"name": "add", "arguments": {"a": 1}}"#, "", &[r#"add {"a": 1}"#]);
    check(f, "```json\n{\n  \"name\": \"add\",\n  \"arguments\": {}\n}\n```\nDone.", "\nDone.", &["add {}"]);
    check(
        f,
        "\n{\"name\": \"add\", \"arguments\": {}}\n{\"arguments\": {\"city\": \"X\"}, \"name\": \"weather\"}",
        "",
        &["add {}", r#"weather {"city": "X"}"#],
    );
    check(
        f,
        "``` {\"name\": \"add\", \"arguments\": {}} <tool_call>{\"name\": \"add\"}</tool_call>",
        "",
        &["add {}", "add "],
    );
    check(f, r#"{"name": "add", "city": 1, "arguments": {}}"#, "", &["add {}"]);
    // Other functions, other objects, other languages, and objects in the midst of a text are text.
    for text in [
        r#"{"name": "bob", "arguments": {}}"#,
        r#"{"city": "Oslo", "name": "add"}"#,
        "```json\n{\"name\": 1}\n```",
        "```python\n{\"name\": \"add\"}\n```",
        r#"So: {"name": "add", "arguments": {}}"#,
        "{}",
        "{",
        "``",
        "```json\n",
    ] {
        check(f, text, text, &[]);
    }
}

#[test]
fn deepseek_v3_and_r1() {
    let f = ToolFormat::DeepSeek;
    check(
        f,
        "I will look.\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{\"city\": \
         \"Paris\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{\"a\": {\"b\": \
         2}}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "I will look.",
        &[r#"weather {"city": "Paris"}"#, r#"add {"a": {"b": 2}}"#],
    );
    // V3.1 leaves out the type and the fence.
    check(
        f,
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{\"a\": 1}<｜tool▁call▁end｜><｜tool▁call▁begin｜>\
         weather<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "",
        &[r#"add {"a": 1}"#, "weather {}"],
    );
    // Without the outer tag, without arguments, and cut off.
    check(f, "<｜tool▁call▁begin｜>add<｜tool▁sep｜>{\"a\": 1}", "", &[r#"add {"a": 1}"#]);
    check(f, "<｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n<｜tool▁call▁end｜>", "", &["weather {}"]);
    check(f, "a <｜ b <｜tool", "a <｜ b <｜tool", &[]);
}

#[test]
fn llama() {
    let f = ToolFormat::Llama;
    check(f, r#"{"name": "add", "parameters": {"a": 1}}"#, "", &[r#"add {"a": 1}"#]);
    check(
        f,
        concat!(
            r#"<|python_tag|>{"name": "add", "parameters": {"a": 1}}; "#,
            r#"{"type": "function", "name": "weather", "parameters": {}}"#,
        ),
        "",
        &[r#"add {"a": 1}"#, "weather {}"],
    );
    // Answers that are JSON, or begin like the tag, or call what is not there.
    check(f, r#"{"a": 1, "b": {"name": "add"}} "#, r#"{"a": 1, "b": {"name": "add"}} "#, &[]);
    check(f, r#"{"name": "bob", "age": 1}"#, r#"{"name": "bob", "age": 1}"#, &[]);
    check(f, "<|py", "<|py", &[]);
    check(f, "Text { \"name\": 1 }", "Text { \"name\": 1 }", &[]);
    check(f, "\n\n", "\n\n", &[]);
}

#[test]
fn arguments_stream_before_they_are_complete() {
    let mut parser = ToolParser::new(ToolFormat::Hermes, vec![]);
    assert_eq!(parser.push("<tool_call>\n{\"name\": \"add\""), [Part::Call { index: 0, name: "add".into() }]);
    assert_eq!(parser.push(", \"arguments\": {\"a"), [Part::Arguments { index: 0, text: "{\"a".into() }]);
    assert_eq!(parser.push("\": 1}"), [Part::Arguments { index: 0, text: "\": 1}".into() }]);
    assert_eq!(parser.push("}\n</tool_call>"), []);
}
