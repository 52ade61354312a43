//! Submits requests to the engine and converts its events to updates for the client.

use crate::answer::{AnswerFormat, AnswerParser, Delta};
use crate::clients::{Client, Reservation};
use crate::decoding_constraints::{ConstraintReport, DecodingConstraints};
use crate::error::ApiError;
use crate::metrics::Outcome;
use crate::state::Server;
use crate::thinking::ThinkingStop;
use crate::types::Usage;
use crate::update::{CollectedAnswer, FinishReason, TokenInfo, Update};
use meno_engine::constraint::Constraint;
use meno_engine::engine::{Submission, SubmitError, Ticket};
use meno_engine::generator::{Event, TokenLogprob};
use meno_engine::{Finish, Observe, Request, Sampling, Stop, StreamKey};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// One prompt and how to generate its answers.
pub(crate) struct GenerationRequest {
    /// The token ids of the prompt.
    pub prompt: Vec<u32>,
    /// The number of answers.
    pub n: usize,
    /// How tokens are sampled.
    pub sampling: Sampling,
    /// Seed of the random numbers; `None`: a random one.
    pub seed: Option<i64>,
    /// How to parse the answers.
    pub format: AnswerFormat,
    /// The constraints on the answers: one per answer, or empty.
    pub constraints: Vec<DecodingConstraints>,
    /// What to report about the prompt.
    pub observe: Observe,
}

/// An answer that is being generated.
struct RunningAnswer {
    parser: AnswerParser,
    report: ConstraintReport,
    /// Tokens whose text has not been sent yet.
    held: Vec<TokenInfo>,
    /// The tokens of the prompt received so far, if they are returned; only in the first of its answers.
    prompt: Vec<TokenInfo>,
    /// The number of answers to the same prompt.
    siblings: usize,
    /// True if the tokens of the prompt and the token that ends the answer are returned too.
    echo: bool,
    done: bool,
}

/// The answers of one request while they are generated. Dropping it cancels them: the engine frees their slots before
/// its next step.
pub(crate) struct Generation {
    server: Arc<Server>,
    /// Part of the client's limit, held as long as the answers are needed.
    _reservation: Option<Reservation>,
    events: UnboundedReceiver<(usize, Event)>,
    /// Kept as long as the answers are needed: dropping a ticket cancels its request.
    tickets: Vec<Ticket>,
    /// Per answer: whether a stop string has ended it.
    stop: Arc<Vec<AtomicBool>>,
    running: Vec<RunningAnswer>,
    /// Number of answers that are not complete.
    open: usize,
    logprobs: bool,
    stop_tokens: Vec<u32>,
    /// The model's end-of-sequence tokens. They have no text, even if `ignore_eos` makes the answer continue.
    eos: Vec<u32>,
    pending: VecDeque<Update>,
    usage: Usage,
    started: Instant,
    outcome: Outcome,
    /// True if an answer ended at the token limit.
    length: bool,
}

impl Generation {
    /// Submits requests of a client to the engine.
    pub(crate) fn start(
        server: &Arc<Server>,
        client: &Client,
        requests: Vec<GenerationRequest>,
    ) -> Result<Generation, ApiError> {
        let started = client.arrived;
        let total = requests.iter().map(|r| r.n).sum();
        let reservation = server.reserve_answers(client, total)?;
        let stop: Arc<Vec<AtomicBool>> = Arc::new((0..total).map(|_| AtomicBool::new(false)).collect());
        let (sender, events) = unbounded_channel();
        let mut running = Vec::new();
        let mut tickets = Vec::new();
        let mut usage = Usage::default();
        let logprobs = requests.iter().any(|r| r.sampling.top_logprobs.is_some());
        let stop_tokens = requests.first().map(|r| r.sampling.stop_tokens.clone()).unwrap_or_default();
        for request in requests {
            usage.prompt_tokens += request.prompt.len();
            let base = running.len();
            for i in 0..request.n {
                let report = request.constraints.get(i).map(DecodingConstraints::report).unwrap_or_default();
                let parser = AnswerParser::new(server.model.tokenizer.clone(), &request.format);
                let echo = request.observe == Observe::Logprobs;
                let first = request.prompt.iter().take(usize::from(echo && i == 0));
                let prompt = first.map(|&token| TokenInfo { token, logprob: 0.0, top: Vec::new(), thought: false });
                let (held, prompt, siblings) = (Vec::new(), prompt.collect(), request.n);
                running.push(RunningAnswer { parser, report, held, prompt, siblings, echo, done: false });
            }
            tickets.push(submit(server, client.salt, request, base, sender.clone(), stop.clone())?);
        }
        Ok(Generation {
            server: server.clone(),
            _reservation: Some(reservation),
            events,
            tickets,
            stop,
            open: running.len(),
            running,
            logprobs,
            stop_tokens,
            eos: server.model.tokenizer.eos(),
            pending: VecDeque::new(),
            usage,
            started,
            outcome: Outcome::Cancelled,
            length: false,
        })
    }

