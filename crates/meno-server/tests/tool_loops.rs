//! Conversations with calls and results, as clients of OpenAI's API send them, in published templates. The prompt must
//! be the one that transformers renders. If transformers renders none, it must show the call and its result.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

#[path = "../../meno-engine/tests/common/published.rs"]
mod published;

use meno_engine::tokenizer::{CharacterLevel, Special};
use meno_engine::{ChatTemplate, Tokenizer};
use meno_server::ServedModel;
use meno_server::conversation::{Conversation, Turn};
use published::{golden, with_time};
use serde_json::{Value, json};

fn served(source: &str) -> Result<ServedModel, meno_engine::Error> {
    let level = CharacterLevel {
        special: &["<pad>", "<s>", "</s>", "<unk>"],
        alphabet: "x",
        eos: "</s>",
        pad: Some("<pad>"),
        unk: "<unk>",
        ..Default::default()
    };
    let tokenizer = Tokenizer::character_level(&level)?;
    let special = Special {
        bos: Some(("<s>".into(), 1)),
        eos: vec![("</s>".into(), 2)],
        pad: Some(("<pad>".into(), 0)),
        ..Default::default()
    };
    let template = ChatTemplate::new(source, &special)?;
    ServedModel::new("small".into(), tokenizer, Some(template), 1 << 20, 5)
}

/// Returns the conversation as clients send it: arguments as strings; null and empty contents unchanged.
fn as_sent(messages: &Value) -> Value {
    let mut messages = messages.clone();
    for message in messages.as_array_mut().unwrap() {
        for call in message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
            let arguments = &mut call["function"]["arguments"];
            if arguments.is_object() {
                *arguments = arguments.to_string().into();
            }
        }
    }
    messages
}

fn prompt(served: &ServedModel, conversation: &Value, tools: &Value) -> Result<String, String> {
    let mut kwargs = conversation["extras"].as_object().unwrap().clone();
    kwargs.insert("unk_token".into(), "<unk>".into());
    let conversation = Conversation {
        messages: serde_json::from_value(as_sent(&conversation["messages"])).unwrap(),
        tools: serde_json::from_value(tools.clone()).unwrap(),
        kwargs,
        ..Default::default()
    };
    match conversation.turn(served).map_err(|e| e.message)? {
        Turn::Generate(prompt) => Ok(prompt.text),
        Turn::Fixed(text) => panic!("{text}"),
    }
}

/// Describes how a prompt differs from Python's: Python's error, or the first difference.
fn difference(case: &Value, ours: &str) -> String {
    let Some(golden) = case["text"].as_str().map(with_time) else { return case["raises"].to_string() };
    let same = golden.chars().zip(ours.chars()).take_while(|(a, b)| a == b).count();
    let from = |text: &str| text.chars().skip(same.saturating_sub(30)).take(80).collect::<String>();
    format!("Python {:?}, Meno {:?}", from(&golden), from(ours))
}

#[test]
fn tool_loops_in_published_templates() {
    let golden = golden();
    let (mut equal, mut other, mut wrong) = (0, Vec::new(), Vec::new());
    for template in golden["templates"].as_array().unwrap() {
        let name = template["name"].as_str().unwrap();
        let Ok(served) = served(template["template"].as_str().unwrap()) else { continue };
        for index in [9, 10, 11] {
            let cases = template["cases"].as_array().unwrap();
            let case = cases.iter().find(|c| c["conversation"] == index && c["add_generation_prompt"] == true).unwrap();
            let at = format!("{name}, conversation {index}");
            let ours = match prompt(&served, &golden["conversations"][index], &golden["tools"]) {
                Ok(ours) => ours,
                Err(error) => {
                    wrong.push(format!("{at}: {error}"));
                    continue;
                }
            };
            if case["text"].as_str().is_some_and(|text| with_time(text) == ours) {
                equal += 1;
                continue;
            }
            // The prompt must show the arguments and both results, and contain no Python syntax.
            let seen: &[&str] = match index {
                9 => &["北京", "rain, 12 °C", "It rains.", "And now?"],
                10 => &["北京", "rain"],
                _ => &["Rom", "sun", "12:00"],
            };
            let missing: Vec<&&str> = seen.iter().filter(|s| !ours.contains(**s)).collect();
            match missing.is_empty() && (index != 11 || !ours.contains("None")) {
                true => other.push(format!("{at}: {}", difference(case, &ours))),
                false => wrong.push(format!("{at}: lacks {missing:?} in {ours:?}")),
            }
        }
    }
    if std::env::var_os("MENO_TEMPLATES").is_some() {
        println!("{equal} equal; otherwise:\n{}\nwrong:\n{}", other.join("\n"), wrong.join("\n"));
        return;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(equal >= 25, "{equal} as transformers renders them; otherwise:\n{}", other.join("\n"));
}

/// Returns a model with the template of a published model.
fn published(name: &str) -> ServedModel {
    let golden = golden();
    let template = golden["templates"].as_array().unwrap().iter().find(|t| t["name"] == name).unwrap();
    served(template["template"].as_str().unwrap()).unwrap()
}

#[test]
fn arguments_that_are_not_json_are_passed_on() {
    for name in ["Qwen-QwQ-32B", "Qwen-Qwen3-0.6B", "Qwen3-Coder", "GLM-4.6", "meta-llama-Llama-3.1-8B-Instruct"] {
        let messages = json!([
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call00001", "type": "function", "function": {"name": "get", "arguments": "{\"city\": Rom"}}]},
            {"role": "tool", "tool_call_id": "call00001", "content": "no such city"},
        ]);
        let tools = json!([{"type": "function", "function": {"name": "get", "description": "x", "parameters":
            {"type": "object", "properties": {"city": {"type": "string", "description": "c"}}}}}]);
        let conversation = json!({"messages": messages, "extras": {}});
        let text = prompt(&published(name), &conversation, &tools).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(text.contains("city") && text.contains("Rom") && text.contains("no such city"), "{name}: {text}");
    }
}

#[test]
fn the_answer_continues_the_last_message() {
    for (name, message, end) in [
        ("Qwen-Qwen3-0.6B", json!({"role": "assistant", "content": "Once "}), "Once "),
        ("meta-llama-Llama-3.1-8B-Instruct", json!({"role": "assistant", "content": "Once"}), "Once"),
        ("deepseek-ai-DeepSeek-V3.1", json!({"role": "assistant", "content": "Once"}), "Once"),
        ("Qwen-Qwen3-0.6B", json!({"role": "assistant", "content": "", "reasoning_content": "Let me"}), "Let me"),
    ] {
        let messages = json!([{"role": "user", "content": "A tale"}, message]);
        let conversation =
            Conversation { messages: serde_json::from_value(messages).unwrap(), continues: true, ..Default::default() };
        match conversation.turn(&published(name)) {
            Ok(Turn::Generate(prompt)) => assert!(prompt.text.ends_with(end), "{name}: {:?}", prompt.text),
            other => panic!("{name}: {other:?}"),
        }
    }
    let calls = json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "", "tool_calls": [
        {"id": "call00001", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}]);
    let conversation =
        Conversation { messages: serde_json::from_value(calls).unwrap(), continues: true, ..Default::default() };
    let error = conversation.turn(&published("Qwen-Qwen3-0.6B")).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("continue_final_message"));
}
