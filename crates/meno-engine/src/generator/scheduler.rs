//! Decides which sequence runs next, and in which slot of the cache.
//!
//! A sequence waits in the queue, gets a slot when there is room, runs its prompt in chunks, and then decodes one token
//! per step. If the cache is full, the most recent sequence releases its pages and waits again. Its tokens so far are
//! recomputed like a prompt, with the same bits (`docs/numerics.md`).

use super::config::{GeneratorConfig, Speculative};
use super::event::{Event, Finish, Sink, Stop};
use super::observe::Observe;
use super::prefix::{Prefixes, common};
use super::prompt_rows::most_logit_rows;
use super::request::Job;
use super::sequence::{ResultRow, Sequence};
use super::stats::Stats;
use meno_tensor::backend::Backend;
use meno_tensor::tape::{Batch, Outputs, PAGE, PageTable};
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// Minimum prompt rows per step, if the prompt has as many left.
const LEAST_CHUNK: usize = 16;

/// Sequences waiting and running.
pub(super) struct Scheduler {
    config: GeneratorConfig,
    queue: VecDeque<Sequence>,
    /// In order of admission.
    pub(super) active: Vec<Sequence>,
    pub(super) prefixes: Prefixes,
    /// Keep the cache contents of finished sequences for all requests, or only for other samples of the same prompt.
    pub(super) reuse: bool,
    /// Indices and row counts of the prompts that run in this step.
    prefilling: Vec<(usize, usize)>,
    turn: usize,
    /// Rows that are still available for drafts in this step.
    spare: usize,
    /// Maximum prompt rows with logits in a step, for requests that ask for log-probabilities of the prompt.
    logit_rows: usize,
    /// True if passes sample rows: see [`meno_tensor::backend::Backend::samples_rows`].
    samples_rows: bool,
}

impl Scheduler {
    pub(super) fn new(config: GeneratorConfig, vocab: usize, samples_rows: bool) -> Scheduler {
        Scheduler {
            config,
            queue: VecDeque::new(),
            active: Vec::with_capacity(config.slots),
            prefixes: Prefixes::default(),
            reuse: config.reuse_prefixes,
            prefilling: Vec::with_capacity(config.slots),
            turn: 0,
            spare: 0,
            logit_rows: most_logit_rows(vocab),
            samples_rows,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.active.is_empty()
    }

    /// Returns the number of waiting and of running sequences.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.queue.len(), self.active.len())
    }

    /// Queues the samples of a job. With `max_tokens = 0` they finish immediately, unless something is reported about
    /// the prompt.
    pub(super) fn add(&mut self, job: Job, sink: Sink<'_>) {
        let id = job.id;
        if job.request.sampling.max_tokens == 0 && job.observe == Observe::Nothing {
            for sample in 0..job.request.n {
                let _ = sink(id, Event::Finish { sample, finish: Finish::Length });
            }
            return;
        }
        self.queue.extend(Sequence::of(job, self.config.max_len));
    }

    /// Ends the remaining samples of the jobs for which `which` is true.
    pub(super) fn cancel(&mut self, which: impl Fn(u64) -> bool, table: &mut PageTable, sink: Sink<'_>) {
        let (mut cancelled, mut i) = (Vec::new(), 0);
        self.queue.retain(|s| {
            if which(s.job) {
                cancelled.push((s.job, s.sample));
            }
            !which(s.job)
        });
        while i < self.active.len() {
            if which(self.active[i].job) {
                let s = self.active.remove(i);
                cancelled.push((s.job, s.sample));
                self.retire(s, table);
            } else {
                i += 1;
            }
        }
        for (job, sample) in cancelled {
            let _ = sink(job, Event::Finish { sample, finish: Finish::Cancelled });
        }
    }

    /// Drops all kept prefixes.
    pub(super) fn forget(&mut self, table: &mut PageTable) {
        self.prefixes.clear(table);
    }

