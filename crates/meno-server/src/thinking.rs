//! How long a model may think: budgets, and a thought that goes in circles.
//!
//! The thought is watched token by token. When its budget is spent, or when it only repeats itself, a short sentence
//! and the closing tag are forced, and the answer follows.

mod circles;

pub use circles::Circles;

use crate::error::{ApiError, shown};
use meno_engine::Tokenizer;
use meno_engine::reasoning::{CLOSE, OPEN};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What is written when the budget is spent.
const SPENT: &str = "\n\nI have thought long enough; now the answer.\n";
/// What is written when the thought goes in circles.
const CIRCLING: &str = "\n\nI am repeating myself; now the answer.\n";

/// Tokens of a thought for `reasoning_effort`.
const EFFORTS: [(&str, Option<usize>); 5] =
    [("minimal", Some(256)), ("low", Some(1024)), ("medium", Some(4096)), ("high", None), ("xhigh", None)];

/// What a request says about thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// The answer comes at once.
    Off,
    /// As the template has it, for at most this many tokens.
    On(Option<usize>),
}

impl Default for Thinking {
    fn default() -> Self {
        Thinking::On(None)
    }
}

impl Thinking {
    /// Whether the answer comes at once.
    pub fn is_off(self) -> bool {
        self == Thinking::Off
    }

    /// Reads the fields of a request: `enable_thinking`, `thinking` (true, or `{"type": "disabled"}`,
    /// `{"budget_tokens": n}`), `think`, `reasoning_effort`, `reasoning` (`{"effort": …}`, `{"max_tokens": n}`) and
    /// `thinking_budget` under its names. The last of these that is there wins; `default` holds where none is.
    pub fn read(fields: &ThinkingFields, default: Option<usize>) -> Result<Thinking, ApiError> {
        let mut thinking = Thinking::On(default);
        if fields.enable_thinking == Some(false) {
            thinking = Thinking::Off;
        }
        match &fields.thinking {
            Some(Value::Bool(false)) => thinking = Thinking::Off,
            Some(Value::Object(object)) => {
                let kind = object.get("type").filter(|t| !t.is_null());
                if let Some(kind) = kind
                    && !["enabled", "disabled", "adaptive"].iter().any(|known| kind == known)
                {
                    let message = format!(
                        "thinking.type is {}; expected \"enabled\", \"disabled\" or \"adaptive\"",
                        shown(&kind.to_string())
                    );
                    return Err(ApiError::invalid("thinking.type", message));
                }
                if kind.is_some_and(|t| t == "disabled") {
                    thinking = Thinking::Off;
                } else if let Some(budget) = object.get("budget_tokens").filter(|b| !b.is_null()) {
                    thinking = budget_of("thinking.budget_tokens", budget)?;
                }
            }
            None | Some(Value::Null | Value::Bool(true)) => {}
            Some(other) => {
                let message = format!("thinking is {}; expected true, false or an object", shown(&other.to_string()));
                return Err(ApiError::invalid("thinking", message));
            }
        }
        match &fields.think {
            Some(Value::Bool(false)) => thinking = Thinking::Off,
            Some(Value::String(effort)) => thinking = from_effort("think", effort, default)?,
            None | Some(Value::Null | Value::Bool(true)) => {}
            Some(other) => {
                let message = format!("think is {other}; expected true, false, \"low\", \"medium\" or \"high\"");
                return Err(ApiError::invalid("think", message));
            }
        }
        if let Some(other) = fields.reasoning.as_ref().filter(|r| !r.is_null() && !r.is_object()) {
            let message = format!(
                "reasoning is {}; expected an object such as {{\"effort\": \"low\"}}",
                shown(&other.to_string())
            );
            return Err(ApiError::invalid("reasoning", message));
        }
        match fields.reasoning.as_ref().map(|r| &r["effort"]).filter(|e| !e.is_null()) {
            Some(Value::String(effort)) => thinking = from_effort("reasoning.effort", effort, default)?,
            Some(other) => {
                let message = format!("reasoning.effort is {}; expected a string", shown(&other.to_string()));
                return Err(ApiError::invalid("reasoning.effort", message));
            }
            None => {
                if let Some(effort) = fields.reasoning_effort.as_deref() {
                    thinking = from_effort("reasoning_effort", effort, default)?;
                }
            }
        }
        if let Some(budget) = fields.reasoning.as_ref().map(|r| &r["max_tokens"]).filter(|b| !b.is_null()) {
            thinking = budget_of("reasoning.max_tokens", budget)?;
        }
        for (param, budget) in &fields.budgets {
            thinking = budget_of(param, budget)?;
        }
        Ok(thinking)
    }
}

/// The fields that [`Thinking::read`] reads.
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
    /// `thinking_budget`, and what other servers call it.
    pub budgets: Vec<(&'static str, Value)>,
}

fn from_effort(param: &str, effort: &str, default: Option<usize>) -> Result<Thinking, ApiError> {
    if effort == "none" {
        return Ok(Thinking::Off);
    }
    let found = EFFORTS.iter().find(|e| e.0 == effort);
    let (_, budget) = found.ok_or_else(|| {
        let names: Vec<&str> = EFFORTS.iter().map(|e| e.0).collect();
        let message = format!("{param} {:?}: expected none, {}", shown(effort), names.join(", "));
        ApiError::invalid(param, message)
    })?;
    Ok(Thinking::On(budget.or(default)))
}

