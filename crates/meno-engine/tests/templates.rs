//! Published chat templates rendered as transformers renders them, byte for byte; what it refuses is refused
//! (`dev/reference/published_templates.py`).

#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_engine::tokenizer::Special;
use meno_engine::{ChatTemplate, Message};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The committed file, or a larger one made by the same script.
fn golden() -> Value {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published_templates.json");
    let path = std::env::var_os("MENO_TEMPLATES").map_or(committed, PathBuf::from);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The golden text with the time put in where the template asked for it.
fn with_time(text: &str) -> String {
    let mut parts = text.split("<<");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |all, part| match part.split_once(">>") {
        Some((format, rest)) if format.contains('%') => {
            let template = ChatTemplate::new("{{ strftime_now(f) }}", &Special::default()).unwrap();
            let Value::Object(extras) = json!({"f": format}) else { unreachable!() };
            all + &template.render(&[], false, &extras).unwrap() + rest
        }
        _ => all + "<<" + part,
    })
}

#[test]
fn published_templates_as_in_python() {
    let golden = golden();
    let (mut texts, mut refusals, mut wrong) = (0, 0, Vec::new());
    for t in golden["templates"].as_array().unwrap() {
        let name = t["name"].as_str().unwrap();
        let template = match ChatTemplate::new(t["template"].as_str().unwrap(), &Special::default()) {
            Ok(template) => template,
            Err(e) => {
                wrong.push(format!("{name}: {e}"));
                continue;
            }
        };
        for case in t["cases"].as_array().unwrap() {
            let conversation = &golden["conversations"][case["conversation"].as_u64().unwrap() as usize];
            let messages: Vec<Message> = serde_json::from_value(conversation["messages"].clone()).unwrap();
            let mut extras: Map<String, Value> = serde_json::from_value(golden["tokens"].clone()).unwrap();
            extras.extend(conversation["extras"].as_object().unwrap().clone());
            if conversation["tools"] == true {
                extras.insert("tools".into(), golden["tools"].clone());
            }
            let ours = template.render(&messages, case["add_generation_prompt"].as_bool().unwrap(), &extras);
            let at = format!("{name}, conversation {}", case["conversation"]);
            match (case["text"].as_str().map(with_time), ours) {
                (Some(text), Ok(ours)) if text == ours => texts += 1,
                (None, Err(_)) => refusals += 1,
                (Some(text), Ok(ours)) => {
                    let same = text.bytes().zip(ours.bytes()).take_while(|(a, b)| a == b).count();
                    let from = (0..=same.saturating_sub(40)).rev().find(|&i| text.is_char_boundary(i)).unwrap();
                    let show = |s: &str| s.get(from..).unwrap_or_default().chars().take(120).collect::<String>();
                    wrong.push(format!(
                        "{at}: differs at byte {same}\n  Python {:?}\n  Meno   {:?}",
                        show(&text),
                        show(&ours)
                    ));
                }
                (Some(_), Err(e)) => wrong.push(format!("{at}: {e}")),
                (None, Ok(ours)) => {
                    let start: String = ours.chars().take(200).collect();
                    wrong.push(format!("{at}: Python raises {}, Meno renders {start:?}", case["raises"]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), wrong.len() + texts + refusals, wrong.join("\n"));
    assert!(texts > 200 && refusals > 20, "{texts} texts, {refusals} refusals");
}