    /// Assigns slots to waiting sequences, first come, first served, as long as there is room.
    pub(super) fn admit(&mut self, table: &mut PageTable, stats: &mut Stats) {
        let mut i = 0;
        while self.active.len() < self.config.slots && i < self.queue.len() {
            let Some((from, shared)) = self.beginning(&self.queue[i]) else {
                i += 1;
                continue;
            };
            let Some(mut s) = self.queue.remove(i) else { break };
            let slot = table.open();
            if let Some(from) = from {
                table.fork(from, slot, shared);
                self.prefixes.touch(from);
            }
            let needed = |s: &Sequence, table: &PageTable| table.pages_needed(s.at(), s.cached..s.tokens.len() + 1);
            (s.slot, s.cached) = (Some(slot), shared);
            let wanted = needed(&s, table) + self.active.iter().map(|s| needed(s, table)).sum::<usize>();
            while table.free_pages() < wanted && self.prefixes.evict(table) {}
            if table.free_pages() < wanted && !self.active.is_empty() {
                table.close(slot);
                (s.slot, s.cached) = (None, 0);
                self.queue.insert(i, s);
                return;
            }
            if s.tokens.len() == s.prompt {
                s.reused = shared;
                stats.cached_tokens += shared;
            }
            s.reserve();
            self.active.push(s);
        }
    }

    /// Finds the slot that holds the longest prefix of `s`, and its length. `None` if a running prompt will soon hold a
    /// longer one.
    fn beginning(&self, s: &Sequence) -> Option<(Option<usize>, usize)> {
        // The last token has to run for its logits; if all rows are observed, all have to run.
        let most = if s.needs_all_rows() { 0 } else { s.tokens.len() - 1 };
        let mut best = self.prefixes.find(s.salt, &s.tokens[..most]).map_or((None, 0), |(slot, n)| (Some(slot), n));
        let mut soon = 0;
        for a in &self.active {
            // The other samples of a prompt join when it is complete: see `ran`.
            if a.job == s.job && a.tokens.len() == a.prompt && s.tokens.len() == s.prompt {
                return None;
            }
            if a.salt != s.salt {
                continue;
            }
            let n = common(&a.tokens, &s.tokens[..most]);
            if n.min(a.cached) > best.1 {
                best = (a.slot, n.min(a.cached));
            }
            soon = soon.max(n);
        }
        // Waiting a few steps pays off if it saves a page or more.
        let wait = soon >= best.1 + PAGE;
        (!wait).then_some(best)
    }

    /// Fills `batch` with the rows of the next step: one for each decoding sequence (more with a draft), then prompts.
    pub(super) fn fill(&mut self, batch: &mut Batch, table: &mut PageTable, stats: &mut Stats) {
        self.active.iter_mut().for_each(|s| s.rows = 0..0);
        // Use at most half of the rows for drafts, so that prompts make progress too.
        self.spare = (self.config.rows() - self.active.len()) / 2;
        for i in 0..self.active.len() {
            if self.active[i].slot.is_some() && self.active[i].left() == 1 && self.reserve_rows(i, 1, table) {
                self.guess(i, table);
                self.feed(i, 1, batch, stats);
            }
        }
        let mut budget = self.config.rows() - batch.len();
        if !batch.is_empty() {
            budget = budget.min(self.config.prefill_rows);
        }
        self.share_out(budget);
        for k in 0..self.prefilling.len() {
            let (i, rows) = self.prefilling[k];
            if rows > 0 && self.active[i].slot.is_some() && self.reserve_rows(i, rows, table) {
                self.feed(i, rows, batch, stats);
            }
        }
        // Sequences that lost their pages wait again, at the front of the queue.
        for i in (0..self.active.len()).rev() {
            if self.active[i].slot.is_none() {
                let s = self.active.remove(i);
                self.queue.push_front(s);
            }
        }
    }

    /// Distributes `budget` rows equally over the running prompts. The rest goes to the first, which rotates each step.
    fn share_out(&mut self, mut budget: usize) {
        self.prefilling.clear();
        let waiting = self.active.iter().enumerate().filter(|(_, s)| s.slot.is_some() && s.left() > 1);
        self.prefilling.extend(waiting.map(|(i, _)| (i, 0)));
        let count = self.prefilling.len().max(1);
        self.prefilling.rotate_left(self.turn % count);
        self.turn = self.turn.wrapping_add(1);
        let mut logits = self.logit_rows;
        for share in [(budget / count).max(LEAST_CHUNK), budget] {
            for (i, rows) in &mut self.prefilling {
                let (s, mut more) = (&self.active[*i], share.min(budget));
                more = more.min(s.left() - *rows);
                if s.needs_all_logits() {
                    more = more.min(logits);
                    logits -= more;
                }
                *rows += more;
                budget -= more;
            }
        }
    }

