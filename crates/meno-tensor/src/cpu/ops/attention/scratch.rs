//! The scratch memory of a thread.

use std::cell::RefCell;

/// The scratch memory of a thread. It grows as needed and is kept.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
    pub(super) scores: Vec<f32>,
}

impl Scratch {
    pub(super) fn with<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
        thread_local! { static SCRATCH: RefCell<Scratch> = RefCell::default(); }
        SCRATCH.with_borrow_mut(f)
    }
}

/// Returns the first `len` values of `x`, which grows if it is shorter.
pub(super) fn grow(x: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if x.len() < len {
        x.resize(len, 0.0);
    }
    &mut x[..len]
}
