//! Launches of kernels: blocks and threads, and arguments with the types of C.

use cudarc::driver::sys;
use std::ffi::c_void;

/// The blocks and threads of a launch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Launch {
    /// Blocks in x and y.
    pub(super) grid: [usize; 2],
    /// Threads of a block.
    pub(super) threads: u32,
    /// Dynamic shared memory of a block in bytes.
    pub(super) shared: usize,
}

impl Launch {
    /// `blocks` blocks of `threads` threads.
    pub(super) fn blocks(blocks: usize, threads: u32) -> Launch {
        Launch { grid: [blocks, 1], threads, shared: 0 }
    }
    /// One thread per element, in blocks of 256.
    pub(super) fn elements(n: usize) -> Launch {
        Launch::blocks(n.div_ceil(256), 256)
    }
}

/// An argument of a kernel, with the type of its C parameter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg {
    /// A pointer.
    Pointer(u64),
    /// An `int`.
    Int(i32),
    /// A `long long`.
    Long(i64),
    /// A `float`.
    Float(f32),
    /// A `const __grid_constant__ CUtensorMap`.
    Map(TensorMap),
}

/// A matrix in bf16 and a box of it that TMA copies at once: 64 columns of `box_rows` rows, with the 128-byte swizzle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MatrixBox {
    /// The address of the first element, a multiple of 16.
    pub(super) at: u64,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// The distance between rows in elements, a multiple of 8.
    pub(super) ld: usize,
    /// At most 256.
    pub(super) box_rows: usize,
}

/// Matrices of one shape at equal distances, and a box of one of them that TMA copies at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MatrixStack {
    pub(super) first: MatrixBox,
    pub(super) count: usize,
    /// The distance between matrices in elements, a multiple of 8.
    pub(super) stride: usize,
}

/// A [`MatrixBox`] or a [`MatrixStack`] in the form that TMA reads (compute capability 9.0).
#[derive(Clone, Copy, Debug)]
pub(super) struct TensorMap(pub(super) sys::CUtensorMap);

impl From<u64> for Arg {
    fn from(at: u64) -> Arg {
        Arg::Pointer(at)
    }
}
impl From<usize> for Arg {
    fn from(n: usize) -> Arg {
        Arg::Int(i32::try_from(n).unwrap_or_else(|_| panic!("invariant: {n} fits an int, a kernel's parameter")))
    }
}
impl From<i32> for Arg {
    fn from(n: i32) -> Arg {
        Arg::Int(n)
    }
}
impl From<bool> for Arg {
    fn from(b: bool) -> Arg {
        Arg::Int(b.into())
    }
}
impl From<f32> for Arg {
    fn from(x: f32) -> Arg {
        Arg::Float(x)
    }
}
impl From<TensorMap> for Arg {
    fn from(map: TensorMap) -> Arg {
        Arg::Map(map)
    }
}

impl Arg {
    /// A number of elements that may exceed 2^31.
    pub(super) fn long(n: usize) -> Arg {
        Arg::Long(n as i64)
    }
    /// Returns its size.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Arg::Pointer(_) | Arg::Long(_) => 8,
            Arg::Int(_) | Arg::Float(_) => 4,
            Arg::Map(_) => size_of::<TensorMap>(),
        }
    }
    /// Returns where it is, as a launch takes it.
    pub(super) fn address(&mut self) -> *mut c_void {
        match self {
            Arg::Pointer(x) => (x as *mut u64).cast(),
            Arg::Int(x) => (x as *mut i32).cast(),
            Arg::Long(x) => (x as *mut i64).cast(),
            Arg::Float(x) => (x as *mut f32).cast(),
            Arg::Map(map) => (map as *mut TensorMap).cast(),
        }
    }
}
