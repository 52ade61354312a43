//! Limits on thinking: a token budget, and the detection of thinking that repeats itself.
//!
//! The limiter follows the thinking token by token. When the budget is used up, or the thinking only repeats itself, it
//! forces a short sentence and the closing tag. The answer follows.

mod loop_detector;

pub use loop_detector::LoopDetector;

use crate::error::{ApiError, shorten};
use meno_engine::Tokenizer;
use meno_engine::reasoning::{CLOSE, OPEN};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The sentence to force when the budget is used up.
const BUDGET_SENTENCE: &str = "\n\nI have thought long enough; now the answer.\n";
/// The sentence to force when the thinking repeats itself.
const LOOP_SENTENCE: &str = "\n\nI am repeating myself; now the answer.\n";

/// The thinking budget in tokens for each `reasoning_effort`.
const EFFORTS: [(&str, Option<usize>); 5] =
    [("minimal", Some(256)), ("low", Some(1024)), ("medium", Some(4096)), ("high", None), ("xhigh", None)];

/// The thinking mode: off, or on with an optional budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// The model answers without thinking.
    Off,
    /// The chat template decides whether to think; for at most this many tokens.
    On(Option<usize>),
}

impl Default for Thinking {
    fn default() -> Self {
        Thinking::On(None)
    }
}

impl Thinking {
    /// Returns true if the model answers without thinking.
    pub fn is_off(self) -> bool {
        self == Thinking::Off
    }

    /// Parses the fields of a request: `enable_thinking`, `thinking` (true, or `{"type": "disabled"}`,
    /// `{"budget_tokens": n}`), `think`, `reasoning_effort`, `reasoning` (`{"effort": …}`, `{"max_tokens": n}`) and
    /// `thinking_budget` under all its names. If several are set, the last in this order wins. `default` is the budget
    /// if none is set.
    pub fn read(fields: &ThinkingFields, default: Option<usize>) -> Result<Thinking, ApiError> {
        let mut thinking = if fields.enable_thinking == Some(false) { Thinking::Off } else { Thinking::On(default) };
        thinking = from_thinking(fields.thinking.as_ref())?.unwrap_or(thinking);
        thinking = from_think(fields.think.as_ref(), default)?.unwrap_or(thinking);
        thinking = from_reasoning(fields, default)?.unwrap_or(thinking);
        for (param, budget) in &fields.budgets {
            thinking = from_budget(param, budget)?;
        }
        Ok(thinking)
    }
}

