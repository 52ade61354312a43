//! Runs the texts of a request: as many at once as keep the engine busy, the others after them.

use crate::clients::Client;
use crate::error::ApiError;
use crate::generation::submit_error;
use crate::metrics::Outcome;
use crate::state::Server;
use meno_engine::engine::{Submission, SubmitError, Ticket};
use meno_engine::{Event, Finish, Observe, Pooling, Request, Sampling, Stop, StreamKey};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Records a request in the metrics when it is dropped, also if the client disconnects.
struct RequestRecord<'a> {
    server: &'a Server,
    client: &'a Client,
    tokens: usize,
    cached: usize,
    outcome: Outcome,
}

impl Drop for RequestRecord<'_> {
    fn drop(&mut self) {
        let m = &self.server.metrics;
        m.ended(self.outcome);
        m.request_times.observe(self.client.arrived.elapsed());
        m.prompt_tokens.fetch_add(self.tokens as u64, Ordering::Relaxed);
        m.cached_tokens.fetch_add(self.cached as u64, Ordering::Relaxed);
    }
}

/// Returns the vector of every prompt.
pub(super) async fn vectors(
    server: &Arc<Server>,
    client: &Client,
    prompts: Vec<Vec<u32>>,
    pooling: Pooling,
) -> Result<Vec<Vec<f32>>, ApiError> {
    let at_once = (2 * server.engine.options().generator.slots).min(prompts.len());
    let _reservation = server.reserve_answers(client, at_once).inspect_err(|error| server.count_rejection(error))?;
    let mut record = RequestRecord { server, client, tokens: 0, cached: 0, outcome: Outcome::Cancelled };
    let result = gather(server, client, &prompts, pooling, at_once, &mut record).await;
    record.outcome = match &result {
        Ok(_) => Outcome::Done,
        Err(error) if error.status == 429 => Outcome::Busy,
        Err(error) if error.status == 504 => Outcome::Timeout,
        Err(_) => Outcome::Failed,
    };
    result
}

async fn gather(
    server: &Arc<Server>,
    client: &Client,
    prompts: &[Vec<u32>],
    pooling: Pooling,
    at_once: usize,
    record: &mut RequestRecord<'_>,
) -> Result<Vec<Vec<f32>>, ApiError> {
    let seconds = server.options.request_seconds;
    let deadline = client.arrived + Duration::from_secs(seconds);
    let (sender, mut events) = unbounded_channel();
    let mut vectors = vec![Vec::new(); prompts.len()];
    // Dropping a ticket cancels its request. If the client disconnects, all are dropped.
    let (mut tickets, mut next) = (HashMap::new(), 0);
    loop {
        while next < prompts.len() && tickets.len() < at_once {
            match submit(server, client.salt, next, prompts[next].clone(), pooling, &sender) {
                Ok(ticket) => tickets.insert(next, ticket),
                Err(SubmitError::Busy { .. }) if !tickets.is_empty() => break, // try again when one of these is done
                Err(error) => return Err(submit_error(server, error)),
            };
            record.tokens += prompts[next].len();
            next += 1;
        }
        if tickets.is_empty() {
            return Ok(vectors);
        }
        let event = tokio::time::timeout_at(deadline, events.recv()).await.map_err(|_| ApiError::timeout(seconds))?;
        match event {
            None => return Err(ApiError::internal("The engine ended before the embeddings were complete.")),
            Some((i, Event::Hidden { vector, .. })) => vectors[i] = vector,
            Some((_, Event::Prompt { cached, .. })) => record.cached += cached,
            Some((i, Event::Finish { finish, .. })) => match finish {
                Finish::Stop | Finish::Length => drop(tickets.remove(&i)),
                Finish::Cancelled => return Err(ApiError::stopping()),
                Finish::NotFinite => return Err(ApiError::not_finite()),
            },
            Some(_) => {}
        }
    }
}

fn submit(
    server: &Server,
    salt: u64,
    index: usize,
    prompt: Vec<u32>,
    pooling: Pooling,
    sender: &UnboundedSender<(usize, Event)>,
) -> Result<Ticket, SubmitError> {
    let sampling = Sampling { max_tokens: 0, temperature: 0.0, ..Sampling::default() };
    let request = Request { prompt, n: 1, sampling, key: StreamKey::default() };
    let sender = sender.clone();
    let on_event = Box::new(move |event| {
        sender.send((index, event)).map_or(ControlFlow::Break(Stop::All), |()| ControlFlow::Continue(()))
    });
    let observe = Observe::Hidden(pooling);
    server.engine.submit(Submission { request, salt, observe, constraints: Vec::new(), on_event })
}
