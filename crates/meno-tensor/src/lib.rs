//! Meno's engine: a static tape of fused ops over planned memory.
//!
//! A network is a list of ops ([`ops`]) pushed onto a [`tape::Builder`]; every op carries its own forward and
//! backward. [`tape::Tape`] runs the list both ways over memory that was planned once, so a step allocates nothing.
//! The same list, built without gradients and given a [`kv_cache::KvCache`], is the inference engine.
//!
//! **The numerics contract** (`docs/numerics.md`): an output element is one chain of fused multiply-adds in the
//! order of k, in fixed blocks of k, whatever the batch, the chunking of the prompt, or the number of threads.

pub mod batch;
pub mod buffer;
#[doc(hidden)]
pub mod check;
pub mod cpu;
pub mod features;
pub mod finite;
pub mod gemm;
pub mod kv_cache;
mod lanes;
pub mod ops;
pub mod optim;
pub mod params;
pub mod peak;
pub mod pool;
pub mod quant;
pub mod rng;
pub mod simd;
pub mod tape;

mod plan;
