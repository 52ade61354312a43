//! Chats with a model, streaming: `cargo run --example chat -- MODEL "What is 7 · 8?"`

use meno::{Error, TextModel};
use std::io::Write;
use std::path::Path;

/// Answers one message; returns the answer without the thought.
pub(crate) fn run(model: &Path, message: &str) -> Result<String, Error> {
    let mut session = TextModel::load(model)?.session()?;
    let response = session.ask(message, &mut |text| {
        print!("{text}");
        let _ = std::io::stdout().flush();
    })?;
    println!();
    Ok(response.answer)
}

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().collect();
    let [_, model, message] = &args[..] else { panic!("usage: chat MODEL MESSAGE") };
    run(model.as_ref(), message).map(drop)
}
