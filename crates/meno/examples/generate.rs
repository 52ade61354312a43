//! Completes a prompt four times with custom settings: `cargo run --example generate -- MODEL "Once upon a time"`

use meno::{Error, Request, Sampling, StreamKey, TextModel};
use std::path::Path;

/// Returns the texts of four samples, with the log-probability of each.
pub(crate) fn run(model: &Path, prompt: &str) -> Result<Vec<(String, f32)>, Error> {
    let text = TextModel::load(model)?;
    let tokens = text.encode_text(prompt)?;
    let sampling = Sampling { temperature: 0.8, top_p: 0.9, max_tokens: 32, ..text.sampling() };
    let config = text.generator_config(4, text.default_context());
    let mut session = text.session_with(config)?;
    // The key seeds the random numbers: the same key gives the same samples on any machine.
    let request = Request { prompt: tokens, n: 4, sampling, key: StreamKey::seeded(42) };
    let answers = session.answer(prompt, request, &["\n\n".to_owned()], &mut |_, _| {})?;
    Ok(answers.into_iter().map(|a| (a.split.answer, a.completion.logprobs.iter().sum())).collect())
}

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().collect();
    let [_, model, prompt] = &args[..] else { panic!("usage: generate MODEL PROMPT") };
    for (text, logprob) in run(model.as_ref(), prompt)? {
        println!("{logprob:8.2}  {text:?}");
    }
    Ok(())
}
