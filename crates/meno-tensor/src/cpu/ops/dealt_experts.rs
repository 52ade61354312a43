//! Experts that are dealt out to ranks: rows go to the rank of their expert, results come back.

use super::dispatch::{Order, gather};
use super::experts::Share;
use crate::cpu::context::Ctx;
use crate::cpu::expert_parallel::{Buffers, ExpertParallel, Parts, exchange, grown};
use crate::ops::experts::{Experts, experts_of};
use std::ops::Range;

/// Where the sorted rows of this rank go. Every token is sent once to a rank, for all of its experts there.
struct Outgoing {
    /// The rows, by the rank of their expert.
    rows: Parts,
    /// For each rank: the rows of each of its experts, then each row's token ([`Received::announce`]).
    ///
    /// [`Received::announce`]: crate::cpu::expert_parallel::Received::announce
    lists: Vec<Vec<u32>>,
    /// The first row of each token of each rank.
    firsts: Vec<u32>,
    /// The tokens, by rank.
    tokens: Parts,
}

impl Outgoing {
    fn new(order: &Order, top_k: usize, blocks: impl Iterator<Item = Range<usize>>) -> Self {
        let (mut firsts, mut numbers) = (Vec::new(), vec![0; order.pairs.len()]);
        let (mut rows, mut tokens) = (Vec::new(), Vec::new());
        let mut list = |block: Range<usize>| {
            let range = order.range(block.start).start..order.range(block.end - 1).end;
            let mut list: Vec<u32> = block.map(|expert| order.range(expert).len() as u32).collect();
            let before = firsts.len();
            for row in range.clone() {
                let token = order.pairs[row] as usize / top_k;
                let here = order.rows[token * top_k..][..top_k].iter().filter(|&&r| range.contains(&(r as usize)));
                let first = *here.min().expect("invariant: the row is one of its token's") as usize;
                if first == row {
                    numbers[row] = (firsts.len() - before) as u32;
                    firsts.push(row as u32);
                }
                list.push(numbers[first]);
            }
            rows.push(range.len());
            tokens.push(firsts.len() - before);
            list
        };
        let lists = blocks.map(&mut list).collect();
        Outgoing { rows: Parts::new(rows), lists, firsts, tokens: Parts::new(tokens) }
    }
}

impl Experts {
    /// Returns the experts of a rank.
    fn block(&self, rank: usize, ranks: usize) -> Range<usize> {
        experts_of(rank, ranks, self.experts.len()).expect("invariant: the executor checked the experts")
    }

    /// Returns where the rows of this pass go.
    fn outgoing(&self, ctx: &mut Ctx, ranks: usize) -> Outgoing {
        let order = Order::read(ctx.ints.get(self.sorted.order).get(), &self.sorted);
        Outgoing::new(&order, self.sorted.top_k, (0..ranks).map(|rank| self.block(rank, ranks)))
    }

    pub(super) fn forward_dealt(&self, ctx: &mut Ctx, parallel: &mut ExpertParallel) {
        let (h, w, comm) = (self.sorted.hidden, self.width, parallel.comm.clone());
        let own = self.block(comm.rank(), comm.size());
        let outgoing = self.outgoing(ctx, comm.size());
        let [rows, y] = ctx.acts.get([self.sorted.rows, self.y]);
        let mut received = parallel.take(ctx.op);
        let mut dispatched = received.announce(&*comm, &outgoing.lists, own.len());
        let Buffers { sent, xs, results, scratch, .. } = &mut parallel.buffers;
        let sent = grown(sent, outgoing.firsts.len() * h);
        gather(rows, h, sent, |i| outgoing.firsts[i] as usize);
        let x = grown(&mut received.x, received.tokens.rows() * h);
        dispatched += exchange(&*comm, (sent, &outgoing.tokens), (&mut *x, &received.tokens), h);

        let results = grown(results, received.rows.rows() * h);
        let gate_up = grown(&mut received.gate_up, received.rows.rows() * 2 * w);
        for (source, offsets) in received.offsets.iter().enumerate() {
            let index = &received.index[received.rows.of(source, 1)];
            let x = &x[received.tokens.of(source, h)];
            let xs = grown(xs, index.len() * h);
            gather(x, h, xs, |i| index[i] as usize);
            let share =
                Share { params: ctx.params, precision: ctx.precision, experts: &self.experts[own.clone()], offsets };
            let gate_up = &mut gate_up[received.rows.of(source, 2 * w)];
            let results = &mut results[received.rows.of(source, h)];
            self.forward_rows(share, xs, [gate_up, results], grown(scratch, index.len() * w));
        }
        let combined = exchange(&*comm, (results, &received.rows), (y, &outgoing.rows), h);
        parallel.put(ctx.op, received, ctx.keep);

        let traffic = &mut ctx.out.expert_traffic;
        traffic.tokens += ctx.rows as u64;
        traffic.ranks += outgoing.firsts.len() as u64;
        traffic.dispatch_bytes += dispatched;
        traffic.combine_bytes += combined;
    }

