//! Expert parallelism: the experts of every MoE layer are dealt out to the ranks of a run, everything else is on every
//! rank (DeepSeek-V3, arXiv 2412.19437, §3.2).
//!
//! All ranks use the layout of the whole network, so a parameter has the same place on every rank. A rank loads or
//! initializes its own experts only ([`crate::LoadOptions::experts`], [`crate::Model::random_with`]); its executors
//! exchange rows with the other ranks ([`meno_tensor::backend::Executor::deal_experts`]). The op
//! [`meno_tensor::ops::experts`] defines which rank holds an expert and where gradients add up during a step;
//! [`ExpertPlacement`] finds these places in a network and finishes the sums.

use crate::Error;
use crate::network::Network;
use meno_tensor::backend::{self, Buffer};
use meno_tensor::ops::experts::{Expert, experts_of};
use meno_tensor::pool;
use meno_tensor::tape::ParamLayout;
use std::ops::Range;

/// One of the ranks that the experts are dealt out to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpertRank {
    /// Its number, from 0.
    pub rank: usize,
    /// The number of ranks.
    pub ranks: usize,
}

/// Marks the experts of all other ranks as absent.
pub(crate) fn set_absent(network: &Network, layout: &mut ParamLayout, own: ExpertRank) -> Result<(), Error> {
    for moe in network.moes() {
        let own = experts_of(own.rank, own.ranks, moe.experts().len())?;
        for (_, expert) in moe.experts().iter().enumerate().filter(|(e, _)| !own.contains(e)) {
            layout.set_absent(&[expert.gate, expert.up, expert.down]);
        }
    }
    Ok(())
}

/// Where the parameters of dealt out experts lie, as ranges of all parameters
/// ([`ParamInfo::range`](meno_tensor::tape::ParamInfo::range)): of weights, gradients and optimizer moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpertPlacement {
    ranks: usize,
    /// For every MoE layer, the experts of each rank: adjacent ranges of equal shape.
    layers: Vec<Vec<Range<usize>>>,
    dense: Vec<Range<usize>>,
}

impl ExpertPlacement {
    /// Finds the experts of `ranks` ranks.
    ///
    /// # Errors
    /// Fails if the number of ranks does not divide that of the experts.
    pub fn new(network: &Network, layout: &ParamLayout, ranks: usize) -> Result<ExpertPlacement, Error> {
        assert!(layout.is_f32(), "invariant: a network that is trained has all its values");
        let span = |experts: &[Expert]| {
            let [first, last] = [experts[0].gate, experts[experts.len() - 1].down].map(|p| layout.info(p).range());
            first.start..last.end
        };
        let layer = |experts: &[Expert]| {
            let of_rank = |rank| Ok(span(&experts[experts_of(rank, ranks, experts.len())?]));
            (0..ranks).map(of_rank).collect::<Result<Vec<_>, Error>>()
        };
        let layers = network.moes().map(|moe| layer(moe.experts())).collect::<Result<Vec<_>, Error>>()?;
        let all: Vec<Range<usize>> = network.moes().map(|moe| span(moe.experts())).collect();
        let mut dense: Vec<Range<usize>> = Vec::new();
        let mut adjacent = false;
        for (_, info) in layout.iter() {
            let range = info.range();
            let routed = all.iter().any(|experts| experts.contains(&range.start));
            match dense.last_mut() {
                _ if routed => (),
                Some(last) if adjacent => last.end = range.end,
                _ => dense.push(range),
            }
            adjacent = !routed;
        }
        Ok(ExpertPlacement { ranks, layers, dense })
    }

    /// Returns the places of the experts of a rank, in ascending order.
    pub fn experts(&self, rank: usize) -> Vec<Range<usize>> {
        self.layers.iter().map(|blocks| blocks[rank].clone()).collect()
    }

    /// Returns the rank that holds the parameter at `place`; `None` if every rank does.
    pub fn rank_of(&self, place: usize) -> Option<usize> {
        self.layers.iter().find_map(|blocks| blocks.iter().position(|block| block.contains(&place)))
    }

    /// Returns the places of all parameters that are on every rank, in ascending order.
    pub fn dense(&self) -> &[Range<usize>] {
        &self.dense
    }

    /// Finishes the gradients of rank `rank`'s experts at the end of a step: adds the gradients that the rows of each
    /// source rank caused, in the binary tree of `meno_comm::ordered` ((0 + 1) + (2 + 3)), and zeroes the places of all
    /// other experts. `grads` has the layout of all parameters; gradients of other parameters do not change.
    pub fn sum_gradients(&self, rank: usize, grads: &mut dyn Buffer) -> Result<(), backend::Error> {
        for blocks in self.layers.iter().filter(|_| self.ranks > 1) {
            let (start, stride, len) = (blocks[0].start, blocks[1].start - blocks[0].start, blocks[0].len());
            grads.update(start..blocks[self.ranks - 1].end, &mut |grads| {
                let mut slices: Vec<&mut [f32]> = grads.chunks_mut(stride).map(|slice| &mut slice[..len]).collect();
                add_tree(&mut slices);
                let (sum, others) = slices.split_first_mut().expect("invariant: there are ranks");
                if let Some(own) = rank.checked_sub(1) {
                    others[own].swap_with_slice(sum);
                }
                slices.iter_mut().enumerate().filter(|(r, _)| *r != rank).for_each(|(_, slice)| slice.fill(0.0));
            })?;
        }
        Ok(())
    }
}

/// Values added by one task.
const BLOCK: usize = 1 << 15;

/// Adds all slices into the first one, neighbours first.
fn add_tree(slices: &mut [&mut [f32]]) {
    let mut step = 1;
    while step < slices.len() {
        for i in (0..slices.len() - step).step_by(2 * step) {
            let (low, high) = slices.split_at_mut(i + step);
            pool::for_blocks([&mut *low[i], &mut *high[0]], BLOCK, &|_, [sum, other]| {
                sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += *other);
            });
        }
        step *= 2;
    }
}
