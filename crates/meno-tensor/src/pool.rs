//! Threads. Work is split into tasks whose results do not depend on the thread that runs them, so any thread count
//! gives the same bits.

use rayon::prelude::*;

/// Returns the number of threads that run an op started from this thread.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Runs `f` with `threads` threads (tests of thread invariance, `--threads`).
///
/// # Panics
/// Panics if the operating system cannot create the threads.
pub fn with_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("the system can start threads");
    pool.install(f)
}

/// Calls `f(0..tasks)`, spread over the threads.
pub fn for_each(tasks: usize, f: impl Fn(usize) + Sync + Send) {
    if threads() == 1 || tasks <= 1 {
        (0..tasks).for_each(f);
    } else {
        (0..tasks).into_par_iter().with_max_len(1).for_each(f);
    }
}

/// Splits `data` into chunks of `chunk` values and calls `f(index, chunk)` for each, spread over the threads.
pub fn for_chunks(data: &mut [f32], chunk: usize, f: impl Fn(usize, &mut [f32]) + Sync + Send) {
    if threads() == 1 || data.len() <= chunk {
        data.chunks_mut(chunk).enumerate().for_each(|(i, c)| f(i, c));
    } else {
        data.par_chunks_mut(chunk).enumerate().for_each(|(i, c)| f(i, c));
    }
}

/// Calls `f(row, values, item)` for every row of `cols` values and its item, spread over the threads.
pub fn for_rows_with<T: Send>(
    data: &mut [f32],
    cols: usize,
    items: &mut [T],
    f: impl Fn(usize, &mut [f32], &mut T) + Sync + Send,
) {
    if threads() == 1 || data.len() <= cols {
        data.chunks_mut(cols).zip(items).enumerate().for_each(|(i, (row, item))| f(i, row, item));
    } else {
        data.par_chunks_mut(cols).zip(items).enumerate().for_each(|(i, (row, item))| f(i, row, item));
    }
}

/// Splits blocks of equal length at the same places into pieces of at most `block` values and calls `f(start, pieces)`
/// for each, spread over the threads.
pub fn for_blocks<const N: usize>(
    data: [&mut [f32]; N],
    block: usize,
    f: &(impl Fn(usize, [&mut [f32]; N]) + Sync + Send),
) {
    let len = data.iter().map(|d| d.len()).min().unwrap_or(0);
    split_blocks(data.map(|d| &mut d[..len]), 0, block, threads() > 1, f);
}

fn split_blocks<const N: usize>(
    data: [&mut [f32]; N],
    start: usize,
    block: usize,
    join: bool,
    f: &(impl Fn(usize, [&mut [f32]; N]) + Sync + Send),
) {
    let len = data.first().map_or(0, |d| d.len());
    if len <= block {
        return f(start, data);
    }
    let half = (len.div_ceil(block) / 2) * block;
    let mut right: [&mut [f32]; N] = std::array::from_fn(|_| Default::default());
    let mut i = 0;
    let left = data.map(|d| {
        let (a, b) = d.split_at_mut(half);
        right[i] = b;
        i += 1;
        a
    });
    if join {
        rayon::join(|| split_blocks(left, start, block, join, f), || split_blocks(right, start + half, block, join, f));
    } else {
        split_blocks(left, start, block, join, f);
        split_blocks(right, start + half, block, join, f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_everything_once() {
        for (len, block) in [(0, 4), (1, 4), (8, 4), (103, 4), (7, 100)] {
            for threads in [1, 3] {
                let (mut a, mut b) = (vec![0f32; len], vec![0f32; len]);
                with_threads(threads, || {
                    for_blocks([&mut a, &mut b], block, &|start, [a, b]| {
                        assert!(a.len() <= block && a.len() == b.len() && start % block == 0);
                        a.iter_mut().enumerate().for_each(|(i, a)| *a += (start + i) as f32);
                        b.iter_mut().for_each(|b| *b += 1.0);
                    });
                });
                assert!(a.iter().enumerate().all(|(i, &a)| a == i as f32) && b.iter().all(|&b| b == 1.0));
            }
        }
    }
}