fn budget_of(param: &str, value: &Value) -> Result<Thinking, ApiError> {
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

/// Why a thought ended before the model closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cut {
    /// Its budget was spent.
    Budget = 1,
    /// It went in circles.
    Circles = 2,
}

impl Cut {
    /// The word in a response.
    pub fn name(self) -> &'static str {
        match self {
            Cut::Budget => "budget",
            Cut::Circles => "loop",
        }
    }
}

/// Where the watcher tells, and the response reads, how a thought was cut.
#[derive(Clone, Debug, Default)]
pub struct CutFlag(Arc<AtomicU8>);

impl CutFlag {
    /// How the thought was cut, if it was.
    pub fn get(&self) -> Option<Cut> {
        [Cut::Budget, Cut::Circles].into_iter().find(|c| *c as u8 == self.0.load(Ordering::Relaxed))
    }

    fn set(&self, cut: Cut) {
        self.0.store(cut as u8, Ordering::Relaxed);
    }
}

/// The tokens that the watcher looks for and writes; the same for every request of a model.
#[derive(Debug)]
pub struct ThoughtTokens {
    tokenizer: Arc<Tokenizer>,
    open: Option<u32>,
    close: Option<u32>,
    spent: Vec<u32>,
    circling: Vec<u32>,
}

impl ThoughtTokens {
    /// Of a model.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Result<ThoughtTokens, meno_engine::Error> {
        let written = |sentence: &str| tokenizer.encode(&format!("{sentence}{CLOSE}\n\n"), false);
        let (spent, circling) = (written(SPENT)?, written(CIRCLING)?);
        let (open, close) = (tokenizer.token_to_id(OPEN), tokenizer.token_to_id(CLOSE));
        Ok(ThoughtTokens { tokenizer, open, close, spent, circling })
    }

    /// The opening tag, where it is one token.
    pub fn open(&self) -> Option<u32> {
        self.open
    }
}

/// Where the text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing was written that is not white space: a thought may yet begin.
    Start,
    /// In the thought.
    Thought,
    /// In the answer.
    Answer,
}

/// Follows one answer token by token, and ends its thought when it must.
#[derive(Debug)]
pub struct ThoughtWatch {
    tokens: Arc<ThoughtTokens>,
    place: Place,
    budget: Option<usize>,
    circles: Option<Circles>,
    /// Tokens of the thought.
    thought: usize,
    /// The end of the text, for tags of several tokens.
    tail: Vec<u32>,
    /// What is to be written before the model goes on.
    forced: Vec<u32>,
    cut: CutFlag,
}

/// Tokens that surely hold a tag.
const TAIL: usize = 16;

impl ThoughtWatch {
    /// For an answer to a prompt that `opened` a thought or not.
    pub fn new(tokens: Arc<ThoughtTokens>, opened: bool, budget: Option<usize>, watch_circles: bool) -> ThoughtWatch {
        ThoughtWatch {
            tokens,
            place: if opened { Place::Thought } else { Place::Start },
            budget,
            circles: watch_circles.then(Circles::default),
            thought: 0,
            tail: Vec::new(),
            forced: Vec::new(),
            cut: CutFlag::default(),
        }
    }

    /// Where the response can read how the thought was cut.
    pub fn cut_flag(&self) -> CutFlag {
        self.cut.clone()
    }

    /// Where the text stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The token that must come next.
    pub fn forced(&self) -> Option<u32> {
        self.forced.last().copied()
    }

    /// Takes the token that was written.
    pub fn accept(&mut self, token: u32) {
        if self.forced.last() == Some(&token) {
            self.forced.pop();
        }
        if self.place == Place::Answer {
            return;
        }
        self.tail.push(token);
        if self.tail.len() > TAIL {
            self.tail.remove(0);
        }
        if self.is_tag(token, self.tokens.close, CLOSE) {
            self.place = Place::Answer;
        } else if self.place == Place::Start {
            self.begin(token);
        } else {
            self.think(token);
        }
    }

    fn begin(&mut self, token: u32) {
        if self.is_tag(token, self.tokens.open, OPEN) {
            self.place = Place::Thought;
        } else {
            let text = self.tokens.tokenizer.decode(&self.tail, true);
            let text = text.trim_start();
            if self.tail.len() == TAIL || !OPEN.starts_with(text) {
                self.place = Place::Answer;
            }
        }
    }

    fn think(&mut self, token: u32) {
        self.thought += 1;
        if !self.forced.is_empty() || self.cut.get().is_some() {
            return;
        }
        if self.budget.is_some_and(|budget| self.thought >= budget) {
            self.end(Cut::Budget);
        } else if self.circles.as_mut().is_some_and(|circles| circles.push(token)) {
            self.end(Cut::Circles);
        }
    }

    fn end(&mut self, cut: Cut) {
        self.cut.set(cut);
        let words = if cut == Cut::Budget { &self.tokens.spent } else { &self.tokens.circling };
        self.forced = words.iter().rev().copied().collect();
    }

    /// Whether `token` completes a tag: by its id where the tag is one token, else by the text.
    fn is_tag(&self, token: u32, id: Option<u32>, tag: &str) -> bool {
        match id {
            Some(id) => token == id,
            None => self.tokens.tokenizer.decode(&self.tail, false).trim_end().ends_with(tag),
        }
    }
}