/// The fields that [`Thinking::read`] parses.
#[derive(Clone, Debug, Default)]
pub struct ThinkingFields {
    /// `enable_thinking`, also from `chat_template_kwargs`.
    pub enable_thinking: Option<bool>,
    /// `thinking`.
    pub thinking: Option<Value>,
    /// `reasoning_effort`.
    pub reasoning_effort: Option<String>,
    /// `reasoning`.
    pub reasoning: Option<Value>,
    /// Ollama's `think`.
    pub think: Option<Value>,
    /// `thinking_budget` under its names in other servers.
    pub budgets: Vec<(&'static str, Value)>,
}

/// Parses `thinking`; `None` if it says nothing.
fn from_thinking(thinking: Option<&Value>) -> Result<Option<Thinking>, ApiError> {
    let object = match thinking {
        Some(Value::Bool(false)) => return Ok(Some(Thinking::Off)),
        None | Some(Value::Null | Value::Bool(true)) => return Ok(None),
        Some(Value::Object(object)) => object,
        Some(other) => {
            let message = format!("thinking is {}; expected true, false or an object", shorten(&other.to_string()));
            return Err(ApiError::invalid("thinking", message));
        }
    };
    let kind = object.get("type").filter(|t| !t.is_null());
    if let Some(kind) = kind
        && !["enabled", "disabled", "adaptive"].iter().any(|known| kind == known)
    {
        let message = format!(
            "thinking.type is {}; expected \"enabled\", \"disabled\" or \"adaptive\"",
            shorten(&kind.to_string())
        );
        return Err(ApiError::invalid("thinking.type", message));
    }
    if kind.is_some_and(|t| t == "disabled") {
        return Ok(Some(Thinking::Off));
    }
    let budget = object.get("budget_tokens").filter(|b| !b.is_null());
    budget.map(|budget| from_budget("thinking.budget_tokens", budget)).transpose()
}

/// Parses Ollama's `think`; `None` if it says nothing.
fn from_think(think: Option<&Value>, default: Option<usize>) -> Result<Option<Thinking>, ApiError> {
    match think {
        Some(Value::Bool(false)) => Ok(Some(Thinking::Off)),
        Some(Value::String(effort)) => from_effort("think", effort, default).map(Some),
        None | Some(Value::Null | Value::Bool(true)) => Ok(None),
        Some(other) => {
            let message = format!("think is {other}; expected true, false, \"low\", \"medium\" or \"high\"");
            Err(ApiError::invalid("think", message))
        }
    }
}

/// Parses `reasoning` and `reasoning_effort`; `None` if they say nothing.
fn from_reasoning(fields: &ThinkingFields, default: Option<usize>) -> Result<Option<Thinking>, ApiError> {
    let reasoning = fields.reasoning.as_ref().filter(|r| !r.is_null());
    if let Some(other) = reasoning.filter(|r| !r.is_object()) {
        let message =
            format!("reasoning is {}; expected an object such as {{\"effort\": \"low\"}}", shorten(&other.to_string()));
        return Err(ApiError::invalid("reasoning", message));
    }
    let effort = match reasoning.map(|r| &r["effort"]).filter(|e| !e.is_null()) {
        Some(Value::String(effort)) => Some(from_effort("reasoning.effort", effort, default)?),
        Some(other) => {
            let message = format!("reasoning.effort is {}; expected a string", shorten(&other.to_string()));
            return Err(ApiError::invalid("reasoning.effort", message));
        }
        None => {
            let effort = fields.reasoning_effort.as_deref();
            effort.map(|effort| from_effort("reasoning_effort", effort, default)).transpose()?
        }
    };
    match reasoning.map(|r| &r["max_tokens"]).filter(|b| !b.is_null()) {
        Some(budget) => from_budget("reasoning.max_tokens", budget).map(Some),
        None => Ok(effort),
    }
}

fn from_effort(param: &str, effort: &str, default: Option<usize>) -> Result<Thinking, ApiError> {
    if effort == "none" {
        return Ok(Thinking::Off);
    }
    let found = EFFORTS.iter().find(|e| e.0 == effort);
    let (_, budget) = found.ok_or_else(|| {
        let names: Vec<&str> = EFFORTS.iter().map(|e| e.0).collect();
        let message = format!("{param} {:?}: expected none, {}", shorten(effort), names.join(", "));
        ApiError::invalid(param, message)
    })?;
    Ok(Thinking::On(budget.or(default)))
}

fn from_budget(param: &str, value: &Value) -> Result<Thinking, ApiError> {
    match value.as_i64() {
        Some(0) => Ok(Thinking::Off),
        Some(-1) => Ok(Thinking::On(None)),
        Some(n) if n > 0 => Ok(Thinking::On(Some(n as usize))),
        _ => Err(ApiError::invalid(
            param,
            format!("{param} is {value}; expected a number of tokens, or -1 for no limit"),
        )),
    }
}

/// Why the server ended the thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ThinkingStop {
    /// The budget was used up.
    Budget = 1,
    /// The thinking repeated itself.
    Loop = 2,
}

impl ThinkingStop {
    /// The name in a response.
    pub fn name(self) -> &'static str {
        match self {
            ThinkingStop::Budget => "budget",
            ThinkingStop::Loop => "loop",
        }
    }
}

/// Shared by the limiter, which sets it, and the response, which reads it.
#[derive(Clone, Debug, Default)]
pub struct ThinkingStopFlag(Arc<AtomicU8>);

impl ThinkingStopFlag {
    /// Why the server ended the thinking, if it did.
    pub fn get(&self) -> Option<ThinkingStop> {
        [ThinkingStop::Budget, ThinkingStop::Loop].into_iter().find(|s| *s as u8 == self.0.load(Ordering::Relaxed))
    }

    fn set(&self, stop: ThinkingStop) {
        self.0.store(stop as u8, Ordering::Relaxed);
    }
}

/// The tokens that the limiter looks for and forces; the same for every request of a model.
#[derive(Debug)]
pub struct ThinkingTokens {
    tokenizer: Arc<Tokenizer>,
    open: Option<u32>,
    close: Option<u32>,
    /// The sentence and the closing tag for each reason.
    budget: Vec<u32>,
    repeated: Vec<u32>,
}

