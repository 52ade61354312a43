//! Threads. Work is split into tasks whose results do not depend on who runs them, so any thread count gives the
//! same bits.

use rayon::prelude::*;

/// How many threads work on an op from here.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Runs `f` with `threads` threads (tests of thread invariance, `--threads`).
///
/// # Panics
/// If the operating system refuses the threads.
pub fn with_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("the system gives us threads");
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

/// As [`for_chunks`], over chunks of two blocks at once: `f(index, chunk of a, chunk of b)`.
pub fn for_chunks2(
    a: &mut [f32],
    a_chunk: usize,
    b: &mut [f32],
    b_chunk: usize,
    f: impl Fn(usize, &mut [f32], &mut [f32]) + Sync + Send,
) {
    if threads() == 1 || a.len() <= a_chunk {
        a.chunks_mut(a_chunk).zip(b.chunks_mut(b_chunk)).enumerate().for_each(|(i, (a, b))| f(i, a, b));
    } else {
        a.par_chunks_mut(a_chunk).zip(b.par_chunks_mut(b_chunk)).enumerate().for_each(|(i, (a, b))| f(i, a, b));
    }
}
