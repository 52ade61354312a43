//! A chat template of arbitrary text: an error or a prompt, never a panic, in bounded time and memory.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_engine::tokenizer::Special;
use meno_engine::{ChatTemplate, Message};

fuzz_target!(|source: &str| {
    if let Ok(template) = ChatTemplate::new(source, &Special::default()) {
        let messages = [Message::new("system", "s"), Message::new("user", "<think>"), Message::new("tool", "é")];
        let _ = template.render(&messages, true, &Default::default());
    }
});
