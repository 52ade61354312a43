//! Trains a model with GRPO on a custom reward, then serves it from a custom axum app: `cargo run --release
//! --example grpo -- MODEL`

use meno::server::{Server, ServerOptions};
use meno::train::data::Prompts;
use meno::train::rewards::{Input, Weighted, from_fn};
use meno::train::{Error, Grpo, NoopObserver, Run, Summary, Train};
use meno::{LoadOptions, Precision, TextModel};
use std::path::Path;

/// Teaches the model to answer with short words; returns it with the history of the run.
pub(crate) fn run(model: &Path, steps: usize) -> Result<(TextModel, Summary), Error> {
    let mut text = TextModel::load_with(model, LoadOptions::default(), Precision::F32, &mut |_, _| {})?;
    let words = |text: &str| text.split_whitespace().count() as f32 / text.len().max(1) as f32;
    let rewards = [Weighted::new(1.0, from_fn("short_words", move |answer: &Input| words(answer.text)))];
    let prompts = ["Tell me about the sea.", "Tell me about bread.", "Tell me about you."].map(String::from).to_vec();
    let questions = Prompts::raw(&text.tokenizer, prompts, 0);
    let train = Train { max_steps: steps, learning_rate: 1e-5, ..Train::default() };
    let grpo = Grpo { num_questions: 4, num_generations: 8, max_completion_length: 24, ..Grpo::default() };
    let summary = grpo.run(&train, &mut text.model, &questions, &rewards, &mut Run::new(&mut NoopObserver))?;
    Ok((text, summary))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = std::env::args().nth(1).ok_or("usage: grpo MODEL")?;
    let (text, summary) = run(model.as_ref(), 20)?;
    println!("reward {:?} after {} steps", summary.last("reward"), summary.steps);
    let app = meno::server::app(Server::start(text, 4, ServerOptions::default())?);
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:8080").await?, app).await?;
    Ok(())
}