    /// Returns a fixed answer without running the model.
    pub(crate) fn fixed(server: Arc<Server>, text: String) -> Generation {
        let deltas = vec![Delta::Content(text)];
        let update = Update { finish: Some(FinishReason::Stop), ..Update::new(0, deltas, Vec::new()) };
        Generation {
            server,
            _reservation: None,
            events: unbounded_channel().1,
            tickets: Vec::new(),
            stop: Arc::default(),
            running: Vec::new(),
            open: 0,
            logprobs: false,
            stop_tokens: Vec::new(),
            eos: Vec::new(),
            pending: VecDeque::from([update]),
            usage: Usage::default(),
            started: Instant::now(),
            outcome: Outcome::Cancelled,
            length: false,
        }
    }

    /// Returns the next update; `None` when all answers are complete.
    pub(crate) async fn next(&mut self) -> Option<Result<Update, ApiError>> {
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
                Ok(Some((index, event))) => match self.handle(index, event) {
                    Ok(update) => self.pending.extend(update),
                    Err(error) => return Some(Err(self.fail(Outcome::Failed, error))),
                },
            }
        }
    }

    /// The token counts so far.
    pub(crate) fn usage(&self) -> Usage {
        let answers = || self.running.iter().map(|r| &r.parser);
        Usage {
            completion_tokens: answers().map(|a| a.tokens).sum(),
            reasoning_tokens: answers().map(|a| a.reasoning_tokens).sum(),
            ..self.usage
        }
    }

    /// Waits for all updates and returns the `n` complete answers.
    pub(crate) async fn collect(&mut self, n: usize) -> Result<Vec<CollectedAnswer>, ApiError> {
        let mut answers: Vec<CollectedAnswer> = (0..n).map(|_| CollectedAnswer::default()).collect();
        while let Some(update) = self.next().await {
            let update = update?;
            if let Some(answer) = answers.get_mut(update.index) {
                answer.add(update);
            }
        }
        Ok(answers)
    }

    /// Cancels what is left and returns the error.
    fn fail(&mut self, outcome: Outcome, error: ApiError) -> ApiError {
        (self.outcome, self.open) = (outcome, 0);
        self.tickets.clear();
        error
    }

    /// Converts an event of the engine to an update, if there is anything to send.
    fn handle(&mut self, index: usize, event: Event) -> Result<Option<Update>, ApiError> {
        if let Event::Prompt { sample: 0, cached } = event {
            self.usage.cached_tokens += cached;
        }
        let Some(running) = self.running.get_mut(index).filter(|r| !r.done) else { return Ok(None) };
        match event {
            Event::Prompt { .. } => {
                let prompt = std::mem::take(&mut running.prompt);
                if !prompt.is_empty() {
                    let update =
                        |i| Update { prompt: Some(prompt.clone()), ..Update::new(index + i, Vec::new(), Vec::new()) };
                    self.pending.extend((0..running.siblings).map(update));
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
                let silent = self.stop_tokens.contains(&token) || self.eos.contains(&token);
                let (deltas, thought) = running.parser.push(token, silent);
                if self.logprobs && (!silent || running.echo) {
                    running.held.push(TokenInfo { token, logprob, top, thought });
                }
                if running.parser.stopped() {
                    self.stop[index].store(true, Ordering::Relaxed);
                    return self.finish(index, deltas, Finish::Stop).map(Some);
                }
                let tokens = if deltas.is_empty() { Vec::new() } else { std::mem::take(&mut running.held) };
                Ok((!deltas.is_empty()).then_some(Update::new(index, deltas, tokens)))
            }
            Event::Finish { finish, .. } => self.finish(index, Vec::new(), finish).map(Some),
        }
    }

    /// Ends an answer and returns its last update.
    fn finish(&mut self, index: usize, mut deltas: Vec<Delta>, finish: Finish) -> Result<Update, ApiError> {
        let running = &mut self.running[index];
        if let Some(message) = running.report.grammar.get() {
            return Err(ApiError::invalid("response_format", format!("The grammar could not be followed: {message}")));
        }
        deltas.extend(running.parser.finish());
        running.done = true;
        self.open -= 1;
        let reason = match finish {
            Finish::Stop if running.parser.calls() > 0 => FinishReason::ToolCalls,
            Finish::Stop => FinishReason::Stop,
            Finish::Length => FinishReason::Length,
            Finish::Cancelled => return Err(ApiError::stopping()),
            Finish::NotFinite => return Err(ApiError::not_finite()),
        };
        self.length |= reason == FinishReason::Length;
        let thinking_stop = running.report.thinking_stop.get();
        let tokens = std::mem::take(&mut running.held);
        let stop = running.parser.stop_string().map(str::to_owned);
        Ok(Update { finish: Some(reason), thinking_stop, stop, ..Update::new(index, deltas, tokens) })
    }
}

