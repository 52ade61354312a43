//! Communication with the ranks that hold the experts of a network ([`crate::ops::experts`]), and memory for the rows
//! of other ranks. The memory grows as needed and stays for later passes.

use meno_comm::{Comm, Communicator};
use std::ops::Range;

/// What an executor keeps for experts that are dealt out.
pub(super) struct ExpertParallel {
    pub(super) comm: Comm,
    /// For every op: the rows that it received in its forward pass, until its backward pass is done.
    kept: Vec<Option<Received>>,
    /// Memory that no op uses.
    free: Vec<Received>,
    pub(super) buffers: Buffers,
}

impl ExpertParallel {
    pub(super) fn new(comm: Comm, ops: usize) -> Self {
        let kept = (0..ops).map(|_| None).collect();
        ExpertParallel { comm, kept, free: Vec::new(), buffers: Buffers::default() }
    }
    /// Returns memory for the rows of op `op`, or the rows that were kept for it.
    pub(super) fn take(&mut self, op: usize) -> Received {
        self.kept[op].take().or_else(|| self.free.pop()).unwrap_or_default()
    }
    /// Takes rows back: for the backward pass of op `op`, or only their memory.
    pub(super) fn put(&mut self, op: usize, received: Received, keep: bool) {
        match keep {
            true => self.kept[op] = Some(received),
            false => self.free.push(received),
        }
    }
    /// Returns the size of the memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        let Buffers { sent, tokens, xs, dys, results, weights, dweights, scratch } = &self.buffers;
        let buffers = [sent, tokens, xs, dys, results, weights, dweights, scratch];
        let received = self.kept.iter().flatten().chain(&self.free).flat_map(|r| [&r.x, &r.gate_up]);
        buffers.into_iter().chain(received).map(|values| values.len() * size_of::<f32>()).sum()
    }
}

/// Memory that one op after the other uses; see [`grown`].
#[derive(Default)]
pub(super) struct Buffers {
    /// A row for each token to send, by receiver.
    pub(super) sent: Vec<f32>,
    /// A row for each token received.
    pub(super) tokens: Vec<f32>,
    /// The rows of one source rank, sorted by expert: inputs, and gradients of results.
    pub(super) xs: Vec<f32>,
    pub(super) dys: Vec<f32>,
    /// A row of results, or of gradients of inputs, for each row received.
    pub(super) results: Vec<f32>,
    /// The weight of each row received, and its gradient.
    pub(super) weights: Vec<f32>,
    pub(super) dweights: Vec<f32>,
    /// Scratch memory of the kernels.
    pub(super) scratch: Vec<f32>,
}