    /// Reserves pages for the next `rows` tokens of sequence `i`. If there are too few, it evicts kept prefixes, then
    /// more recent sequences, then the sequence itself; `false` in the last case.
    fn reserve_rows(&mut self, i: usize, rows: usize, table: &mut PageTable) -> bool {
        loop {
            let (slot, cached) = (self.active[i].at(), self.active[i].cached);
            if table.pages_needed(slot, cached..cached + rows) <= table.free_pages() {
                table.reserve(slot, cached..cached + rows);
                return true;
            }
            if self.prefixes.evict(table) {
                continue;
            }
            let idle = |s: &Sequence| s.slot.is_some() && s.fed == 0;
            let victim = (i + 1..self.active.len()).rev().find(|&j| idle(&self.active[j])).unwrap_or(i);
            let s = &mut self.active[victim];
            table.close(s.at());
            (s.slot, s.cached) = (None, 0);
            s.draft.clear();
            if victim == i {
                return false;
            }
        }
    }

    /// Drafts the next tokens of sequence `i`, if they fit without evicting anything.
    fn guess(&mut self, i: usize, table: &mut PageTable) {
        let s = &mut self.active[i];
        if self.config.speculative == Speculative::Ngram {
            s.guess();
        }
        let most = s.room().saturating_sub(1).min(self.spare);
        s.draft.truncate(most);
        let (slot, next) = (s.at(), s.tokens.len()..s.tokens.len() + s.draft.len());
        if table.pages_needed(slot, next.clone()) > table.free_pages() {
            s.draft.clear();
        } else {
            table.reserve(slot, next);
        }
        self.spare -= s.draft.len();
    }

    /// Appends the next `rows` tokens of sequence `i` to the batch. If they are its last, appends its draft and
    /// requests logits.
    fn feed(&mut self, i: usize, rows: usize, batch: &mut Batch, stats: &mut Stats) {
        let s = &mut self.active[i];
        let (end, last) = (s.tokens.len(), rows == s.left());
        stats.prompt_tokens += s.prompt.saturating_sub(s.cached).min(rows);
        s.past = s.cached;
        s.rows = match last {
            false => batch.push(&s.tokens[s.cached..s.cached + rows], s.cached, s.slot),
            true => {
                s.tokens.extend_from_slice(&s.draft);
                let rows = batch.push(&s.tokens[s.cached..], s.cached, s.slot);
                s.tokens.truncate(end);
                rows
            }
        };
        // The last row and its draft need logits; if all rows are observed, all do.
        let choice = if last { s.rows.end - 1 - s.draft.len() } else { s.rows.end };
        let all = s.needs_all_logits();
        let first = if all { s.rows.start } else { choice };
        // The other samples of a prompt choose from its logits.
        let shared = end == s.prompt && self.queue.iter().any(|q| q.job == s.job);
        if last && self.samples_rows && !all && !shared && s.needs_no_logits() {
            s.row = Some(ResultRow::Sampled(batch.sampled_rows.len()));
            let rows = choice..s.rows.end;
            batch.sampled_rows.extend(rows.map(|row| (row, s.sampling_at(end + row - choice))));
            s.fed = s.rows.len();
            return;
        }
        s.row = last.then_some(ResultRow::Logits(batch.logit_rows.len() + choice - first));
        if let Some(observing) = s.observing.as_mut().filter(|_| all) {
            observing.row = Some(batch.logit_rows.len());
        }
        batch.logit_rows.extend(first..s.rows.end);
        s.fed = s.rows.len();
    }

    /// Reads the reports about the prompts of this step from `rows` rows.
    pub(super) fn observe(&mut self, backend: &dyn Backend, out: &Outputs, vocab: usize, rows: usize) {
        self.active.iter_mut().for_each(|s| s.observe(backend, out, vocab, rows));
    }

