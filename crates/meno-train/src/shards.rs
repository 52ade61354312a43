//! The shards of an optimizer step, and the sums of their gradients over all ranks.
//!
//! A step is divided into `train.gradient_shards` shards, which are packed and computed independently. Their gradients
//! are added in a binary tree, inside a rank and between ranks alike: ((0 + 1) + (2 + 3)) + …. So the sum has the same
//! bits for 1, 2, 4, … ranks, up to the number of shards. Each rank computes a block of consecutive shards, updates its
//! part of the parameters (ZeRO stage 1, arXiv 1910.02054) and sends the result to all others.

use crate::error::Error;
use crate::gather;
use crate::limits::refused;
use crate::observer::Observer;
use crate::train::{Reduce, Train};
use meno_comm::ordered::{self, Block, block_of};
use meno_comm::{Comm, Communicator};
use meno_model::Model;
use meno_model::expert_parallel::ExpertPlacement;
use meno_tensor::backend::{Backend, Buffer};
use meno_tensor::optim::divide;
use meno_tensor::tape::ParamLayout;
use std::ops::Range;
use std::sync::Arc;

/// What a shard adds up besides its gradients.
pub(crate) trait Sums: Default {
    /// Returns the sums as numbers.
    fn to_numbers(&self) -> Vec<f64>;
    /// Restores the sums from their numbers.
    fn from_numbers(numbers: Vec<f64>) -> Self;
    /// Adds the sums of the next shard.
    fn merge(&mut self, next: Self);
}

/// The shards of a step.
pub(crate) struct Shards {
    comm: Comm,
    backend: Arc<dyn Backend>,
    count: usize,
    reduce: Reduce,
    /// Entry i holds the sum of 2^i shards while it waits for as many others.
    pending: Vec<Box<dyn Buffer>>,
    /// The parameters that lie on every rank, by the rank that updates them, indexed by [`block_of`].
    blocks: Vec<Block>,
    /// Where the experts lie, if they are dealt out.
    experts: Option<ExpertPlacement>,
    /// All parameters that this rank updates.
    owned: Block,
    /// The squares of which the gradient norm consists.
    squares: Vec<f64>,
    /// Shards of this rank that are complete in the current step.
    done: usize,
}

impl Shards {
    /// Plans the shards of every step of a run, and allocates their partial sums.
    pub(crate) fn new(train: &Train, model: &Model, comm: &Comm) -> Result<Shards, Error> {
        let (count, size) = (train.gradient_shards, comm.size());
        train.check_processes(size)?;
        let layout = model.layout();
        let pending = match train.reduce {
            Reduce::Ordered => (count / size).trailing_zeros(),
            Reduce::Fast => 0,
        };
        let backend = model.backend().clone();
        let experts = (train.expert_parallel && size > 1).then(|| placement(train, model, size)).transpose()?;
        let all = layout.whole();
        let blocks = divide(&train.optimizer(), layout, experts.as_ref().map_or(&all[..], |e| e.dense()), size);
        let mut owned = blocks[block_of(comm.rank(), size)].clone();
        owned.extend(experts.iter().flat_map(|e| e.experts(comm.rank())));
        owned.sort_by_key(|range| range.start);
        Ok(Shards {
            comm: comm.clone(),
            count,
            reduce: train.reduce,
            pending: (0..pending).map(|_| backend.buffer(layout.total())).collect::<Result<_, _>>()?,
            blocks,
            experts,
            owned,
            squares: Vec::new(),
            backend,
            done: 0,
        })
    }

    /// Returns the ranks of the run.
    pub(crate) fn comm(&self) -> &dyn Communicator {
        &*self.comm
    }

    /// Returns the bytes of the partial sums.
    pub(crate) fn bytes(&self) -> usize {
        self.pending.iter().map(|sum| sum.len() * size_of::<f32>()).sum()
    }

    /// Returns the places of the parameters that this rank updates.
    pub(crate) fn owned(&self) -> &Block {
        &self.owned
    }

    /// Returns true if the experts are dealt out to the ranks. Then all ranks compute each pass together.
    pub(crate) fn deals_experts(&self) -> bool {
        self.experts.is_some()
    }

    /// Returns the number of passes of a shard. `packed` holds the passes of all shards. With experts on other ranks,
    /// all ranks compute as many passes as the one with the most, some of them empty.
    pub(crate) fn passes(&self, packed: &[Vec<Vec<usize>>], shard: usize) -> usize {
        let own = self.own();
        let together = (shard - own.start..self.count).step_by(own.len());
        match self.deals_experts() {
            true => together.map(|shard| packed[shard].len()).max().unwrap_or(0),
            false => packed[shard].len(),
        }
    }

    /// Returns the shards that this rank computes.
    pub(crate) fn own(&self) -> Range<usize> {
        self.comm.share(self.count)
    }

    /// Deals sequences of these lengths to the shards: the longest first, each to the shard with the fewest tokens.
    /// Returns the sequences of each shard in ascending order.
    pub(crate) fn deal(&self, lens: &[usize]) -> Vec<Vec<usize>> {
        deal(lens, self.count)
    }

    /// Returns true if the observer of any rank wants to stop. All ranks call it together.
    pub(crate) fn should_stop(&self, observer: &mut dyn Observer) -> bool {
        self.comm.any(observer.should_stop())
    }

