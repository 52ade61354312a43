//! A queue of work that all ranks share: each takes items when it has room, so ranks with short items take more.
//!
//! Rank 0 owns the queue and answers requests whenever it calls a function of it. Requests are answered in the
//! background of the other ranks' work: [`Queue::take`] does not wait. Items are dealt out in decreasing portions
//! ("guided self-scheduling", Polychronopoulos & Kuck 1987): whole groups first, single items at the end.

use crate::{Channel, Comm};
use std::ops::Range;
use std::time::Duration;

/// A queue of the items `0..len`.
#[derive(Debug)]
pub struct Queue {
    comm: Comm,
    /// The items that nobody has taken; on rank 0 only.
    left: Range<usize>,
    /// Items that belong together, from a multiple of this number.
    group: usize,
    /// True while a request of this rank is unanswered.
    asked: bool,
    /// The answer to the last request.
    answer: Option<Range<usize>>,
    stopped: bool,
    /// Rank 0: the ranks that have called [`Queue::finish`]. Others: rank 0 has acknowledged it.
    done: usize,
}

/// What [`Queue::take`] returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Items for this rank.
    Items(Range<usize>),
    /// The answer of rank 0 has not arrived yet: ask again later.
    Pending,
    /// The queue is empty, or a rank has stopped it.
    Empty,
}

const TAKE: u64 = 0;
const STOP: u64 = 1;
const DONE: u64 = 2;

/// How long [`Queue::finish`] waits between two looks at its messages.
const PAUSE: Duration = Duration::from_micros(200);

impl Queue {
    /// Creates a queue of `len` items in groups of `group`. All ranks create it with the same arguments.
    pub fn new(comm: &Comm, len: usize, group: usize) -> Queue {
        let comm = comm.clone();
        Queue { comm, left: 0..len, group: group.max(1), asked: false, answer: None, stopped: false, done: 0 }
    }

    /// Takes up to `room` items, at least one.
    pub fn take(&mut self, room: usize) -> Taken {
        if self.comm.is_first() {
            self.serve();
            return match self.portion(room) {
                items if items.is_empty() => Taken::Empty,
                items => Taken::Items(items),
            };
        }
        self.receive();
        if self.stopped {
            return Taken::Empty;
        }
        match self.answer.take() {
            Some(items) if items.is_empty() => {
                self.answer = Some(items); // it stays empty
                Taken::Empty
            }
            Some(items) => Taken::Items(items),
            None => {
                if !self.asked {
                    self.asked = true;
                    self.tell(0, Channel::ToQueue, [TAKE, room as u64, 0]);
                }
                Taken::Pending
            }
        }
    }

    /// Stops the queue for all ranks.
    pub fn stop(&mut self) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        match self.comm.is_first() {
            true => self.announce_stop(),
            false => self.tell(0, Channel::ToQueue, [STOP, 0, 0]),
        }
    }

    /// Returns true if a rank has stopped the queue. Rank 0 answers the requests that have arrived.
    pub fn is_stopped(&mut self) -> bool {
        match self.comm.is_first() {
            true => self.serve(),
            false => self.receive(),
        }
        self.stopped
    }

    /// Waits until all ranks are done with the queue. Returns true if a rank has stopped it.
    pub fn finish(mut self) -> bool {
        if self.comm.is_first() {
            while self.done + 1 < self.comm.size() {
                self.serve();
                std::thread::sleep(PAUSE);
            }
            (1..self.comm.size()).for_each(|to| self.tell(to, Channel::FromQueue, [DONE, self.stopped.into(), 0]));
        } else {
            while self.asked {
                self.receive();
                std::thread::sleep(PAUSE);
            }
            self.tell(0, Channel::ToQueue, [DONE, 0, 0]);
            while self.done == 0 {
                self.receive();
                std::thread::sleep(PAUSE);
            }
        }
        self.stopped
    }

    /// Rank 0: removes the next portion from the queue.
    fn portion(&mut self, room: usize) -> Range<usize> {
        let Range { start, end } = self.left;
        if self.stopped || start == end {
            return 0..0;
        }
        let fair = match self.comm.size() {
            1 => end - start,
            size => (end - start).div_ceil(2 * size),
        };
        let mut to = start + fair.min(room).max(1);
        let whole_groups = to / self.group * self.group;
        if whole_groups > start {
            to = whole_groups;
        }
        self.left.start = to;
        start..to
    }

    /// Rank 0: answers the messages that have arrived.
    fn serve(&mut self) {
        while let Some((from, message)) = self.comm.poll(Channel::ToQueue) {
            match numbers(&message) {
                [TAKE, room, _] => {
                    let items = self.portion(room as usize);
                    self.tell(from, Channel::FromQueue, [TAKE, items.start as u64, items.end as u64]);
                }
                [STOP, ..] if !self.stopped => {
                    self.stopped = true;
                    self.announce_stop();
                }
                [STOP, ..] => {}
                _ => self.done += 1,
            }
        }
    }

    fn announce_stop(&self) {
        (1..self.comm.size()).for_each(|to| self.tell(to, Channel::FromQueue, [STOP, 0, 0]));
    }

    /// Other ranks: reads the messages that have arrived. Those after rank 0's last one belong to the next queue.
    fn receive(&mut self) {
        while self.done == 0 {
            let Some((_, message)) = self.comm.poll(Channel::FromQueue) else { return };
            match numbers(&message) {
                [TAKE, start, end] => {
                    self.asked = false;
                    self.answer = Some(start as usize..end as usize);
                }
                [STOP, ..] => self.stopped = true,
                [_, stopped, _] => {
                    self.stopped = stopped == 1;
                    self.done = 1;
                }
            }
        }
    }

    fn tell(&self, to: usize, channel: Channel, message: [u64; 3]) {
        self.comm.post(to, channel, bytemuck::cast_slice(&message));
    }
}

