//! A chat template of arbitrary text, and after a NUL the JSON of its messages and variables: an error or a prompt,
//! never a panic, in bounded time and memory. Run with `-rss_limit_mb=2048`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_engine::tokenizer::Special;
use meno_engine::{ChatTemplate, Message};

/// What `meno_engine` lets a prompt grow to.
const MAX_OUTPUT: usize = 4 << 20;

fuzz_target!(|input: &str| {
    let (source, json) = input.split_once('\0').unwrap_or((input, ""));
    let Ok(template) = ChatTemplate::new(source, &Special::default()) else { return };
    let variables: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    let given = variables.get("messages").and_then(|m| serde_json::from_value(m.clone()).ok());
    let messages: Vec<Message> = given.unwrap_or_else(|| {
        vec![Message::new("system", "s"), Message::new("user", "<think>"), Message::new("tool", "é")]
    });
    if let Ok(prompt) = template.render(&messages, true, &variables) {
        assert!(prompt.len() <= MAX_OUTPUT);
    }
});
