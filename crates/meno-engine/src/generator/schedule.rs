//! Which sequence runs next, in which place of the cache.

use super::{Capacity, Completion, Finish, Flow, Request, TokenEvent};
use crate::sampler::Scratch;
use meno_tensor::batch::Batch;
use meno_tensor::kv_cache::KvCache;
use std::collections::VecDeque;

/// A token to choose from one row of logits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    /// The row among the logits.
    pub(super) row: usize,
    /// The index of the request.
    pub(super) request: usize,
    /// The index of the sample.
    pub(super) sample: usize,
    /// The position of the token in its sequence.
    pub(super) position: usize,
    /// The place of the sequence in the cache.
    slot: usize,
    /// The token, once chosen.
    pub(super) token: u32,
    /// Its log-probability.
    pub(super) logprob: f32,
}

/// A prompt being run, for as many samples as it got slots.
struct Prefill {
    request: usize,
    slots: Vec<usize>,
    done: usize,
}

/// A group whose prompt was run and that has samples without a slot.
struct Waiting {
    request: usize,
    next: usize,
    /// A slot that holds the prompt: those of the group pass to its own samples as long as one waits.
    source: usize,
    logits: Vec<f32>,
}

/// A sequence being written.
#[derive(Clone, Copy)]
struct Running {
    request: usize,
    sample: usize,
    slot: usize,
}

/// The state of one call of the generator.
pub(super) struct Schedule<'a> {
    requests: &'a [Request],
    capacity: Capacity,
    on_token: &'a mut dyn FnMut(TokenEvent) -> Flow,
    /// By request, then sample.
    completions: Vec<Completion>,
    /// Where the completions of each request begin.
    first: Vec<usize>,
    next_request: usize,
    prefills: VecDeque<Prefill>,
    waiting: VecDeque<Waiting>,
    running: Vec<Running>,
    free: Vec<usize>,
    /// By slot: the tokens whose keys and values it holds.
    resident: Vec<Vec<u32>>,
    scratch: Scratch,
    prompt_tokens: usize,
    cancelled: bool,
}

