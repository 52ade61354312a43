//! Scores a text, token by token: `cargo run --example score -- MODEL "The capital of France is Paris."`

use meno::{Error, TextModel};
use std::path::Path;

/// Prints the log-probability of every token after the first; returns the perplexity of the text.
pub(crate) fn run(model: &Path, text: &str) -> Result<f32, Error> {
    let mut model = TextModel::load(model)?;
    let scored = model.score(text)?;
    for t in &scored {
        println!("{:8.3}  {:?}", t.logprob, model.tokenizer.decode(&[t.token], false));
    }
    let mean = scored.iter().map(|t| t.logprob).sum::<f32>() / scored.len().max(1) as f32;
    Ok((-mean).exp())
}

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().collect();
    let [_, model, text] = &args[..] else { panic!("usage: score MODEL TEXT") };
    println!("perplexity {:.3}", run(model.as_ref(), text)?);
    Ok(())
}
