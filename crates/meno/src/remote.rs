//! A model on an OpenAI-compatible server: `meno serve`, llama.cpp, vLLM, or any other.

use crate::no_address::has_no_address;
use anyhow::{Context, Result, anyhow, bail};
use meno_engine::Finish;
use meno_engine::reasoning::{Piece, Split, Splitter};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;
use ureq::Agent;

/// How often a reader of a silent stream checks whether the answer is still wanted.
const LOOK_UP: Duration = Duration::from_millis(50);
/// A server that does not accept the connection within this time counts as absent.
const CONNECT: Duration = Duration::from_secs(10);
/// Maximum bytes of an error that are read.
const ERROR_BYTES: u64 = 1 << 16;

/// A model on a server.
pub(crate) struct Remote {
    /// Its name on the server.
    pub name: String,
    base: String,
    key: Option<String>,
    agent: Agent,
    /// Setting this ends the current answer.
    pub cancel: Arc<AtomicBool>,
}

/// An answer from a server.
pub(crate) struct RemoteAnswer {
    /// Thought and answer.
    pub split: Split,
    /// Tokens of both, as far as the server reports them.
    pub tokens: usize,
    /// The reason why it ended.
    pub finish: Finish,
}

impl Remote {
    /// Asks the server at `url` (with or without `/v1`) for its models; selects `model` if it is given,
    /// otherwise the first.
    pub(crate) fn open(url: &str, key: Option<String>, model: Option<&str>) -> Result<Remote> {
        let url = url.trim_end_matches('/');
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let base = if url.ends_with("/v1") { url } else { format!("{url}/v1") };
        let agent = Agent::config_builder().http_status_as_error(false).timeout_connect(Some(CONNECT)).build().into();
        let mut remote = Remote { name: String::new(), base, key, agent, cancel: Arc::default() };
        remote.name = match model {
            Some(model) => model.to_owned(),
            None => remote.first_model()?,
        };
        Ok(remote)
    }

    fn first_model(&self) -> Result<String> {
        let url = format!("{}/models", self.base);
        let mut request = self.agent.get(&url);
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut response = request.call().map_err(|e| unreachable(&url, e))?;
        let text = response.body_mut().read_to_string().with_context(|| format!("{url}: no response"))?;
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        if !response.status().is_success() {
            bail!("{url}: {} {}", response.status(), message(&json, &text));
        }
        let name = json["data"][0]["id"].as_str().map(str::to_owned);
        name.ok_or_else(|| anyhow!("{url}: the server lists no model; name one with -m"))
    }

    /// Answers a conversation. `request` holds the fields of a request without `model` and `stream`.
    /// `on_piece` receives the text as it arrives, with the number of tokens so far.
    pub(crate) fn answer(&self, mut request: Value, on_piece: &mut dyn FnMut(Piece, usize)) -> Result<RemoteAnswer> {
        request["model"] = self.name.clone().into();
        request["stream"] = true.into();
        request["stream_options"] = json!({ "include_usage": true });
        let lines = self.lines(&request)?;
        let mut reader = Reader { splitter: Splitter::new(false), thought: String::new(), tokens: 0, finish: None };
        while !self.cancel.load(Ordering::Relaxed) {
            match lines.recv_timeout(LOOK_UP) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(line) => {
                    let line = line.context("the connection broke during the answer")?;
                    let Some(data) = line.strip_prefix("data:").map(str::trim) else { continue };
                    if data == "[DONE]" {
                        break;
                    }
                    reader.event(data, on_piece)?;
                }
            }
        }
        Ok(reader.end(on_piece))
    }

    /// Reads the lines of a stream in a separate thread.
    fn lines(&self, request: &Value) -> Result<Receiver<std::io::Result<String>>> {
        let url = format!("{}/chat/completions", self.base);
        let mut post = self.agent.post(&url).content_type("application/json");
        if let Some(key) = &self.key {
            post = post.header("authorization", format!("Bearer {key}"));
        }
        let response = post.send(request.to_string()).map_err(|e| unreachable(&url, e))?;
        let status = response.status();
        let body = response.into_body();
        if !status.is_success() {
            let text = body.into_with_config().limit(ERROR_BYTES).read_to_string().unwrap_or_default();
            let json = serde_json::from_str(&text).unwrap_or_default();
            bail!("{url}: {status}: {}", message(&json, &text));
        }
        let (sender, lines) = sync_channel(64);
        std::thread::spawn(move || {
            for line in BufReader::new(body.into_reader()).lines() {
                if sender.send(line).is_err() {
                    return; // the receiver is gone: close the connection
                }
            }
        });
        Ok(lines)
    }
}