/// Records the outcome and the token counts in the metrics.
impl Drop for Generation {
    fn drop(&mut self) {
        let (usage, m) = (self.usage(), &self.server.metrics);
        m.ended(self.outcome);
        m.request_times.observe(self.started.elapsed());
        let add = |counter: &std::sync::atomic::AtomicU64, n: usize| counter.fetch_add(n as u64, Ordering::Relaxed);
        add(&m.prompt_tokens, usage.prompt_tokens);
        add(&m.cached_tokens, usage.cached_tokens);
        add(&m.tokens, usage.completion_tokens);
        add(&m.reasoning_tokens, usage.reasoning_tokens);
        let stops = |stop| self.running.iter().filter(|r| r.report.thinking_stop.get() == Some(stop)).count();
        add(&m.budget_stops, stops(ThinkingStop::Budget));
        add(&m.loop_stops, stops(ThinkingStop::Loop));
    }
}

/// Submits one request; `base` is the index of its first answer.
fn submit(
    server: &Server,
    salt: u64,
    request: GenerationRequest,
    base: usize,
    sender: UnboundedSender<(usize, Event)>,
    stop: Arc<Vec<AtomicBool>>,
) -> Result<Ticket, ApiError> {
    let seed = request.seed.map_or_else(crate::types::random, |seed| seed as u64);
    let observe = request.observe;
    let idle = request.constraints.iter().all(DecodingConstraints::is_idle);
    let boxed = |c: DecodingConstraints| -> Box<dyn Constraint> { Box::new(c) };
    let constraints = if idle { Vec::new() } else { request.constraints.into_iter().map(boxed).collect() };
    let request =
        Request { prompt: request.prompt, n: request.n, sampling: request.sampling, key: StreamKey::seeded(seed) };
    let on_event = Box::new(move |event: Event| {
        let index = base + event.sample();
        let stopped = stop[index].load(Ordering::Relaxed);
        match sender.send((index, event)) {
            Err(_) => ControlFlow::Break(Stop::All), // the client has disconnected
            Ok(()) if stopped => ControlFlow::Break(Stop::Answer),
            Ok(()) => ControlFlow::Continue(()),
        }
    });
    let submission = Submission { request, salt, observe, constraints, on_event };
    server.engine.submit(submission).map_err(|error| submit_error(server, error))
}

/// Converts an error of [`Engine::submit`](meno_engine::engine::Engine::submit) to an error response.
pub(crate) fn submit_error(server: &Server, error: SubmitError) -> ApiError {
    match error {
        SubmitError::Busy { waiting } => ApiError::busy(waiting, server.retry_after()),
        SubmitError::Stopping => ApiError::stopping(),
        SubmitError::Invalid(error) => error.into(),
        other => ApiError::internal(other.to_string()),
    }
}