fn numbers(message: &[u8]) -> [u64; 3] {
    let mut numbers = [0; 3];
    bytemuck::cast_slice_mut(&mut numbers).copy_from_slice(message);
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::ranks;

    /// Takes items until the queue is empty, in portions of at most `room`; `each` sees every item.
    fn drain(queue: &mut Queue, room: usize, mut each: impl FnMut(&mut Queue, usize)) {
        loop {
            match queue.take(room) {
                Taken::Items(items) => items.for_each(|i| each(queue, i)),
                Taken::Pending => std::thread::yield_now(),
                Taken::Empty => return,
            }
        }
    }

    #[test]
    fn every_item_is_taken_once() {
        for (size, len) in [(1, 10), (2, 0), (2, 1), (3, 64), (4, 200)] {
            let taken = ranks(size, |comm| {
                let mut all = Vec::new();
                for _ in 0..3 {
                    let (mut queue, mut mine) = (Queue::new(&comm, len, 4), Vec::new());
                    drain(&mut queue, 16, |_, i| mine.push(i));
                    assert!(!queue.finish());
                    all.push(mine);
                }
                all
            });
            for round in 0..3 {
                let mut items: Vec<usize> = taken.iter().flat_map(|t| t[round].clone()).collect();
                items.sort_unstable();
                assert_eq!(items, (0..len).collect::<Vec<_>>(), "{size} ranks");
            }
        }
    }

    #[test]
    fn a_fast_rank_takes_more() {
        let taken = ranks(2, |comm| {
            let (mut queue, mut mine) = (Queue::new(&comm, 64, 1), 0);
            drain(&mut queue, 8, |queue, _| {
                mine += 1;
                let pause = if queue.comm.rank() == 1 { 20 } else { 1 };
                std::thread::sleep(Duration::from_millis(pause));
                queue.is_stopped(); // rank 0 answers while it works
            });
            queue.finish();
            mine
        });
        assert_eq!(taken[0] + taken[1], 64);
        assert!(taken[0] > 2 * taken[1], "{taken:?}");
    }

    #[test]
    fn any_rank_stops_all() {
        for stopper in 0..3 {
            let stopped = ranks(3, |comm| {
                for round in 0..2 {
                    let mut queue = Queue::new(&comm, 1_000_000, 1);
                    if comm.rank() == stopper {
                        queue.stop();
                    }
                    drain(&mut queue, 1, |queue, _| _ = queue.is_stopped());
                    // A second queue works after a stopped one.
                    assert!(queue.finish(), "round {round}");
                }
                true
            });
            assert_eq!(stopped, [true; 3]);
        }
    }

    #[test]
    fn portions_are_whole_groups_until_the_end() {
        let portions = ranks(2, |comm| {
            let mut queue = Queue::new(&comm, 32, 4);
            let mut mine = Vec::new();
            if comm.is_first() {
                while let Taken::Items(items) = queue.take(100) {
                    mine.push(items);
                }
            }
            queue.finish();
            mine
        });
        assert_eq!(portions[0][..3], [0..8, 8..12, 12..16]);
        assert!(portions[0].iter().any(|p| p.len() == 1));
    }
}
