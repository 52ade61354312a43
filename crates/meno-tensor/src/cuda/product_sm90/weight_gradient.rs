//! How the sums of a weight's gradient are split: a function of the shape alone, so that it has the same bits in every
//! run and on every card of compute capability 9.0.

use super::super::driver::{Arg, Launch};

/// The k of a box.
pub(super) const K_BLOCK: usize = 64;
/// Bytes of a row of a box, 64 elements.
pub(super) const ROW: usize = 128;
/// The two barriers of a buffer.
pub(super) const BARRIERS: usize = 16;

/// The most shares, and the blocks of threads of a round: the multiprocessors of an H100. A constant of the format.
const SHARES: usize = 132;
/// The fewest blocks of 64 rows in a share, unless that leaves fewer shares than tiles.
const LEAST: usize = 8;
/// The rows and columns of a tile.
const TILE: [usize; 2] = [128, 256];
/// The sums of a tile in bytes.
pub(super) const TILE_BYTES: usize = TILE[0] * TILE[1] * size_of::<f32>();
/// Buffers of the ring.
const STAGES: usize = 4;

/// The split of the product dyᵀ · x, or of its transpose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    /// True if the transpose is computed, because it has less padding.
    pub(super) transposed: bool,
    /// The shape of what is computed.
    shape: [usize; 2],
    /// Tiles down and across.
    tiles: [usize; 2],
    /// Blocks of 64 rows of the batch.
    blocks: usize,
    /// Tiles of each block of threads that are one chain.
    rounds: usize,
    /// Shares of the other tiles' rows, at least 1.
    shares: usize,
}

impl Split {
    /// The split of a gradient of m rows and n columns over k rows of the batch. `None`: the batch is too large.
    pub(super) fn new([m, n, k]: [usize; 3]) -> Option<Split> {
        let tiles = |shape: [usize; 2]| [shape[0].div_ceil(TILE[0]), shape[1].div_ceil(TILE[1])];
        let padded = |shape| tiles(shape).into_iter().product::<usize>();
        let transposed = padded([n, m]) < padded([m, n]);
        let shape = if transposed { [n, m] } else { [m, n] };
        let (count, blocks) = (padded(shape), k.div_ceil(K_BLOCK));
        let (rounds, rest) = (count / SHARES, count % SHARES);
        let shares = (rest * blocks / LEAST).max(rest).clamp(1, SHARES);
        let split = Split { transposed, shape, tiles: tiles(shape), blocks, rounds, shares };
        // The kernel's indices are ints.
        let largest = (split.total() + 1) * (SHARES + 1);
        (i32::try_from(largest).is_ok() && i32::try_from(count * blocks).is_ok()).then_some(split)
    }