    pub(super) fn backward_dealt(&self, ctx: &mut Ctx, parallel: &mut ExpertParallel) {
        let (h, w, comm) = (self.sorted.hidden, self.width, parallel.comm.clone());
        let own = self.block(comm.rank(), comm.size());
        let outgoing = self.outgoing(ctx, comm.size());
        let [weights_of] = ctx.acts.get([self.sorted.weights]);
        let [dxs, dweights_of, dy] = ctx.grads.get([self.sorted.rows, self.sorted.weights, self.y]);
        let received = parallel.take(ctx.op);
        let Buffers { sent, tokens, xs, dys, results, weights, dweights, scratch } = &mut parallel.buffers;
        // Every expert of a token has the same dL/dy, so it is sent once to a rank, as the token was.
        let sent = grown(sent, outgoing.firsts.len() * h);
        gather(dy, h, sent, |i| outgoing.firsts[i] as usize);
        let tokens = grown(tokens, received.tokens.rows() * h);
        let mut bytes = exchange(&*comm, (sent, &outgoing.tokens), (&mut *tokens, &received.tokens), h);
        let rows = received.rows.rows();
        let (weights, dweights) = (grown(weights, rows), grown(dweights, rows));
        bytes += exchange(&*comm, (weights_of, &outgoing.rows), (&mut *weights, &received.rows), 1);

        let results = grown(results, rows * h);
        for (source, offsets) in received.offsets.iter().enumerate() {
            let place = received.rows.of(source, 1);
            let (index, n) = (&received.index[place.clone()], place.len());
            let (xs, dys) = (grown(xs, n * h), grown(dys, n * h));
            for (from, to) in [(&received.x[..], &mut *xs), (&*tokens, &mut *dys)] {
                gather(&from[received.tokens.of(source, h)], h, to, |i| index[i] as usize);
            }
            let share =
                Share { params: ctx.params, precision: ctx.precision, experts: &self.experts[own.clone()], offsets };
            // The gradients go to the places of the experts of block `source`.
            let grads = (&mut ctx.param_grads, &self.experts[self.block(source, comm.size())]);
            let saved = [&*xs, &weights[place.clone()], &received.gate_up[received.rows.of(source, 2 * w)]];
            let dinputs = [&mut results[received.rows.of(source, h)], &mut dweights[place]];
            self.backward_rows(share, grads, saved, dys, dinputs, grown(scratch, n * 4 * w));
        }
        bytes += exchange(&*comm, (results, &received.rows), (dxs, &outgoing.rows), h);
        bytes += exchange(&*comm, (dweights, &received.rows), (dweights_of, &outgoing.rows), 1);
        parallel.put(ctx.op, received, false);
        ctx.out.expert_traffic.backward_bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::dispatch::Sorted;

    #[test]
    fn a_token_is_sent_once_to_each_rank() {
        let mut b = crate::ops::Builder::new(crate::tape::Mode { rows: 3, train: false, recompute: false });
        let (rows, weights, order) = (b.activation(4), b.activation(2), b.ints(11));
        let sorted = Sorted { rows, weights, order, experts: 4, top_k: 2, hidden: 2 };
        // Token 0 visits experts 1 and 0, token 1 experts 3 and 0, token 2 experts 2 and 3.
        let mut ints = [0; 5 + 2 * 6];
        Order::sort(&[1, 0, 3, 0, 2, 3], 4, &mut ints);
        let outgoing = Outgoing::new(&Order::read(&ints, &sorted), 2, [0..2, 2..4].into_iter());
        // Rows by expert: 0 (tokens 0, 1), 1 (token 0), 2 (token 2), 3 (tokens 1, 2).
        assert_eq!(outgoing.rows, Parts::new([3, 3]));
        assert_eq!(outgoing.tokens, Parts::new([2, 2]));
        assert_eq!(outgoing.firsts, [0, 1, 3, 4]);
        assert_eq!(outgoing.lists, [vec![2, 1, 0, 1, 0], vec![1, 2, 0, 1, 0]]);
    }
}
