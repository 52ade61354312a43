//! Communication over MPI.

use crate::{Channel, Communicator};
use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::datatype::PartitionMut;
use mpi::environment::Universe;
use mpi::point_to_point::send_receive_into_with_tags;
use mpi::topology::{Communicator as _, SimpleCommunicator};
use mpi::traits::*;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The MPI library, while it is in use.
static LIBRARY: Mutex<Option<Universe>> = Mutex::new(None);

/// The tag of collectives that are made of messages; channels have their own tags.
const COLLECTIVE: i32 = 0;

/// Bytes of one message. MPI counts in `int`.
const LARGEST: usize = 1 << 30;

/// All processes of a run.
pub struct Mpi {
    rank: usize,
    size: usize,
    sent: AtomicU64,
    /// Held during a call: the library is initialized for one call at a time.
    calling: Mutex<()>,
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank, self.size)
    }
}

/// Leaves MPI: see [`crate::launch::finish`].
pub(crate) fn finish() {
    drop(LIBRARY.lock().unwrap_or_else(PoisonError::into_inner).take());
}

impl Mpi {
    /// Joins the processes that the launcher started. Call it once.
    ///
    /// # Errors
    /// Fails if MPI was initialized before, or does not support several threads.
    pub fn start() -> Result<Mpi, String> {
        let started = mpi::initialize_with_threading(Threading::Serialized);
        let (universe, threading) = started.ok_or("MPI is already in use by this process")?;
        if threading < Threading::Serialized {
            return Err(format!("the MPI library supports {threading:?} threads only: expected Serialized"));
        }
        let world = universe.world();
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        *LIBRARY.lock().unwrap_or_else(PoisonError::into_inner) = Some(universe);
        Ok(Mpi { rank, size, sent: AtomicU64::new(0), calling: Mutex::new(()) })
    }

    fn world(&self) -> (SimpleCommunicator, MutexGuard<'_, ()>) {
        (SimpleCommunicator::world(), self.calling.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns one number of every rank.
    fn gather_lengths(world: &SimpleCommunicator, len: usize) -> Vec<usize> {
        let mut lens = vec![0u64; world.size() as usize];
        world.all_gather_into(&(len as u64), &mut lens[..]);
        lens.into_iter().map(|len| len as usize).collect()
    }

    fn broadcast_pieces(world: &SimpleCommunicator, root: usize, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(LARGEST) {
            world.process_at_rank(root as i32).broadcast_into(piece);
        }
    }
}

/// Sends and receives messages of at most [`LARGEST`] bytes. A message of 0 bytes is not sent.
fn exchange(world: &SimpleCommunicator, to: usize, send: &[u8], from: usize, receive: &mut [u8]) {
    let [to, from] = [to, from].map(|rank| world.process_at_rank(rank as i32));
    let (mut send, mut receive) = (send.chunks(LARGEST), receive.chunks_mut(LARGEST));
    loop {
        match (send.next(), receive.next()) {
            (Some(send), Some(receive)) => {
                send_receive_into_with_tags(send, &to, COLLECTIVE, receive, &from, COLLECTIVE);
            }
            (Some(send), None) => to.send_with_tag(send, COLLECTIVE),
            (None, Some(receive)) => {
                from.receive_into_with_tag(receive, COLLECTIVE);
            }
            (None, None) => return,
        }
    }
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }
    fn size(&self) -> usize {
        self.size
    }
    fn barrier(&self) {
        self.world().0.barrier();
    }
    fn broadcast(&self, root: usize, bytes: &mut Vec<u8>) {
        let (world, _call) = self.world();
        let mut len = bytes.len() as u64;
        world.process_at_rank(root as i32).broadcast_into(&mut len);
        bytes.resize(len as usize, 0);
        Mpi::broadcast_pieces(&world, root, bytes);
        self.count(if self.rank == root { bytes.len() } else { 0 });
    }
    fn send_receive(&self, to: usize, send: &[u8], from: usize, receive: &mut [u8]) {
        let (world, _call) = self.world();
        exchange(&world, to, send, from, receive);
        self.count(send.len());
    }
    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let (world, _call) = self.world();
        let lens = Mpi::gather_lengths(&world, bytes.len());
        self.count(bytes.len());
        if lens.iter().sum::<usize>() > LARGEST {
            let all = lens.iter().enumerate().map(|(rank, len)| {
                let mut of_rank = if rank == self.rank { bytes.to_vec() } else { vec![0; *len] };
                Mpi::broadcast_pieces(&world, rank, &mut of_rank);
                of_rank
            });
            return all.collect();
        }
        let counts: Vec<i32> = lens.iter().map(|len| *len as i32).collect();
        let starts: Vec<i32> = counts.iter().scan(0, |at, count| Some(std::mem::replace(at, *at + count))).collect();
        // The address of an empty slice may be 1, which Open MPI takes for MPI_IN_PLACE.
        let bytes = if bytes.is_empty() { &[0u8][..0] } else { bytes };
        let mut all = vec![0u8; lens.iter().sum::<usize>().max(1)];
        world.all_gather_varcount_into(bytes, &mut PartitionMut::new(&mut all[..], &counts[..], &starts[..]));
        let mut rest = &all[..];
        lens.iter().map(|len| rest.split_off(..*len).expect("invariant: the lengths add up").to_vec()).collect()
    }
    fn all_to_all(&self, send: &[&[u8]]) -> Vec<Vec<u8>> {
        let (world, _call) = self.world();
        let lens: Vec<u64> = send.iter().map(|bytes| bytes.len() as u64).collect();
        let mut lens_received = vec![0u64; self.size];
        world.all_to_all_into(&lens[..], &mut lens_received[..]);
        let mut received: Vec<Vec<u8>> = lens_received.iter().map(|len| vec![0; *len as usize]).collect();
        received[self.rank].copy_from_slice(send[self.rank]);
        for shift in 1..self.size {
            let (to, from) = ((self.rank + shift) % self.size, (self.rank + self.size - shift) % self.size);
            exchange(&world, to, send[to], from, &mut received[from]);
            self.count(send[to].len());
        }
        received
    }
    fn all_reduce(&self, values: &mut [f32]) {
        let (world, _call) = self.world();
        let mut sums = vec![0f32; values.len().min(LARGEST / 4)];
        for piece in values.chunks_mut(LARGEST / 4) {
            let sums = &mut sums[..piece.len()];
            world.all_reduce_into(&*piece, sums, SystemOperation::sum());
            piece.copy_from_slice(sums);
        }
        // What a ring sends; the library chooses the algorithm.
        self.count(values.len() * 4 * 2 * (self.size - 1) / self.size);
    }
    fn post(&self, to: usize, channel: Channel, message: &[u8]) {
        let (world, _call) = self.world();
        // A message this short is sent eagerly by every MPI library: the call does not wait for the receiver.
        world.process_at_rank(to as i32).send_with_tag(message, channel as i32);
        self.count(message.len());
    }
    fn poll(&self, channel: Channel) -> Option<(usize, Vec<u8>)> {
        let (world, _call) = self.world();
        let (message, status) = world.any_process().immediate_matched_probe_with_tag(channel as i32)?;
        let from = status.source_rank() as usize;
        Some((from, (message, status).matched_receive_vec::<u8>().0))
    }
    fn bytes_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
    fn abort(&self, code: i32) -> ! {
        SimpleCommunicator::world().abort(code)
    }
}