impl ThinkingTokens {
    /// Tokenizes the tags and sentences.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Result<ThinkingTokens, meno_engine::Error> {
        let written = |sentence: &str| tokenizer.encode(&format!("{sentence}{CLOSE}\n\n"), false);
        let (budget, repeated) = (written(BUDGET_SENTENCE)?, written(LOOP_SENTENCE)?);
        let (open, close) = (tokenizer.token_to_id(OPEN), tokenizer.token_to_id(CLOSE));
        Ok(ThinkingTokens { tokenizer, open, close, budget, repeated })
    }

    /// The opening tag, if it is a single token.
    pub fn open(&self) -> Option<u32> {
        self.open
    }
}

/// The phase of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerPhase {
    /// Only white space so far: thinking may still start.
    Start,
    /// The thinking.
    Thinking,
    /// The answer.
    Answer,
}

/// Follows one answer token by token and ends its thinking at a limit.
#[derive(Debug)]
pub struct ThinkingLimiter {
    tokens: Arc<ThinkingTokens>,
    phase: AnswerPhase,
    budget: Option<usize>,
    loop_detector: Option<LoopDetector>,
    /// Number of tokens of the thinking.
    count: usize,
    /// The last tokens, to find tags of several tokens.
    tail: Vec<u32>,
    /// The tokens to force before the model continues, last token first.
    forced: Vec<u32>,
    stop: ThinkingStopFlag,
}

/// Number of last tokens to keep; any tag fits into them.
const TAIL: usize = 16;

impl ThinkingLimiter {
    /// Creates a limiter for one answer. `opened`: the prompt has opened the thinking.
    pub fn new(
        tokens: Arc<ThinkingTokens>,
        opened: bool,
        budget: Option<usize>,
        detect_loops: bool,
    ) -> ThinkingLimiter {
        ThinkingLimiter {
            tokens,
            phase: if opened { AnswerPhase::Thinking } else { AnswerPhase::Start },
            budget,
            loop_detector: detect_loops.then(LoopDetector::default),
            count: 0,
            tail: Vec::new(),
            forced: Vec::new(),
            stop: ThinkingStopFlag::default(),
        }
    }

    /// Returns the flag that the response reads.
    pub fn stop_flag(&self) -> ThinkingStopFlag {
        self.stop.clone()
    }

    /// Which part of the answer is being generated.
    pub fn phase(&self) -> AnswerPhase {
        self.phase
    }

    /// The token to force next, if any.
    pub fn forced(&self) -> Option<u32> {
        self.forced.last().copied()
    }

    /// Adds the token that was generated.
    pub fn accept(&mut self, token: u32) {
        if self.forced.last() == Some(&token) {
            self.forced.pop();
        }
        if self.phase == AnswerPhase::Answer {
            return;
        }
        self.tail.push(token);
        if self.tail.len() > TAIL {
            self.tail.remove(0);
        }
        if self.is_tag(token, self.tokens.close, CLOSE) {
            self.phase = AnswerPhase::Answer;
        } else if self.phase == AnswerPhase::Start {
            self.begin(token);
        } else {
            self.think(token);
        }
    }

    fn begin(&mut self, token: u32) {
        if self.is_tag(token, self.tokens.open, OPEN) {
            self.phase = AnswerPhase::Thinking;
        } else {
            let text = self.tokens.tokenizer.decode(&self.tail, true);
            let text = text.trim_start();
            if self.tail.len() == TAIL || !OPEN.starts_with(text) {
                self.phase = AnswerPhase::Answer;
            }
        }
    }

    fn think(&mut self, token: u32) {
        self.count += 1;
        if !self.forced.is_empty() || self.stop.get().is_some() {
            return;
        }
        if self.budget.is_some_and(|budget| self.count >= budget) {
            self.end(ThinkingStop::Budget);
        } else if self.loop_detector.as_mut().is_some_and(|detector| detector.push(token)) {
            self.end(ThinkingStop::Loop);
        }
    }

    fn end(&mut self, stop: ThinkingStop) {
        self.stop.set(stop);
        let words = if stop == ThinkingStop::Budget { &self.tokens.budget } else { &self.tokens.repeated };
        self.forced = words.iter().rev().copied().collect();
    }

    /// Returns true if `token` completes a tag. Compares ids if the tag is a single token, and text otherwise.
    fn is_tag(&self, token: u32, id: Option<u32>, tag: &str) -> bool {
        match id {
            Some(id) => token == id,
            None => self.tokens.tokenizer.decode(&self.tail, false).trim_end().ends_with(tag),
        }
    }
}
