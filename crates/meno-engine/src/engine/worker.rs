//! The engine's thread.

use super::shared::{Arrival, Shared, lock};
use super::submission::Submission;
use crate::error::Error;
use crate::generator::{Event, Generator, Job, Stop};
use meno_model::Model;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A request in progress.
struct Open {
    on_event: Box<dyn FnMut(Event) -> ControlFlow<Stop> + Send>,
    cancelled: Arc<AtomicBool>,
    submitted: Instant,
    /// Per sample: when its last token was emitted.
    last: Vec<Option<Instant>>,
    /// Number of incomplete samples.
    left: usize,
}

/// The generator and the requests in progress.
pub(super) struct Worker {
    model: Model,
    generator: Generator,
    prefix_file: Option<PathBuf>,
    shared: Arc<Shared>,
    open: HashMap<u64, Open>,
}

/// Marks the engine as ended when dropped, also after a panic, so that no thread waits for it forever.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut inbox = lock(&self.0.inbox);
        inbox.ended = true;
        inbox.arrived.clear();
        self.0.ended.notify_all();
    }
}

impl Worker {
    pub(super) fn new(model: Model, generator: Generator, prefix_file: Option<PathBuf>, shared: Arc<Shared>) -> Worker {
        Worker { model, generator, prefix_file, shared, open: HashMap::new() }
    }

    /// Answers requests until shutdown is requested and all work is complete.
    pub(super) fn run(mut self) -> Result<(), Error> {
        let _ended = Ended(self.shared.clone());
        while let Some(arrivals) = self.arrivals() {
            for arrival in arrivals {
                self.take(arrival);
            }
            self.cancel_dropped();
            if !self.generator.is_idle() {
                let Worker { model, generator, shared, open, .. } = &mut self;
                generator.step(&mut *model.weights, &mut |job, event| deliver(open, shared, job, event))?;
            }
            self.report();
        }
        if let Some(path) = &self.prefix_file
            && let Err(error) = self.generator.save_prefixes(&mut *self.model.weights, path)
        {
            // All answers were delivered. Losing the cache only costs time.
            eprintln!("warning: the cached prefixes are not saved: {error}");
        }
        Ok(())
    }

    /// Returns new submissions; waits for one if there is no other work. `None` means that it is time to stop.
    fn arrivals(&self) -> Option<Vec<Arrival>> {
        let mut inbox = lock(&self.shared.inbox);
        while inbox.arrived.is_empty() && self.generator.is_idle() {
            if inbox.stopping {
                return None;
            }
            inbox = self.shared.wake.wait(inbox).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        Some(inbox.arrived.drain(..).collect())
    }

    fn take(&mut self, arrival: Arrival) {
        let Arrival { id, submission, cancelled, at } = arrival;
        let Submission { request, salt, observe, constraints, on_event } = submission;
        let n = request.n;
        lock(&self.shared.stats).requests += 1;
        let open = Open { on_event, cancelled, submitted: at, last: vec![None; n], left: n };
        if n > 0 {
            self.open.insert(id, open);
        }
        let Worker { generator, shared, open, .. } = self;
        let job = Job { id, salt, request, observe, constraints };
        generator.add(job, &mut |job, event| deliver(open, shared, job, event));
    }

    /// Cancels requests whose ticket was dropped.
    fn cancel_dropped(&mut self) {
        let cancelled: Vec<u64> =
            self.open.iter().filter(|o| o.1.cancelled.load(Ordering::Relaxed)).map(|o| *o.0).collect();
        if !cancelled.is_empty() {
            let Worker { generator, shared, open, .. } = self;
            generator.cancel_jobs(|id| cancelled.contains(&id), &mut |job, event| deliver(open, shared, job, event));
        }
    }

    fn report(&self) {
        let (waiting, running) = self.generator.counts();
        let mut stats = lock(&self.shared.stats);
        stats.totals = self.generator.stats();
        (stats.waiting, stats.running) = (waiting, running);
        stats.cache_pages = self.generator.cache_pages();
    }
}

/// Delivers an event to its request.
fn deliver(open: &mut HashMap<u64, Open>, shared: &Shared, job: u64, event: Event) -> ControlFlow<Stop> {
    let Some(request) = open.get_mut(&job) else { return ControlFlow::Break(Stop::All) };
    match &event {
        Event::Prompt { .. } | Event::PromptLogprobs { .. } | Event::Hidden { .. } => {}
        Event::Token { sample, .. } => {
            let (now, mut stats) = (Instant::now(), lock(&shared.stats));
            let first = request.last.iter().all(Option::is_none);
            match request.last[*sample].replace(now) {
                Some(last) => stats.time_between_tokens.add((now - last).as_secs_f64()),
                None if first => stats.time_to_first_token.add((now - request.submitted).as_secs_f64()),
                None => {}
            }
        }
        Event::Finish { finish, .. } => {
            lock(&shared.stats).finished.add(*finish);
            lock(&shared.inbox).open -= 1;
            request.left -= 1;
        }
    }
    let done = request.left == 0;
    let flow = if request.cancelled.load(Ordering::Relaxed) {
        ControlFlow::Break(Stop::All)
    } else {
        (request.on_event)(event)
    };
    if done {
        open.remove(&job);
    }
    flow
}