/// Returns the first `len` values of a buffer, which grows if it is shorter.
pub(super) fn grown(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

/// Rows that lie one rank after the other: the first row of each rank, and the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts(Vec<usize>);

impl Parts {
    /// Divides rows among ranks that have `counts` of them.
    pub(super) fn new(counts: impl IntoIterator<Item = usize>) -> Self {
        let mut starts = vec![0];
        counts.into_iter().for_each(|count| starts.push(starts[starts.len() - 1] + count));
        Parts(starts)
    }
    /// Returns the number of all rows.
    pub(super) fn rows(&self) -> usize {
        self.0.last().copied().unwrap_or(0)
    }
    /// Returns the place of a rank's rows of `cols` values.
    pub(super) fn of(&self, rank: usize, cols: usize) -> Range<usize> {
        self.0[rank] * cols..self.0[rank + 1] * cols
    }
}

/// The rows of all ranks for this rank's experts.
#[derive(Default)]
pub(super) struct Received {
    /// The rows, by source rank; those of a source are sorted by expert.
    pub(super) rows: Parts,
    /// For each source: the first row of each expert, counted from the source's first, and the end.
    pub(super) offsets: Vec<Vec<u32>>,
    /// For each row, the number of its token among those of its source.
    pub(super) index: Vec<u32>,
    /// The distinct tokens of the rows, by source rank.
    pub(super) tokens: Parts,
    /// A row for each token, `[tokens, hidden]`.
    pub(super) x: Vec<f32>,
    /// Gate and up of each row, `[rows, 2 · width]`.
    pub(super) gate_up: Vec<f32>,
}

impl Received {
    /// Exchanges which rows follow: `lists[r]` has, for rank r, the number of rows of each of its experts, then the
    /// number of each row's token among those for rank r. Returns the bytes sent.
    ///
    /// # Panics
    /// Panics if a rank sends something else: the ranks do not run the same passes, which is a bug of the caller.
    pub(super) fn announce(&mut self, comm: &dyn Communicator, lists: &[Vec<u32>], experts: usize) -> u64 {
        let send: Vec<&[u8]> = lists.iter().map(|list| bytemuck::cast_slice(list)).collect();
        let numbers = |bytes: &Vec<u8>| bytes.as_chunks().0.iter().map(|n| u32::from_ne_bytes(*n)).collect();
        let lists: Vec<Vec<u32>> = comm.all_to_all(&send).iter().map(numbers).collect();
        self.index.clear();
        self.offsets.clear();
        for (rank, list) in lists.iter().enumerate() {
            let (counts, index) = list.split_at_checked(experts).unwrap_or_default();
            let rows = counts.iter().map(|&count| count as usize).sum::<usize>();
            assert!(
                counts.len() == experts && index.len() == rows,
                "invariant: all ranks run the same passes of one network, but rank {rank} sends {} numbers for \
                 {experts} experts",
                list.len(),
            );
            let ends = counts.iter().scan(0, |end, count| {
                *end += count;
                Some(*end)
            });
            self.offsets.push(std::iter::once(0).chain(ends).collect());
            self.index.extend_from_slice(index);
        }
        self.rows = Parts::new(lists.iter().map(|list| list.len() - experts));
        // Tokens are numbered in the order of their first rows.
        let tokens = |list: &Vec<u32>| list[experts..].iter().max().map_or(0, |&last| last as usize + 1);
        self.tokens = Parts::new(lists.iter().map(tokens));
        let others = send.iter().enumerate().filter(|(rank, _)| *rank != comm.rank());
        others.map(|(_, list)| list.len() as u64).sum()
    }
}

/// Sends the rows `to` of `send` to their ranks and fills the rows `from` of `receive`, all of `cols` values. Returns
/// the bytes sent.
pub(super) fn exchange(
    comm: &dyn Communicator,
    (send, to): (&[f32], &Parts),
    (receive, from): (&mut [f32], &Parts),
    cols: usize,
) -> u64 {
    let (me, ranks) = (comm.rank(), comm.size());
    receive[from.of(me, cols)].copy_from_slice(&send[to.of(me, cols)]);
    let mut bytes = 0;
    for shift in 1..ranks {
        let (next, last) = ((me + shift) % ranks, (me + ranks - shift) % ranks);
        let outgoing: &[u8] = bytemuck::cast_slice(&send[to.of(next, cols)]);
        comm.send_receive(next, outgoing, last, bytemuck::cast_slice_mut(&mut receive[from.of(last, cols)]));
        bytes += outgoing.len() as u64;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_arrive_in_the_order_of_their_sources() {
        for ranks in [1, 2, 3] {
            meno_comm::threads::ranks(ranks, |comm| {
                let me = comm.rank();
                // Rank s sends s + r rows of two values to rank r.
                let value = |source: usize, rank: usize, i: usize| (source * 100 + rank * 10 + i) as f32;
                let to = Parts::new((0..ranks).map(|rank| me + rank));
                let from = Parts::new((0..ranks).map(|source| source + me));
                let rows = |source: usize, rank: usize| (0..2 * (source + rank)).map(move |i| value(source, rank, i));
                let send: Vec<f32> = (0..ranks).flat_map(|rank| rows(me, rank)).collect();
                let mut receive = vec![f32::NAN; 2 * from.rows()];
                let bytes = exchange(&*comm, (&send, &to), (&mut receive, &from), 2);
                assert_eq!(receive, (0..ranks).flat_map(|source| rows(source, me)).collect::<Vec<_>>());
                assert_eq!(bytes, comm.bytes_sent());
            });
        }
    }
}
