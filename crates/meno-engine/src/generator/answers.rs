//! Answers to a list of requests, or to requests that arrive while others are answered.

use super::{Completion, Event, Finish, Generator, Job, Observe, Request, Stats, Stop, TokenEvent};
use crate::error::Error;
use meno_model::Model;
use meno_tensor::backend::Weights;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

/// What a source of requests returns, before every step of [`Generator::generate_from`].
#[derive(Clone, Debug, PartialEq)]
pub enum More {
    /// Requests to answer; none if there are none at the moment.
    Requests(Vec<Request>),
    /// There will be no more requests.
    End,
    /// Running requests end here too.
    Cancel,
}

/// Receives every token as it is chosen.
type OnToken<'a> = dyn FnMut(TokenEvent) -> ControlFlow<Stop> + 'a;

/// The completions of a call, as far as they are known.
#[derive(Default)]
struct Answers {
    completions: Vec<Completion>,
    /// The first completion of each request.
    first: Vec<usize>,
    /// The length of each request's prompt.
    prompts: Vec<usize>,
    cancelled: bool,
}

impl Answers {
    /// Adds a request and returns its number.
    fn add(&mut self, r: &Request, max_len: usize) -> usize {
        let request = self.first.len();
        self.first.push(self.completions.len());
        self.prompts.push(r.prompt.len());
        let finish = Finish::Cancelled; // until it finishes
        // Allocate for the longest answer now, so that a step allocates nothing.
        let longest = r.sampling.max_tokens.min(max_len);
        let empty = |sample| {
            let (tokens, logprobs) = (Vec::with_capacity(longest), Vec::with_capacity(longest));
            Completion { request, sample, tokens, logprobs, finish }
        };
        self.completions.extend((0..r.n).map(empty));
        request
    }

    fn event(&mut self, job: u64, event: Event, on_token: &mut OnToken) -> ControlFlow<Stop> {
        let request = job as usize;
        match event {
            _ if self.cancelled => return ControlFlow::Break(Stop::All),
            Event::Prompt { .. } | Event::PromptLogprobs { .. } | Event::Hidden { .. } => {}
            Event::Finish { sample, finish } => {
                self.completions[self.first[request] + sample].finish = finish;
                self.cancelled = finish == Finish::NotFinite;
            }
            Event::Token { sample, index, token, logprob, finish, .. } => {
                let c = &mut self.completions[self.first[request] + sample];
                c.tokens.push(token);
                c.logprobs.push(logprob);
                let flow = on_token(TokenEvent { request, sample, index, token, logprob, finish });
                self.cancelled = flow == ControlFlow::Break(Stop::All);
                return flow;
            }
        }
        ControlFlow::Continue(())
    }

    fn finish(self) -> Result<Vec<Completion>, Error> {
        match self.completions.iter().find(|c| c.finish == Finish::NotFinite) {
            Some(c) => {
                let position = self.prompts[c.request] + c.tokens.len();
                Err(Error::NotFinite { request: c.request, position })
            }
            None => Ok(self.completions),
        }
    }
}

impl Generator {
    /// Answers all requests with the current weights of `model`, which must be the model that this generator was
    /// created for. `on_token` receives every token as it is chosen. Completions are in the order of requests and
    /// samples; cancelled ones are included, with the tokens so far.
    ///
    /// # Errors
    /// Fails if a request is invalid or if logits are not finite.
    pub fn generate(
        &mut self,
        model: &mut Model,
        requests: &[Request],
        on_token: &mut dyn FnMut(TokenEvent) -> ControlFlow<Stop>,
    ) -> Result<Vec<Completion>, Error> {
        self.generate_with(&mut *model.weights, requests, on_token)
    }

    /// Like [`Generator::generate`], with the weights of a network.
    pub fn generate_with(
        &mut self,
        weights: &mut dyn Weights,
        requests: &[Request],
        on_token: &mut dyn FnMut(TokenEvent) -> ControlFlow<Stop>,
    ) -> Result<Vec<Completion>, Error> {
        for (i, r) in requests.iter().enumerate() {
            self.check(r).map_err(|e| e.of_request(i))?;
        }
        let mut all = Some(requests.to_vec());
        self.generate_from(weights, &mut |_, _| all.take().map_or(More::End, More::Requests), on_token)
    }

    /// Answers the requests of `source`, which is called before every step with the number of waiting and of running
    /// sequences. Requests are numbered in the order in which they arrive.
    ///
    /// # Errors
    /// As [`Generator::generate`].
    pub fn generate_from(
        &mut self,
        weights: &mut dyn Weights,
        source: &mut dyn FnMut(usize, usize) -> More,
        on_token: &mut dyn FnMut(TokenEvent) -> ControlFlow<Stop>,
    ) -> Result<Vec<Completion>, Error> {
        self.stats = Stats::default();
        if !self.scheduler.reuse {
            self.forget();
        }
        let (mut answers, mut ended) = (Answers::default(), false);
        while !self.cancel.load(Ordering::Relaxed) && !answers.cancelled {
            if !ended {
                let (waiting, running) = self.counts();
                match source(waiting, running) {
                    More::Requests(requests) => self.queue_all(requests, &mut answers, on_token)?,
                    More::End => ended = true,
                    More::Cancel => break,
                }
            }
            match self.is_idle() {
                true if ended => break,
                true => {}
                false => self.step(weights, &mut |job, event| answers.event(job, event, on_token))?,
            }
        }
        self.scheduler.cancel(|_| true, self.cache.table_mut(), &mut |_, _| ControlFlow::Continue(()));
        answers.finish()
    }

    fn queue_all(
        &mut self,
        requests: Vec<Request>,
        answers: &mut Answers,
        on_token: &mut OnToken,
    ) -> Result<(), Error> {
        for request in requests {
            self.check(&request).map_err(|e| e.of_request(answers.first.len()))?;
            let id = answers.add(&request, self.config.max_len) as u64;
            let job = Job { id, salt: 0, request, observe: Observe::Nothing, constraints: Vec::new() };
            self.scheduler.add(job, &mut |job, event| answers.event(job, event, on_token));
        }
        Ok(())
    }
}
