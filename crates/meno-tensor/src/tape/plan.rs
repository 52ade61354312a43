//! The memory plan of a program: when every activation and every gradient is alive, and its place.

use super::op::{Activation, Io};
use std::ops::Range;

/// One step of a pass over the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScheduleStep {
    /// Run an op forward.
    Forward(usize),
    /// Run an op forward again, because its block's activations were not kept.
    Recompute(usize),
    /// Run an op backward.
    Backward(usize),
}

/// The planner's view of an op.
pub(crate) struct Node {
    pub(crate) io: Io,
    /// The recomputed block that contains it.
    pub(crate) block: Option<usize>,
    /// True if its outputs are recomputed just before a backward pass reads them.
    pub(crate) recomputed: bool,
}

/// The places of all activations and gradients, and the order of execution. Places are ranges of bytes.
pub struct Plan {
    pub(crate) schedule: Vec<ScheduleStep>,
    /// Places of activations in the forward pass.
    pub(crate) forward: Vec<Range<usize>>,
    /// Places of activations in the backward pass; they differ for recomputed values.
    pub(crate) backward: Vec<Range<usize>>,
    pub(crate) activation_bytes: usize,
    /// Places of the activations' gradients.
    pub(crate) grads: Vec<Range<usize>>,
    pub(crate) grad_bytes: usize,
    /// For each op, the gradients that its backward must add to because an earlier op of the backward pass wrote them.
    pub(crate) adds: Vec<Vec<Activation>>,
}

/// Places start at multiples of a cache line.
const ALIGN: usize = 64;

/// A block of memory needed from one step to another, inclusive.
struct Item {
    len: usize,
    first: usize,
    last: usize,
    at: usize,
}

/// Places the items, largest first, each at the lowest address that is free for its whole lifetime. Returns the bytes
/// needed.
fn place(items: &mut [Item]) -> usize {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(items[i].len), items[i].first));
    let mut placed: Vec<usize> = Vec::new();
    let mut top = 0;
    for i in order {
        let mut busy: Vec<Range<usize>> = placed
            .iter()
            .map(|&p| &items[p])
            .filter(|p| p.first <= items[i].last && items[i].first <= p.last)
            .map(|p| p.at..p.at + p.len)
            .collect();
        busy.sort_by_key(|r| r.start);
        let mut at = 0;
        for r in busy {
            if r.start >= at + items[i].len {
                break;
            }
            at = at.max(r.end.next_multiple_of(ALIGN));
        }
        items[i].at = at;
        top = top.max(at + items[i].len);
        placed.push(i);
    }
    top
}

/// Returns the order of a pass: forward, then backward. A recomputed block runs forward once more before its backward.
/// An op marked as recomputed runs forward again before the backward of each op that reads its outputs.
fn schedule(nodes: &[Node], train: bool) -> Vec<ScheduleStep> {
    let mut steps: Vec<ScheduleStep> = (0..nodes.len()).map(ScheduleStep::Forward).collect();
    if !train {
        return steps;
    }
    let mut end = nodes.len();
    while end > 0 {
        let block = nodes[end - 1].block;
        let start = match block {
            None => end - 1,
            Some(_) => (0..end).rev().take_while(|&i| nodes[i].block == block).last().expect("invariant: not empty"),
        };
        match block {
            Some(_) => {
                steps.extend((start..end).map(ScheduleStep::Recompute));
                steps.extend((start..end).rev().map(ScheduleStep::Backward));
            }
            None => {
                steps.extend(recomputed_inputs(nodes, start).map(ScheduleStep::Recompute));
                steps.push(ScheduleStep::Backward(start));
            }
        }
        end = start;
    }
    steps
}

/// Returns the ops marked as recomputed, outside blocks, whose outputs the backward of op `i` reads.
fn recomputed_inputs(nodes: &[Node], i: usize) -> impl Iterator<Item = usize> {
    let reads = move |n: &Node| n.io.writes.iter().any(|a| nodes[i].io.saved.contains(a));
    (0..i).filter(move |&j| nodes[j].recomputed && nodes[j].block.is_none() && reads(&nodes[j]))
}