/// The error message of a server.
fn message(json: &Value, text: &str) -> String {
    let error = &json["error"];
    error["message"].as_str().or(error.as_str()).unwrap_or(text.lines().next().unwrap_or_default()).to_owned()
}

/// Assembles the events of a stream. Servers that do not separate thoughts send the tags as text.
struct Reader {
    splitter: Splitter,
    thought: String,
    tokens: usize,
    finish: Option<Finish>,
}

impl Reader {
    fn event(&mut self, data: &str, on_piece: &mut dyn FnMut(Piece, usize)) -> Result<()> {
        let event: Value = serde_json::from_str(data).context("the server sent an event that is not JSON")?;
        if !event["error"].is_null() {
            bail!("the server: {}", message(&event, data));
        }
        if let Some(tokens) = event["usage"]["completion_tokens"].as_u64() {
            self.tokens = tokens as usize;
        }
        let choice = &event["choices"][0];
        let text = |key: &str| choice["delta"][key].as_str().unwrap_or_default();
        let thought = if text("reasoning_content").is_empty() { text("reasoning") } else { text("reasoning_content") };
        self.tokens += usize::from(!thought.is_empty() || !text("content").is_empty());
        if !thought.is_empty() {
            self.thought.push_str(thought);
            on_piece(Piece::Thought(thought.to_owned()), self.tokens);
        }
        for piece in self.splitter.push(text("content")) {
            on_piece(piece, self.tokens);
        }
        match choice["finish_reason"].as_str() {
            None => {}
            Some("length") => self.finish = Some(Finish::Length),
            Some(_) => self.finish = Some(Finish::Stop),
        }
        Ok(())
    }

    fn end(self, on_piece: &mut dyn FnMut(Piece, usize)) -> RemoteAnswer {
        let (pieces, mut split) = self.splitter.finish();
        for piece in pieces {
            on_piece(piece, self.tokens);
        }
        let finish = self.finish.unwrap_or(Finish::Cancelled);
        split.unfinished |= !self.thought.is_empty() && split.answer.is_empty() && finish != Finish::Stop;
        split.thought = self.thought + &split.thought;
        RemoteAnswer { split, tokens: self.tokens, finish }
    }
}

/// Explains why a request got no response.
fn unreachable(url: &str, error: ureq::Error) -> anyhow::Error {
    let why = match error {
        error if has_no_address(&error) => "the host name has no address; check the spelling".to_owned(),
        ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
            "nothing listens there; start a server with `meno serve`, or check the port".to_owned()
        }
        ureq::Error::Io(e) => e.to_string(),
        other => other.to_string(),
    };
    anyhow!("{url}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &[Value]) -> (Vec<Piece>, RemoteAnswer) {
        let mut reader = Reader { splitter: Splitter::new(false), thought: String::new(), tokens: 0, finish: None };
        let mut pieces = Vec::new();
        for event in events {
            reader.event(&event.to_string(), &mut |piece, _| pieces.push(piece)).unwrap();
        }
        let answer = reader.end(&mut |piece, _| pieces.push(piece));
        (pieces, answer)
    }

    fn delta(delta: Value, finish: Value) -> Value {
        json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
    }

    #[test]
    fn thoughts_come_beside_the_text_or_within_it() {
        for key in ["reasoning_content", "reasoning"] {
            let (pieces, answer) = read(&[
                delta(json!({ "role": "assistant", "content": "" }), Value::Null),
                delta(json!({ key: "hm" }), Value::Null),
                delta(json!({ "content": "4" }), json!("stop")),
                json!({ "choices": [], "usage": { "completion_tokens": 9 } }),
            ]);
            assert_eq!(pieces, [Piece::Thought("hm".into()), Piece::Answer("4".into())]);
            assert_eq!((answer.split.thought.as_str(), answer.split.answer.as_str()), ("hm", "4"));
            assert_eq!((answer.tokens, answer.finish, answer.split.unfinished), (9, Finish::Stop, false));
        }
        let text = ["<thi", "nk>h", "m</think", ">4"].map(|t| delta(json!({ "content": t }), Value::Null));
        let (_, answer) = read(&text);
        assert_eq!((answer.split.thought.as_str(), answer.split.answer.as_str()), ("hm", "4"));
        assert_eq!((answer.tokens, answer.finish), (4, Finish::Cancelled));
    }

    #[test]
    fn errors_in_a_stream_are_told() {
        let mut reader = Reader { splitter: Splitter::new(false), thought: String::new(), tokens: 0, finish: None };
        let error = reader.event(r#"{"error": {"message": "too late"}}"#, &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("too late"));
    }
}
