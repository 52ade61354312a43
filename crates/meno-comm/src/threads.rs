//! Ranks as threads of one process, for tests: the collectives without MPI.

use crate::{Channel, Comm, Communicator};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Runs `f` on `size` ranks and returns their results in order of rank.
///
/// # Panics
/// Panics if a rank panics; the other ranks then panic too when they wait for a message.
pub fn ranks<R: Send>(size: usize, f: impl Fn(Comm) -> R + Sync) -> Vec<R> {
    let world = Arc::new(World {
        mail: (0..size).map(|_| Mailbox::default()).collect(),
        sent: (0..size).map(|_| AtomicU64::new(0)).collect(),
        failed: AtomicBool::new(false),
    });
    std::thread::scope(|scope| {
        let start = |rank| {
            let comm: Comm = Arc::new(ThreadRank { rank, world: world.clone() });
            let (f, world) = (&f, &world);
            scope.spawn(move || {
                let _watch = Watch(world);
                f(comm)
            })
        };
        let threads: Vec<_> = (0..size).map(start).collect();
        threads.into_iter().map(|t| t.join().expect("a rank panicked")).collect()
    })
}

/// Records that a rank panicked.
struct Watch<'a>(&'a World);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.failed.fetch_or(std::thread::panicking(), Ordering::Relaxed);
    }
}

/// How long a rank waits before it looks whether another one panicked.
const WATCH: Duration = Duration::from_millis(100);

/// A message: sender, channel (0 for collectives), bytes.
type Message = (usize, u8, Vec<u8>);

#[derive(Debug, Default)]
struct Mailbox {
    messages: Mutex<VecDeque<Message>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct World {
    mail: Vec<Mailbox>,
    sent: Vec<AtomicU64>,
    failed: AtomicBool,
}

#[derive(Debug)]
struct ThreadRank {
    rank: usize,
    world: Arc<World>,
}

impl ThreadRank {
    fn send(&self, to: usize, channel: u8, bytes: &[u8]) {
        let mailbox = &self.world.mail[to];
        let mut messages = mailbox.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.push_back((self.rank, channel, bytes.to_vec()));
        mailbox.arrived.notify_all();
        if to != self.rank {
            self.world.sent[self.rank].fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
    }

    fn receive(&self, from: usize) -> Vec<u8> {
        let mailbox = &self.world.mail[self.rank];
        let mut messages = mailbox.messages.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(at) = messages.iter().position(|(sender, channel, _)| *sender == from && *channel == 0) {
                return messages.remove(at).expect("invariant: it was found").2;
            }
            assert!(!self.world.failed.load(Ordering::Relaxed), "another rank panicked");
            let waited = mailbox.arrived.wait_timeout(messages, WATCH);
            messages = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Communicator for ThreadRank {
    fn rank(&self) -> usize {
        self.rank
    }
    fn size(&self) -> usize {
        self.world.mail.len()
    }
    fn barrier(&self) {
        self.all_gather(&[]);
    }
    fn broadcast(&self, root: usize, bytes: &mut Vec<u8>) {
        if self.rank == root {
            (0..self.size()).filter(|to| *to != root).for_each(|to| self.send(to, 0, bytes));
        } else {
            *bytes = self.receive(root);
        }
    }
    fn send_receive(&self, to: usize, send: &[u8], from: usize, receive: &mut [u8]) {
        self.send(to, 0, send);
        let bytes = self.receive(from);
        assert_eq!(bytes.len(), receive.len(), "rank {} expects as many bytes as rank {from} sends", self.rank);
        receive.copy_from_slice(&bytes);
    }
    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        (0..self.size()).for_each(|to| self.send(to, 0, bytes));
        (0..self.size()).map(|from| self.receive(from)).collect()
    }
    fn all_to_all(&self, send: &[&[u8]]) -> Vec<Vec<u8>> {
        send.iter().enumerate().for_each(|(to, bytes)| self.send(to, 0, bytes));
        (0..self.size()).map(|from| self.receive(from)).collect()
    }
    fn all_reduce(&self, values: &mut [f32]) {
        let all = self.all_gather(bytemuck::cast_slice(values));
        values.fill(0.0);
        for bytes in all {
            let mut other = vec![0f32; values.len()];
            bytemuck::cast_slice_mut(&mut other).copy_from_slice(&bytes);
            values.iter_mut().zip(other).for_each(|(sum, v)| *sum += v);
        }
    }
    fn post(&self, to: usize, channel: Channel, message: &[u8]) {
        self.send(to, channel as u8, message);
    }
    fn poll(&self, channel: Channel) -> Option<(usize, Vec<u8>)> {
        let mut messages = self.world.mail[self.rank].messages.lock().unwrap_or_else(PoisonError::into_inner);
        let at = messages.iter().position(|(_, c, _)| *c == channel as u8)?;
        messages.remove(at).map(|(from, _, bytes)| (from, bytes))
    }
    fn bytes_sent(&self) -> u64 {
        self.world.sent[self.rank].load(Ordering::Relaxed)
    }
    fn abort(&self, code: i32) -> ! {
        panic!("rank {} aborts with code {code}", self.rank)
    }
}
