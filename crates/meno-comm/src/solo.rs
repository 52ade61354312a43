//! One process: nothing is sent.

use crate::{Channel, Communicator};

/// The only rank of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Solo;

impl Communicator for Solo {
    fn rank(&self) -> usize {
        0
    }
    fn size(&self) -> usize {
        1
    }
    fn barrier(&self) {}
    fn broadcast(&self, _: usize, _: &mut Vec<u8>) {}
    fn send_receive(&self, _: usize, send: &[u8], _: usize, receive: &mut [u8]) {
        receive.copy_from_slice(send);
    }
    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        vec![bytes.to_vec()]
    }
    fn all_to_all(&self, send: &[&[u8]]) -> Vec<Vec<u8>> {
        send.iter().map(|bytes| bytes.to_vec()).collect()
    }
    fn all_reduce(&self, _: &mut [f32]) {}
    fn post(&self, to: usize, _: Channel, _: &[u8]) {
        panic!("invariant: there is no rank {to}");
    }
    fn poll(&self, _: Channel) -> Option<(usize, Vec<u8>)> {
        None
    }
    fn bytes_sent(&self) -> u64 {
        0
    }
    fn abort(&self, code: i32) -> ! {
        std::process::exit(code)
    }
}
