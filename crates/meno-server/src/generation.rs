//! From an order to the engine, and from its events to the updates that go to a client.

use crate::answer::{Answer, Delta, Reading};
use crate::app::Server;
use crate::clients::{Client, Part};
use crate::error::ApiError;
use crate::metrics::Outcome;
use crate::steering::{Steered, Steering};
use crate::thinking::Cut;
use crate::types::Usage;
use meno_engine::constraint::Constraint;
use meno_engine::engine::{Refused, Submission, Ticket};
use meno_engine::generator::{Event, TokenLogprob};
use meno_engine::{Finish, Flow, Observe, Request, Sampling};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// One prompt and how it is to be answered.
pub struct Order {
    /// Token ids.
    pub prompt: Vec<u32>,
    /// How many answers.
    pub n: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Names the random numbers; none: others every time.
    pub seed: Option<i64>,
    /// How the answers are read.
    pub reading: Reading,
    /// What is imposed on them: one each, or none.
    pub steering: Vec<Steering>,
    /// What is reported about the prompt.
    pub observe: Observe,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it, or a stop string.
    Stop,
    /// The limit of tokens.
    Length,
    /// It calls tools.
    ToolCalls,
}

impl FinishReason {
    /// OpenAI's word.
    pub fn name(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::ToolCalls => "tool_calls",
        }
    }
}

/// A token with its log-probability.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenInfo {
    /// The token.
    pub token: u32,
    /// Its log-probability.
    pub logprob: f32,
    /// The most likely tokens there.
    pub top: Vec<(u32, f32)>,
    /// Whether it belongs to the thought.
    pub thought: bool,
}

/// More of one of the answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Which: samples of the first prompt, then of the second, …
    pub index: usize,
    /// The tokens of the prompt, once, before anything else, where their log-probabilities were asked for. The first
    /// has none.
    pub prompt: Option<Vec<TokenInfo>>,
    /// What came.
    pub deltas: Vec<Delta>,
    /// The tokens of it, where log-probabilities were asked for.
    pub tokens: Vec<TokenInfo>,
    /// Set with the last update of the answer.
    pub finish: Option<FinishReason>,
    /// With the last update: how the thought was cut.
    pub cut: Option<Cut>,
    /// With the last update: the stop string that ended the answer.
    pub stop: Option<String>,
}

impl Update {
    fn of(index: usize, deltas: Vec<Delta>, tokens: Vec<TokenInfo>) -> Update {
        Update { index, prompt: None, deltas, tokens, finish: None, cut: None, stop: None }
    }
}

/// An answer on its way.
struct Running {
    answer: Answer,
    steered: Steered,
    held: Vec<TokenInfo>,
    /// The prompt's tokens so far, for the first of its answers, if they are returned.
    prompt: Vec<TokenInfo>,
    /// How many answers there are to the prompt.
    siblings: usize,
    /// Return the prompt's tokens, and then also the token that ends the answer.
    echo: bool,
    done: bool,
}

/// Answers on their way. Dropping this cancels them: their places in the engine are free before its next step.
pub struct Generation {
    server: Arc<Server>,
    /// Of the client, for as long as the answers are wanted.
    _places: Option<Part>,
    events: UnboundedReceiver<(usize, Event)>,
    /// Alive as long as the answers are wanted.
    tickets: Vec<Ticket>,
    stop: Arc<Vec<AtomicBool>>,
    running: Vec<Running>,
    open: usize,
    logprobs: bool,
    stop_tokens: Vec<u32>,
    /// The model's own ends: they have no text where they are passed over either.
    ends: Vec<u32>,
    pending: VecDeque<Update>,
    usage: Usage,
    started: Instant,
    outcome: Outcome,
    length: bool,
}