    /// Updates the sequences after a step. When a prompt is complete, the other samples of it join while there are
    /// free slots: they share its pages and sample from its logits.
    pub(super) fn ran(&mut self, table: &mut PageTable) {
        for i in 0..self.active.len() {
            let s = &mut self.active[i];
            s.cached += std::mem::take(&mut s.fed);
            let (job, prompt, from, row, last) = (s.job, s.prompt, s.at(), s.row, s.rows.end);
            if row.is_none() || s.tokens.len() > prompt {
                continue;
            }
            while self.active.len() < self.config.slots
                && let Some(next) = self.queue.iter().position(|s| s.job == job && s.tokens.len() == prompt)
                && let Some(mut s) = self.queue.remove(next)
            {
                let slot = table.open();
                table.fork(from, slot, prompt);
                (s.slot, s.cached, s.reused, s.row) = (Some(slot), prompt, prompt, row);
                (s.rows, s.past) = (last - 1..last, prompt - 1);
                s.reserve();
                self.active.push(s);
            }
        }
    }

    /// Emits the new tokens and retires finished sequences.
    pub(super) fn accept(&mut self, table: &mut PageTable, stats: &mut Stats, sink: Sink<'_>) {
        let mut cancelled = Vec::new();
        for s in &mut self.active {
            if s.report_observed(sink) == ControlFlow::Break(Stop::All) {
                cancelled.push(s.job);
            }
            if s.row.take().is_some() {
                deliver(s, stats, sink, &mut cancelled);
            }
        }
        let mut i = 0;
        while i < self.active.len() {
            match self.active[i].finish {
                None => i += 1,
                Some(_) => {
                    let s = self.active.remove(i);
                    self.retire(s, table);
                }
            }
        }
        if !cancelled.is_empty() {
            self.cancel(|job| cancelled.contains(&job), table, sink);
        }
    }

    /// Releases a sequence's slot, or keeps its contents as a prefix.
    fn retire(&mut self, mut s: Sequence, table: &mut PageTable) {
        let Some(slot) = s.slot else { return };
        let sound = s.finish != Some(Finish::NotFinite);
        if sound && (self.reuse || self.queue.iter().any(|q| q.job == s.job)) {
            s.tokens.truncate(s.cached);
            self.prefixes.keep(slot, s.salt, s.tokens, table);
        } else {
            table.close(slot);
        }
    }
}

/// Emits the tokens that a sequence got in this step.
fn deliver(s: &mut Sequence, stats: &mut Stats, sink: Sink<'_>, cancelled: &mut Vec<u64>) {
    if cancelled.contains(&s.job) {
        s.finish = None;
        return;
    }
    let (before, right) = (s.tokens.len() - s.chosen.len(), s.chosen.len().saturating_sub(1));
    stats.drafted += s.draft.len();
    stats.accepted += right;
    s.learn(right);
    s.draft.clear();
    s.cached = s.cached.min(s.tokens.len());
    if before == s.prompt {
        let _ = sink(s.job, Event::Prompt { sample: s.sample, cached: s.reused });
    }
    let (job, sample, count) = (s.job, s.sample, s.chosen.len());
    if count > 0 {
        s.cached = s.tokens.len() - 1; // includes the accepted draft tokens
    }
    for (i, c) in s.chosen.drain(..).enumerate() {
        let index = before + i - s.prompt;
        let finish = s.finish.filter(|_| i + 1 == count);
        stats.tokens += 1;
        let flow =
            sink(job, Event::Token { sample, index, token: c.token, logprob: c.logprob, top_logprobs: c.top, finish });
        if flow.is_continue() {
            continue;
        }
        if finish.is_none() {
            s.finish = (flow == ControlFlow::Break(Stop::Answer)).then_some(Finish::Stop);
        }
        if flow == ControlFlow::Break(Stop::All) {
            cancelled.push(job);
        }
        s.tokens.truncate(before + i + 1);
        s.cached = s.cached.min(s.tokens.len() - 1);
        break;
    }
    if let Some(finish) = s.finish {
        let _ = sink(job, Event::Finish { sample, finish });
    }
}