    /// Begins a step.
    pub(crate) fn begin(&mut self) {
        self.done = 0;
    }

    /// Adds the gradients of a complete shard to the partial sums. `grads` is ready for the next shard afterwards or,
    /// after the last one, holds the sum of this rank's shards.
    pub(crate) fn complete(&mut self, grads: &mut Box<dyn Buffer>) -> Result<(), Error> {
        let shard = self.done;
        self.done += 1;
        if self.reduce == Reduce::Fast {
            return Ok(()); // all shards add to `grads` directly
        }
        let mut level = 0;
        while shard >> level & 1 == 1 {
            grads.add(&*self.pending[level])?;
            level += 1;
        }
        if self.done < self.own().len() {
            std::mem::swap(grads, &mut self.pending[level]);
            grads.zero()?;
        }
        Ok(())
    }

    /// Adds the gradients of all ranks: afterwards those of the owned parameters are complete.
    pub(crate) fn sum_gradients(&self, grads: &mut dyn Buffer) -> Result<(), Error> {
        if self.comm.size() > 1 {
            grads.update(0..grads.len(), &mut |grads| match self.reduce {
                Reduce::Ordered => ordered::reduce_scatter(&*self.comm, grads, &self.blocks),
                Reduce::Fast => self.comm.all_reduce(grads),
            })?;
        }
        match &self.experts {
            Some(experts) => Ok(experts.sum_gradients(self.comm.rank(), grads)?),
            None => Ok(()),
        }
    }

    /// Returns the norm of the gradients of all parameters, after [`Shards::sum_gradients`].
    pub(crate) fn gradient_norm(&mut self, layout: &ParamLayout, grads: &dyn Buffer) -> Result<f64, Error> {
        let mut own = Vec::new();
        self.squares.clear();
        for range in &self.owned {
            let start = self.squares.len();
            self.backend.gradient_squares(layout, grads, range.clone(), &mut self.squares)?;
            if self.comm.size() > 1 {
                own.push((range.start, self.squares[start..].to_vec()));
            }
        }
        if self.comm.size() > 1 {
            // In the order of the layout, as on one rank.
            self.squares = gather::rows(&*self.comm, own).into_iter().flat_map(|(_, squares)| squares).collect();
        }
        Ok(self.squares.iter().sum::<f64>().sqrt())
    }

    /// Sends the updated parameters of each rank to all others.
    pub(crate) fn spread_weights(&self, model: &mut Model) -> Result<(), Error> {
        if self.comm.size() > 1 {
            let whole = 0..model.layout().total();
            model.weights.update_range(whole, &mut |weights| {
                ordered::all_gather(&*self.comm, weights, &self.blocks);
            })?;
        }
        Ok(())
    }

    /// Merges the sums of all shards in their order. `own` holds those of this rank's shards.
    pub(crate) fn merge<S: Sums>(&self, own: Vec<S>) -> S {
        let numbered = self.own().zip(own.iter().map(Sums::to_numbers)).collect();
        let mut total = S::default();
        let all = gather::rows(&*self.comm, numbered);
        all.into_iter().for_each(|(_, numbers)| total.merge(S::from_numbers(numbers)));
        total
    }
}

/// Returns where the experts lie on `size` ranks. Fails if they cannot be dealt out.
fn placement(train: &Train, model: &Model, size: usize) -> Result<ExpertPlacement, Error> {
    let refuse = |expected: &str| Err(refused("train.expert_parallel", true, expected));
    let placement = model.expert_placement(size)?;
    if placement.experts(0).is_empty() {
        return refuse("the model has no experts: expected false");
    }
    if train.reduce == Reduce::Fast {
        return refuse("the gradients of experts are added in order: expected `train.reduce` = \"ordered\"");
    }
    if model.layout().is_complete() {
        return refuse("the model has the experts of all processes: load it with LoadOptions::experts");
    }
    Ok(placement)
}

fn deal(lens: &[usize], count: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lens.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lens[i]), i));
    let mut shards = vec![(0, Vec::new()); count];
    for i in order {
        let (tokens, members) =
            shards.iter_mut().min_by_key(|(tokens, _)| *tokens).expect("invariant: there is a shard");
        *tokens += lens[i];
        members.push(i);
    }
    let ascending = |(_, mut members): (usize, Vec<usize>)| {
        members.sort_unstable();
        members
    };
    shards.into_iter().map(ascending).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_balanced_and_complete() {
        assert_eq!(deal(&[5, 9, 4, 3], 1), [vec![0, 1, 2, 3]]);
        assert_eq!(deal(&[5, 9, 4, 3], 2), [vec![1, 3], vec![0, 2]]);
        assert_eq!(deal(&[7], 4), [vec![0], vec![], vec![], vec![]]);
    }

    #[test]
    fn numbers_of_shards_that_cannot_be_divided_are_named() {
        let check = |gradient_shards, size| Train { gradient_shards, ..Train::default() }.check_processes(size);
        let error = |count, size| check(count, size).unwrap_err().to_string();
        assert!(check(4, 2).is_ok() && check(8, 8).is_ok());
        assert!(error(3, 1).contains("`train.gradient_shards` = 3: expected a power of two"));
        assert!(error(1, 2).contains("expected a multiple of 2, the number of processes"), "{}", error(1, 2));
        assert!(error(8, 3).contains("3 processes were started"));
        assert!(error(1 << 30, 2).contains("at most 65536"));
    }
}
