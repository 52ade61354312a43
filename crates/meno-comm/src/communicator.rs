//! What the ranks of a run exchange, and how.

use std::fmt::Debug;
use std::sync::Arc;

/// The communicator of a run, shared by everything that communicates.
pub type Comm = Arc<dyn Communicator>;

/// A channel of messages between two ranks. Messages of one channel arrive in the order they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Messages to the rank that owns a [`crate::queue::Queue`].
    ToQueue = 1,
    /// Its replies.
    FromQueue = 2,
}

/// The ranks of a run and how they exchange data.
pub trait Communicator: Send + Sync + Debug {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;
    /// The number of processes.
    fn size(&self) -> usize;
    /// Waits until all ranks have called it.
    fn barrier(&self);
    /// Replaces `bytes` by those of rank `root`.
    fn broadcast(&self, root: usize, bytes: &mut Vec<u8>);
    /// Sends `send` to rank `to` and fills `receive` from rank `from`. The lengths of a pair agree; a length of 0
    /// transfers nothing.
    fn send_receive(&self, to: usize, send: &[u8], from: usize, receive: &mut [u8]);
    /// Returns the bytes of every rank, in order of rank.
    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>>;
    /// Sends `send[i]` to rank i and returns what every rank sent to this one, in order of rank.
    fn all_to_all(&self, send: &[&[u8]]) -> Vec<Vec<u8>>;
    /// Replaces `values` by their sums over all ranks, added in any order: the bits depend on the number of ranks.
    /// [`crate::ordered`] has sums whose bits do not.
    fn all_reduce(&self, values: &mut [f32]);
    /// Sends a short message without waiting for its receiver.
    fn post(&self, to: usize, channel: Channel, message: &[u8]);
    /// Returns a message that has arrived, with its sender, if there is one.
    fn poll(&self, channel: Channel) -> Option<(usize, Vec<u8>)>;
    /// Returns the number of bytes that this rank has sent.
    fn bytes_sent(&self) -> u64;
    /// Ends all ranks with an exit code. Does not wait for them.
    fn abort(&self, code: i32) -> !;
}

impl dyn Communicator + '_ {
    /// Returns true if this is rank 0, which writes the files that exist once and shows progress.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }
    /// Returns true if `flag` is true on any rank.
    pub fn any(&self, flag: bool) -> bool {
        self.size() > 1 && self.all_gather(&[u8::from(flag)]).iter().any(|f| f == &[1]) || flag
    }
    /// Fills `bytes` from rank `root`, like [`Communicator::broadcast`], and returns it.
    pub fn from_rank(&self, root: usize, bytes: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
        let mut bytes = if self.rank() == root { bytes() } else { Vec::new() };
        self.broadcast(root, &mut bytes);
        bytes
    }
    /// Divides `0..len` into one contiguous range for each rank, of equal lengths but for a difference of 1, and
    /// returns this rank's.
    pub fn share(&self, len: usize) -> std::ops::Range<usize> {
        let at = |rank: usize| len * rank / self.size();
        at(self.rank())..at(self.rank() + 1)
    }
}