impl<'a> Schedule<'a> {
    pub(super) fn new(
        requests: &'a [Request],
        capacity: Capacity,
        resident: Vec<Vec<u32>>,
        on_token: &'a mut dyn FnMut(TokenEvent) -> Flow,
    ) -> Self {
        let (mut completions, mut first) = (Vec::new(), Vec::new());
        for (request, r) in requests.iter().enumerate() {
            first.push(completions.len());
            let finish = if r.sampling.max_tokens == 0 { Finish::Length } else { Finish::Cancelled }; // so far
            let empty = |sample| Completion { request, sample, tokens: Vec::new(), logprobs: Vec::new(), finish };
            completions.extend((0..r.n).map(empty));
        }
        Schedule {
            requests,
            capacity,
            on_token,
            completions,
            first,
            next_request: 0,
            prefills: VecDeque::new(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            free: (0..capacity.slots).rev().collect(),
            resident,
            scratch: Scratch::default(),
            prompt_tokens: 0,
            cancelled: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        let idle = self.running.is_empty() && self.prefills.is_empty() && self.waiting.is_empty();
        self.cancelled || idle && self.next_request == self.requests.len()
    }

    /// Stops everything: what is not finished stays as it is, cancelled.
    pub(super) fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// The completions, what the cache holds, and how many prompt tokens were run.
    pub(super) fn finish(self) -> (Vec<Completion>, Vec<Vec<u32>>, usize) {
        (self.completions, self.resident, self.prompt_tokens)
    }

    /// Puts the rows of the next step into `batch`, and what is to be chosen from them into `draws`.
    pub(super) fn fill(&mut self, batch: &mut Batch, draws: &mut Vec<Draw>) {
        self.admit();
        for &Running { request, sample, slot } in &self.running {
            let c = &self.completions[self.first[request] + sample];
            let token = *c.tokens.last().expect("invariant: a running sequence has a token");
            let past = self.resident[slot].len();
            let rows = batch.push(&[token], past, Some(slot));
            self.resident[slot].push(token);
            draws.push(Draw {
                row: batch.logit_rows.len(),
                request,
                sample,
                position: past + 1,
                slot,
                token: 0,
                logprob: 0.0,
            });
            batch.logit_rows.push(rows.start);
        }
        for p in &mut self.prefills {
            let prompt = &self.requests[p.request].prompt;
            let count = (prompt.len() - p.done).min(self.capacity.rows - batch.len());
            if count == 0 {
                break;
            }
            let rows = batch.push(&prompt[p.done..p.done + count], p.done, Some(p.slots[0]));
            self.resident[p.slots[0]].extend_from_slice(&prompt[p.done..p.done + count]);
            p.done += count;
            self.prompt_tokens += count;
            if p.done == prompt.len() {
                let row = batch.logit_rows.len();
                batch.logit_rows.push(rows.end - 1);
                draws.extend(p.slots.iter().enumerate().map(|(sample, &slot)| Draw {
                    row,
                    request: p.request,
                    sample,
                    position: prompt.len(),
                    slot,
                    token: 0,
                    logprob: 0.0,
                }));
            }
        }
    }

    /// Takes new requests as long as there are slots; a group gets as many as are free.
    fn admit(&mut self) {
        while self.next_request < self.requests.len() && !self.free.is_empty() && self.waiting.is_empty() {
            let request = self.next_request;
            let r = &self.requests[request];
            self.next_request += 1;
            if r.n == 0 || r.sampling.max_tokens == 0 {
                continue;
            }
            let common = |slot: usize| {
                let same = self.resident[slot].iter().zip(&r.prompt).take_while(|(a, b)| a == b).count();
                same.min(r.prompt.len() - 1) // the last token is run for its logits
            };
            // The free slot that holds most of the prompt; of equals the one freed last.
            let best = (0..self.free.len()).max_by_key(|&i| common(self.free[i])).expect("invariant: a slot is free");
            let done = common(self.free[best]);
            let mut slots = vec![self.free.remove(best)];
            self.resident[slots[0]].truncate(done);
            let more = (r.n - 1).min(self.free.len());
            slots.extend(self.free.drain(self.free.len() - more..));
            self.prefills.push_back(Prefill { request, slots, done });
        }
    }

    /// Appends the chosen tokens, ends what is complete, and gives freed places to samples that wait for one.
    pub(super) fn accept(&mut self, draws: &[Draw], logits: &[f32], vocab: usize, cache: &mut KvCache) {
        while let Some(p) = self.prefills.front()
            && p.done == self.requests[p.request].prompt.len()
        {
            let Some(p) = self.prefills.pop_front() else { break };
            let len = self.requests[p.request].prompt.len();
            for &slot in &p.slots[1..] {
                cache.fork(p.slots[0], slot, len);
                self.keep(slot, p.request);
            }
            if p.slots.len() < self.requests[p.request].n {
                let row = draws.iter().find(|d| d.slot == p.slots[0]).map_or(0, |d| d.row);
                let logits = logits[row * vocab..][..vocab].to_vec();
                let (request, source) = (p.request, p.slots[0]);
                self.waiting.push_back(Waiting { request, next: p.slots.len(), source, logits });
            }
        }
        self.running.clear();
        for draw in draws {
            if self.cancelled {
                return;
            }
            let mut draw = *draw;
            while !self.take(&draw) && !self.cancelled {
                match self.pass_on(draw.slot, Some(draw.request), cache) {
                    Some(next) => draw = next,
                    None => break,
                }
            }
        }
        // Slots that were free already (a group that got fewer than it wanted while others ended).
        while !self.waiting.is_empty() && !self.cancelled {
            let Some(slot) = self.free.pop() else { break };
            let mut next = self.pass_on(slot, None, cache);
            while let Some(draw) = next
                && !self.cancelled
            {
                next = if self.take(&draw) { None } else { self.pass_on(slot, Some(draw.request), cache) };
            }
        }
    }

    /// Records a token; `false` if the sequence ended with it.
    fn take(&mut self, draw: &Draw) -> bool {
        let &Draw { request, sample, slot, token, logprob, .. } = draw;
        let r = &self.requests[request];
        let c = &mut self.completions[self.first[request] + sample];
        c.tokens.push(token);
        c.logprobs.push(logprob);
        let full = c.tokens.len() >= r.sampling.max_tokens || r.prompt.len() + c.tokens.len() >= self.capacity.max_len;
        let stop = r.sampling.stop_tokens.contains(&token);
        let finish = if stop { Some(Finish::Stop) } else { full.then_some(Finish::Length) };
        let index = c.tokens.len() - 1;
        let flow = (self.on_token)(TokenEvent { request, sample, index, token, logprob, finish });
        let finish = finish.or((flow == Flow::Stop).then_some(Finish::Stop));
        if let Some(finish) = finish {
            c.finish = finish;
        } else {
            self.running.push(Running { request, sample, slot });
        }
        self.cancelled |= flow == Flow::Cancel;
        finish.is_none()
    }

    /// Gives a free slot to a waiting sample: of its own `group` first, which finds its prompt there, else of the
    /// first group, which copies it. Returns the sample's first token.
    fn pass_on(&mut self, slot: usize, group: Option<usize>, cache: &mut KvCache) -> Option<Draw> {
        if self.waiting.is_empty() {
            self.free.push(slot);
            return None;
        }
        let i = self.waiting.iter().position(|w| Some(w.request) == group).unwrap_or(0);
        let w = &mut self.waiting[i];
        let (request, sample, source) = (w.request, w.next, w.source);
        let r = &self.requests[request];
        let mut draw = Draw { row: 0, request, sample, position: r.prompt.len(), slot, token: 0, logprob: 0.0 };
        draw.choose(&w.logits, r, &mut self.scratch);
        w.next += 1;
        if w.next == r.n {
            self.waiting.remove(i);
        }
        if Some(request) != group {
            cache.fork(source, slot, r.prompt.len());
        }
        self.keep(slot, request);
        Some(draw)
    }

    /// Notes that `slot` holds the prompt of `request`.
    fn keep(&mut self, slot: usize, request: usize) {
        self.resident[slot].clear();
        self.resident[slot].extend_from_slice(&self.requests[request].prompt);
    }
}
