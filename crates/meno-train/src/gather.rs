//! Collects what the ranks of a run computed, in the order of the whole.

use meno_comm::Communicator;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Returns the numbered rows of all ranks, in order of their numbers. Each number exists on one rank.
pub(crate) fn rows(comm: &dyn Communicator, own: Vec<(usize, Vec<f64>)>) -> Vec<(usize, Vec<f64>)> {
    let mut all = own;
    if comm.size() > 1 {
        let words: Vec<u64> = all.iter().flat_map(|(number, row)| words(*number, row)).collect();
        let gathered = comm.all_gather(bytemuck::cast_slice(&words));
        all = gathered.iter().flat_map(|bytes| parse(bytes)).collect();
    }
    all.sort_by_key(|(number, _)| *number);
    all
}

/// A row as words: its number, its length, the bits of its values.
fn words(number: usize, row: &[f64]) -> impl Iterator<Item = u64> {
    [number as u64, row.len() as u64].into_iter().chain(row.iter().map(|x| x.to_bits()))
}

fn parse(bytes: &[u8]) -> Vec<(usize, Vec<f64>)> {
    let mut words = bytes.chunks_exact(8).map(|b| u64::from_ne_bytes(b.try_into().expect("invariant: 8 bytes")));
    let mut rows = Vec::new();
    while let (Some(number), Some(len)) = (words.next(), words.next()) {
        rows.push((number as usize, words.by_ref().take(len as usize).map(f64::from_bits).collect()));
    }
    rows
}

/// Like [`rows`], for values of any type.
pub(crate) fn values<T: Serialize + DeserializeOwned>(
    comm: &dyn Communicator,
    own: Vec<(usize, T)>,
) -> Vec<(usize, T)> {
    let mut all = own;
    if comm.size() > 1 {
        let json = serde_json::to_vec(&all).expect("invariant: results are plain data");
        let parse = |json: &Vec<u8>| -> Vec<(usize, T)> {
            serde_json::from_slice(json).expect("invariant: all ranks run the same program")
        };
        all = comm.all_gather(&json).iter().flat_map(parse).collect();
    }
    all.sort_by_key(|(number, _)| *number);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use meno_comm::threads::ranks;

    #[test]
    fn results_are_in_the_order_of_the_whole() {
        for size in [1, 2, 4] {
            let expected: Vec<(usize, Vec<f64>)> = (0..7).map(|i| (i, vec![i as f64 / 3.0; i % 3])).collect();
            let results = ranks(size, |comm| {
                let own = expected.iter().filter(|(i, _)| (i * 5 % 7) % size == comm.rank()).cloned();
                let own: Vec<_> = own.rev().collect();
                (rows(&*comm, own.clone()), values(&*comm, own))
            });
            for (rows, values) in results {
                assert_eq!(rows, expected);
                assert_eq!(values.len(), 7);
                assert!(values.iter().map(|(i, _)| *i).eq(0..7));
            }
        }
    }
}