impl Generation {
    /// Hands orders of a client to the engine.
    pub fn start(server: &Arc<Server>, client: &Client, orders: Vec<Order>) -> Result<Generation, ApiError> {
        let started = client.asked;
        let total = orders.iter().map(|o| o.n).sum();
        let places = client.answers(server, total)?;
        let stop: Arc<Vec<AtomicBool>> = Arc::new((0..total).map(|_| AtomicBool::new(false)).collect());
        let (sender, events) = unbounded_channel();
        let mut running = Vec::new();
        let mut tickets = Vec::new();
        let mut usage = Usage::default();
        let logprobs = orders.iter().any(|o| o.sampling.top_logprobs.is_some());
        let stop_tokens = orders.first().map(|o| o.sampling.stop_tokens.clone()).unwrap_or_default();
        for order in orders {
            usage.prompt_tokens += order.prompt.len();
            let base = running.len();
            for i in 0..order.n {
                let steered = order.steering.get(i).map(Steering::steered).unwrap_or_default();
                let answer = Answer::new(server.model.tokenizer.clone(), &order.reading);
                let echo = order.observe == Observe::Logprobs;
                let first = order.prompt.iter().take(usize::from(echo && i == 0));
                let prompt = first.map(|&token| TokenInfo { token, logprob: 0.0, top: Vec::new(), thought: false });
                let (held, prompt, siblings) = (Vec::new(), prompt.collect(), order.n);
                running.push(Running { answer, steered, held, prompt, siblings, echo, done: false });
            }
            tickets.push(submit(server, client.salt, order, base, sender.clone(), stop.clone())?);
        }
        Ok(Generation {
            server: server.clone(),
            _places: Some(places),
            events,
            tickets,
            stop,
            open: running.len(),
            running,
            logprobs,
            stop_tokens,
            ends: server.model.tokenizer.eos(),
            pending: VecDeque::new(),
            usage,
            started,
            outcome: Outcome::Gone,
            length: false,
        })
    }

    /// An answer that no model is needed for.
    pub fn fixed(server: Arc<Server>, text: String) -> Generation {
        let deltas = vec![Delta::Content(text)];
        let update = Update { finish: Some(FinishReason::Stop), ..Update::of(0, deltas, Vec::new()) };
        Generation {
            server,
            _places: None,
            events: unbounded_channel().1,
            tickets: Vec::new(),
            stop: Arc::default(),
            running: Vec::new(),
            open: 0,
            logprobs: false,
            stop_tokens: Vec::new(),
            ends: Vec::new(),
            pending: VecDeque::from([update]),
            usage: Usage::default(),
            started: Instant::now(),
            outcome: Outcome::Gone,
            length: false,
        }
    }

    /// The next update; `None` when all answers are complete.
    pub async fn next(&mut self) -> Option<Result<Update, ApiError>> {
        loop {
            if let Some(update) = self.pending.pop_front() {
                return Some(Ok(update));
            }
            if self.open == 0 {
                self.outcome = if self.length { Outcome::Length } else { Outcome::Done };
                return None;
            }
            let seconds = self.server.options.request_seconds;
            let deadline = self.started + Duration::from_secs(seconds);
            if Instant::now() > deadline {
                return Some(Err(self.fail(Outcome::Timeout, ApiError::timeout(seconds))));
            }
            match tokio::time::timeout_at(deadline, self.events.recv()).await {
                Err(_) => return Some(Err(self.fail(Outcome::Timeout, ApiError::timeout(seconds)))),
                Ok(None) => {
                    let error = ApiError::internal("The engine ended before the answer was complete.");
                    return Some(Err(self.fail(Outcome::Failed, error)));
                }
                Ok(Some((index, event))) => match self.take(index, event) {
                    Ok(update) => self.pending.extend(update),
                    Err(error) => return Some(Err(self.fail(Outcome::Failed, error))),
                },
            }
        }
    }

    /// Tokens so far.
    pub fn usage(&self) -> Usage {
        let answers = || self.running.iter().map(|r| &r.answer);
        Usage {
            completion_tokens: answers().map(|a| a.tokens).sum(),
            reasoning_tokens: answers().map(|a| a.reasoning_tokens).sum(),
            ..self.usage
        }
    }

    /// All updates put into the answers they belong to.
    pub async fn collect<T: Default>(
        &mut self,
        n: usize,
        mut add: impl FnMut(&mut T, Update),
    ) -> Result<Vec<T>, ApiError> {
        let mut answers: Vec<T> = (0..n).map(|_| T::default()).collect();
        while let Some(update) = self.next().await {
            let update = update?;
            if let Some(answer) = answers.get_mut(update.index) {
                add(answer, update);
            }
        }
        Ok(answers)
    }

    fn fail(&mut self, outcome: Outcome, error: ApiError) -> ApiError {
        (self.outcome, self.open) = (outcome, 0);
        self.tickets.clear();
        error
    }