    /// Returns the number of tiles that are one chain.
    fn whole(&self) -> usize {
        self.rounds * SHARES
    }
    /// Returns the number of the other tiles.
    fn rest(&self) -> usize {
        self.tiles[0] * self.tiles[1] - self.whole()
    }
    /// Returns the number of blocks of 64 rows of all tiles that are not whole.
    fn total(&self) -> usize {
        self.rest() * self.blocks
    }
    /// Returns the number of places for sums of spans: share + tile counts the spans.
    pub(super) fn slots(&self) -> usize {
        // With a share for each tile, a tile has one span, which is added at once.
        if self.rest() == 0 || self.shares == self.rest() { 0 } else { self.shares + self.rest() - 1 }
    }
    /// Returns the number of blocks of threads.
    pub(super) fn grid(&self) -> usize {
        if self.rounds > 0 { SHARES } else { self.shares }
    }
    /// Returns the shared memory of a block in bytes.
    pub(super) fn shared(&self) -> usize {
        STAGES * ((TILE[0] + TILE[1]) * ROW + BARRIERS)
    }
    /// Returns the end of the kernels' names.
    pub(super) fn suffix(&self) -> &'static str {
        if self.transposed { "_transposed" } else { "" }
    }
    /// Returns the arguments of both kernels: dw at `dw`, places for sums at `sums`, and rows of `ld` elements.
    pub(super) fn args(&self, dw: u64, sums: u64, ld: usize) -> [Arg; 12] {
        let Split { shape: [m, n], tiles: [down, across], blocks, rounds, shares, .. } = *self;
        let sizes = [m, n, ld, down, across, blocks, rounds, self.whole(), shares, self.total()].map(Arg::from);
        let [m, n, ld, down, across, blocks, rounds, whole, shares, total] = sizes;
        [dw.into(), sums.into(), m, n, ld, down, across, blocks, rounds, whole, shares, total]
    }
    /// Returns the launch of the kernel that adds the spans of tiles: a block for eight columns of each.
    pub(super) fn add_launch(&self) -> Launch {
        Launch { grid: [self.rest(), TILE[1] / 8], threads: 256, shared: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(m: usize, n: usize, k: usize) -> Split {
        Split::new([m, n, k]).expect("a split")
    }

    /// Returns the spans as the kernel finds them: block of threads, tile, first and last block of rows, slot.
    fn spans(split: &Split) -> Vec<(usize, usize, usize, usize, Option<usize>)> {
        let (total, blocks) = (split.total(), split.blocks);
        let mut spans = Vec::new();
        for block in 0..split.grid() {
            for round in 0..split.rounds {
                spans.push((block, block + round * split.grid(), 0, blocks, None));
            }
            let start = total * block / split.shares;
            let end = (total * (block + 1) / split.shares).min(total);
            for tile in start / blocks.max(1)..split.rest() {
                let (from, to) = (start.max(tile * blocks), end.min((tile + 1) * blocks));
                if from < to {
                    let slot = (to - from < blocks).then_some(block + tile);
                    spans.push((block, split.whole() + tile, from - tile * blocks, to - tile * blocks, slot));
                }
            }
        }
        spans
    }

    /// Checks that every block of rows of every tile is in one span, in ascending slots, and every slot has a place.
    fn check(m: usize, n: usize, k: usize) {
        let split = split(m, n, k);
        let mut all = spans(&split);
        all.sort_by_key(|&(block, tile, from, ..)| (tile, from, block));
        let (mut next, mut last_slot) = ((0, 0), None);
        for (_, tile, from, to, slot) in all {
            assert_eq!((tile, from), next, "{m} x {n}, {k} rows");
            next = if to == split.blocks { (tile + 1, 0) } else { (tile, to) };
            if slot.is_some() {
                assert!(slot > last_slot && slot < Some(split.slots()), "{m} x {n}, {k} rows: slot {slot:?}");
                last_slot = slot;
            }
        }
        assert_eq!(next, (split.tiles[0] * split.tiles[1], 0));
        assert!(split.grid() <= SHARES && split.shares >= 1);
    }

    #[test]
    fn spans_cover_every_row_of_every_tile_once() {
        for (m, n) in [(8, 8), (896, 896), (4864, 896), (896, 4864), (1152, 896), (8192, 8192), (128 * 132, 256)] {
            for k in [1, 64, 65, 100, 500, 1000, 16384, 100_000] {
                check(m, n, k);
            }
        }
    }

    #[test]
    fn the_transpose_is_computed_if_it_has_fewer_tiles() {
        assert!(split(4864, 896, 64).transposed);
        assert_eq!(split(4864, 896, 64).tiles, [7, 19]);
        assert!(!split(256, 256, 64).transposed);
        assert!(split(256, 128, 64).transposed);
        assert_eq!(split(256, 128, 64).tiles, [1, 1]);
    }

    #[test]
    fn shares_are_eight_blocks_or_more() {
        let small = split(896, 896, 16384);
        assert_eq!((small.rest(), small.shares, small.grid()), (28, 132, 132));
        let short = split(896, 896, 100);
        assert_eq!((short.shares, short.slots()), (28, 0));
        assert_eq!(split(896, 896, 64 * 16).shares, 56);
        let large = split(8192, 8192, 16384);
        assert_eq!((large.rounds, large.rest(), large.grid()), (15, 68, 132));
    }

    #[test]
    fn numbers_fit_an_int() {
        assert!(Split::new([1 << 14, 1 << 14, 1 << 17]).is_some());
        assert!(Split::new([1 << 14, 1 << 14, 1 << 30]).is_none());
    }
}
