//! Sums of vectors over all ranks with the same bits for any number of ranks.
//!
//! The values of the ranks are the leaves of a binary tree: neighbours are added first ((0 + 1) + (2 + 3)). If every
//! rank holds the sum of 2^k consecutive leaves in that order, the result has the same bits for any division of the
//! leaves. The number of ranks must be a power of two.
//!
//! [`reduce_scatter`] is recursive halving (Thakur, Rabenseifner, Gropp 2005, §4.2) with the nearest partner first. Each
//! rank sends and receives (n − 1)/n of the vector, as little as any algorithm. [`all_gather`] is the reverse.

use crate::Communicator;
use std::ops::Range;

/// Returns the number of the block that `rank` of `size` ranks owns: the bits of the rank in reverse order.
pub fn block_of(rank: usize, size: usize) -> usize {
    let levels = size.trailing_zeros();
    (0..levels).fold(0, |block, level| (block << 1) | (rank >> level) & 1)
}

/// The values that a rank owns, as ranges of a vector.
pub type Block = Vec<Range<usize>>;

/// What this rank keeps and what its partner keeps at one level of the recursion.
struct Halves {
    partner: usize,
    mine: Block,
    theirs: Block,
}

/// Returns the levels of the recursion, from the nearest partner (and all blocks) to the farthest (and two blocks).
fn levels(comm: &dyn Communicator, blocks: &[Block]) -> Vec<Halves> {
    let (rank, size) = (comm.rank(), comm.size());
    assert!(size.is_power_of_two(), "invariant: ordered sums need a power of two of ranks");
    assert!(blocks.len() == size, "invariant: one block for each rank");
    let mut left = 0..size;
    let halves = (0..size.trailing_zeros()).map(|level| {
        let middle = left.start + left.len() / 2;
        let (mut mine, mut theirs) = (left.start..middle, middle..left.end);
        if rank >> level & 1 == 1 {
            std::mem::swap(&mut mine, &mut theirs);
        }
        left = mine.clone();
        Halves { partner: rank ^ (1 << level), mine: blocks[mine].concat(), theirs: blocks[theirs].concat() }
    });
    halves.collect()
}

/// The values sent or received at once.
const PIECE: usize = 1 << 20;

/// Divides a block into pieces of at most [`PIECE`] values.
fn pieces(block: &Block) -> Block {
    let split = |r: &Range<usize>| {
        let r = r.clone();
        r.clone().step_by(PIECE).map(move |start| start..r.end.min(start + PIECE))
    };
    block.iter().flat_map(split).collect()
}

/// Exchanges blocks with a partner piece by piece: sends the values of `send`, and passes the partner's to `receive`
/// together with each piece of `keep`.
fn exchange(
    comm: &dyn Communicator,
    partner: usize,
    values: &mut [f32],
    [send, keep]: [&Block; 2],
    receive: impl Fn(&mut [f32], &[f32]),
) {
    let (send, keep) = (pieces(send), pieces(keep));
    let mut received = Vec::new();
    for i in 0..send.len().max(keep.len()) {
        let piece = |of: &Block| of.get(i).cloned().unwrap_or(0..0);
        received.resize(piece(&keep).len(), 0f32);
        let outgoing = bytemuck::cast_slice(&values[piece(&send)]);
        comm.send_receive(partner, outgoing, partner, bytemuck::cast_slice_mut(&mut received));
        receive(&mut values[piece(&keep)], &received);
    }
}

/// Replaces this rank's block of `values` by its sum over all ranks. This rank owns block number [`block_of`]. The other
/// blocks hold partial sums afterwards; values outside of all blocks do not change.
pub fn reduce_scatter(comm: &dyn Communicator, values: &mut [f32], blocks: &[Block]) {
    for Halves { partner, mine, theirs } in levels(comm, blocks) {
        exchange(comm, partner, values, [&theirs, &mine], |sums, received| {
            sums.iter_mut().zip(received).for_each(|(sum, other)| *sum += other);
        });
    }
}