/// First and last use of an activation in the forward and in the backward half of the schedule.
#[derive(Clone, Default)]
struct Life {
    forward: Option<(usize, usize)>,
    backward: Option<(usize, usize)>,
    rewritten: bool,
}

fn extend(span: &mut Option<(usize, usize)>, t: usize) {
    *span = Some(span.map_or((t, t), |(a, _)| (a, t)));
}

/// Plans memory for `lens[a]` bytes of every activation `a`; `alias[a]` is the activation whose gradient it shares.
pub(crate) fn plan(nodes: &[Node], lens: &[usize], alias: &[usize], train: bool) -> Plan {
    let schedule = schedule(nodes, train);
    let mut lives = vec![Life::default(); lens.len()];
    for (t, &step) in schedule.iter().enumerate() {
        match step {
            ScheduleStep::Forward(i) => {
                for a in nodes[i].io.reads.iter().chain(&nodes[i].io.writes) {
                    extend(&mut lives[a.index()].forward, t);
                }
            }
            ScheduleStep::Recompute(i) => {
                for a in &nodes[i].io.reads {
                    extend(&mut lives[a.index()].backward, t);
                }
                for a in &nodes[i].io.writes {
                    let life = &mut lives[a.index()];
                    life.rewritten |= life.backward.is_none();
                    extend(&mut life.backward, t);
                }
            }
            ScheduleStep::Backward(i) => {
                for a in &nodes[i].io.saved {
                    extend(&mut lives[a.index()].backward, t);
                }
            }
        }
    }
    let mut items = Vec::new();
    let mut owner = Vec::new();
    for (a, life) in lives.iter().enumerate() {
        let mut item = |span: Option<(usize, usize)>, forward: bool, backward: bool| {
            if let Some((first, last)) = span {
                items.push(Item { len: lens[a], first, last, at: 0 });
                owner.push((a, forward, backward));
            }
        };
        match (life.forward, life.backward) {
            (Some(f), Some(b)) if !life.rewritten => item(Some((f.0, b.1)), true, true),
            (f, b) => {
                item(f, true, b.is_none());
                item(b, false, true);
            }
        }
    }
    let activation_bytes = place(&mut items);
    let mut forward = vec![0..0; lens.len()];
    let mut backward = vec![0..0; lens.len()];
    for (item, (a, f, b)) in items.iter().zip(owner) {
        if f {
            forward[a] = item.at..item.at + item.len;
        }
        if b {
            backward[a] = item.at..item.at + item.len;
        }
    }
    let (grads, grad_bytes, adds) = plan_grads(nodes, &schedule, lens, alias);
    Plan { schedule, forward, backward, activation_bytes, grads, grad_bytes, adds }
}

fn plan_grads(
    nodes: &[Node],
    schedule: &[ScheduleStep],
    lens: &[usize],
    alias: &[usize],
) -> (Vec<Range<usize>>, usize, Vec<Vec<Activation>>) {
    let mut spans: Vec<Option<(usize, usize)>> = vec![None; lens.len()];
    let mut adds = vec![Vec::new(); nodes.len()];
    for (t, &step) in schedule.iter().enumerate() {
        let ScheduleStep::Backward(i) = step else { continue };
        for a in &nodes[i].io.grad_reads {
            let root = alias[a.index()];
            assert!(spans[root].is_some(), "invariant: op {i} reads the gradient of {a:?}, which nothing wrote");
            extend(&mut spans[root], t);
        }
        for a in &nodes[i].io.grad_writes {
            let root = alias[a.index()];
            if spans[root].is_some() {
                adds[i].push(*a);
            }
            extend(&mut spans[root], t);
        }
    }
    let mut items = Vec::new();
    let mut owner = Vec::new();
    for (a, span) in spans.iter().enumerate() {
        if let Some((first, last)) = *span {
            items.push(Item { len: lens[a], first, last, at: 0 });
            owner.push(a);
        }
    }
    let memory = place(&mut items);
    let mut grads = vec![0..0; lens.len()];
    for (item, a) in items.iter().zip(owner) {
        grads[a] = item.at..item.at + item.len;
    }
    for a in 0..lens.len() {
        grads[a] = grads[alias[a]].clone();
    }
    (grads, memory, adds)
}