    fn take(&mut self, index: usize, event: Event) -> Result<Option<Update>, ApiError> {
        if let Event::Prompt { sample: 0, cached } = event {
            self.usage.cached_tokens += cached;
        }
        let Some(running) = self.running.get_mut(index).filter(|r| !r.done) else { return Ok(None) };
        match event {
            Event::Prompt { .. } => {
                let prompt = std::mem::take(&mut running.prompt);
                if !prompt.is_empty() {
                    let told =
                        |i| Update { prompt: Some(prompt.clone()), ..Update::of(index + i, Vec::new(), Vec::new()) };
                    self.pending.extend((0..running.siblings).map(told));
                }
                Ok(None)
            }
            Event::PromptLogprobs { logprobs, .. } => {
                let info =
                    |t: TokenLogprob| TokenInfo { token: t.token, logprob: t.logprob, top: t.top, thought: false };
                running.prompt.extend(logprobs.into_iter().map(info));
                Ok(None)
            }
            Event::Hidden { .. } => Ok(None),
            Event::Token { token, logprob, top_logprobs: top, .. } => {
                let silent = self.stop_tokens.contains(&token) || self.ends.contains(&token);
                let (deltas, thought) = running.answer.push(token, silent);
                if self.logprobs && (!silent || running.echo) {
                    running.held.push(TokenInfo { token, logprob, top, thought });
                }
                if running.answer.stopped() {
                    self.stop[index].store(true, Ordering::Relaxed);
                    return self.finish(index, deltas, Finish::Stop).map(Some);
                }
                let tokens = if deltas.is_empty() { Vec::new() } else { std::mem::take(&mut running.held) };
                Ok((!deltas.is_empty()).then_some(Update::of(index, deltas, tokens)))
            }
            Event::Finish { finish, .. } => self.finish(index, Vec::new(), finish).map(Some),
        }
    }

    fn finish(&mut self, index: usize, mut deltas: Vec<Delta>, finish: Finish) -> Result<Update, ApiError> {
        let running = &mut self.running[index];
        if let Some(message) = running.steered.grammar.get() {
            return Err(ApiError::invalid("response_format", format!("The grammar could not be followed: {message}")));
        }
        deltas.extend(running.answer.finish());
        running.done = true;
        self.open -= 1;
        let reason = match finish {
            Finish::Stop if running.answer.calls() > 0 => FinishReason::ToolCalls,
            Finish::Stop => FinishReason::Stop,
            Finish::Length => FinishReason::Length,
            Finish::Cancelled => return Err(ApiError::stopping()),
            Finish::NotFinite => return Err(ApiError::not_finite()),
        };
        self.length |= reason == FinishReason::Length;
        let cut = running.steered.cut.get();
        let tokens = std::mem::take(&mut running.held);
        let stop = running.answer.stop_string().map(str::to_owned);
        Ok(Update { finish: Some(reason), cut, stop, ..Update::of(index, deltas, tokens) })
    }
}

/// Counts what became of it.
impl Drop for Generation {
    fn drop(&mut self) {
        let (usage, m) = (self.usage(), &self.server.metrics);
        m.ended(self.outcome);
        m.whole.observe(self.started.elapsed());
        let add = |counter: &std::sync::atomic::AtomicU64, n: usize| counter.fetch_add(n as u64, Ordering::Relaxed);
        add(&m.prompt_tokens, usage.prompt_tokens);
        add(&m.cached_tokens, usage.cached_tokens);
        add(&m.tokens, usage.completion_tokens);
        add(&m.reasoning_tokens, usage.reasoning_tokens);
        let cuts = |cut: Cut| self.running.iter().filter(|r| r.steered.cut.get() == Some(cut)).count();
        add(&m.budget_cuts, cuts(Cut::Budget));
        add(&m.loop_cuts, cuts(Cut::Circles));
    }
}

fn submit(
    server: &Server,
    salt: u64,
    order: Order,
    base: usize,
    sender: UnboundedSender<(usize, Event)>,
    stop: Arc<Vec<AtomicBool>>,
) -> Result<Ticket, ApiError> {
    let seed = order.seed.map_or_else(crate::types::random, |seed| seed as u64);
    let request = Request { prompt: order.prompt, n: order.n, sampling: order.sampling, key: [seed, 0, 0] };
    let idle = order.steering.iter().all(Steering::is_idle);
    let boxed = |s: Steering| -> Box<dyn Constraint> { Box::new(s) };
    let constraints = if idle { Vec::new() } else { order.steering.into_iter().map(boxed).collect() };
    let on_event = Box::new(move |event: Event| {
        let index = base + event.sample();
        let enough = stop[index].load(Ordering::Relaxed);
        match sender.send((index, event)) {
            Err(_) => Flow::Cancel, // the client is gone
            Ok(()) if enough => Flow::Stop,
            Ok(()) => Flow::Continue,
        }
    });
    let submission = Submission { request, salt, observe: order.observe, constraints, on_event };
    server.engine.submit(submission).map_err(|refused| refusal(server, refused))
}

/// What the engine's refusal is to a client.
pub(crate) fn refusal(server: &Server, refused: Refused) -> ApiError {
    match refused {
        Refused::Busy { waiting } => ApiError::busy(waiting, server.retry_after()),
        Refused::Stopping => ApiError::stopping(),
        Refused::Invalid(error) => error.into(),
    }
}