/// Fills the blocks of all ranks in `values`; this rank's block is up to date. Blocks as in [`reduce_scatter`].
pub fn all_gather(comm: &dyn Communicator, values: &mut [f32], blocks: &[Block]) {
    for Halves { partner, mine, theirs } in levels(comm, blocks).into_iter().rev() {
        exchange(comm, partner, values, [&mine, &theirs], |values, received| values.copy_from_slice(received));
    }
}

/// Replaces `values` by their sums over all ranks, on every rank.
pub fn all_reduce(comm: &dyn Communicator, values: &mut [f32]) {
    let at = |i: usize| values.len() * i / comm.size();
    let blocks: Vec<Block> = (0..comm.size()).map(|i| std::iter::once(at(i)..at(i + 1)).collect()).collect();
    reduce_scatter(comm, values, &blocks);
    all_gather(comm, values, &blocks);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::ranks;

    /// Returns the values of leaf `leaf`: of very different sizes, so that the order of a sum changes its bits.
    fn leaf(leaf: usize, len: usize) -> Vec<f32> {
        let value = |i: usize| ((leaf * 7919 + i * 104_729) % 1009) as f32 - 504.0;
        (0..len).map(|i| value(i) * 10f32.powi((leaf * 5 + i) as i32 % 9 - 4)).collect()
    }

    /// Sums leaves `of` in the order of the tree.
    fn tree(of: Range<usize>, len: usize) -> Vec<f32> {
        if of.len() == 1 {
            return leaf(of.start, len);
        }
        let middle = of.start + of.len() / 2;
        let (low, high) = (tree(of.start..middle, len), tree(middle..of.end, len));
        low.iter().zip(high).map(|(a, b)| a + b).collect()
    }

    #[test]
    fn sums_have_the_same_bits_for_any_number_of_ranks() {
        for len in [0, 1, 5, 1000, 2 * PIECE + 3] {
            let expected = tree(0..8, len);
            let in_order =
                (1..8).fold(leaf(0, len), |sum, i| sum.iter().zip(leaf(i, len)).map(|(a, b)| a + b).collect());
            assert!(len < 1000 || expected != in_order, "the order must matter in this test");
            for size in [1, 2, 4, 8] {
                let results = ranks(size, |comm| {
                    let own = 8 / size * comm.rank();
                    let mut values = tree(own..own + 8 / size, len);
                    all_reduce(&*comm, &mut values);
                    values
                });
                let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                results.iter().for_each(|r| assert!(bits(r) == bits(&expected), "{len} values, {size} ranks"));
            }
        }
    }

    #[test]
    fn every_rank_owns_one_block_and_sends_each_value_once() {
        let blocks: [Block; 4] =
            [Block::from([0..3, 60..90]), Block::new(), Block::from([3..50, 50..60]), Block::from([90..91, 91..95])];
        let results = ranks(4, |comm| {
            let mut values = leaf(comm.rank(), 100);
            reduce_scatter(&*comm, &mut values, &blocks);
            let block = block_of(comm.rank(), 4);
            let (sent, sums) = (comm.bytes_sent(), tree(0..4, 100));
            for i in 0..95 {
                if blocks[block].iter().any(|r| r.contains(&i)) {
                    assert_eq!(values[i], sums[i]);
                } else {
                    values[i] = f32::NAN;
                }
            }
            all_gather(&*comm, &mut values, &blocks);
            assert_eq!(values[..95], sums[..95]);
            assert_eq!(values[95..], leaf(comm.rank(), 100)[95..]);
            (block, sent)
        });
        let mut blocks: Vec<usize> = results.iter().map(|r| r.0).collect();
        blocks.sort_unstable();
        assert_eq!(blocks, [0, 1, 2, 3]);
        // Of four vectors of 95 values, one sum of 95 remains where it is.
        assert_eq!(results.iter().map(|r| r.1).sum::<u64>(), 3 * 95 * 4);
    }
}
