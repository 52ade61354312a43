//! Meno's engine: networks as programs of fused ops, and the devices that execute them.
//!
//! A network is a list of ops ([`ops`]) pushed onto a [`tape::Builder`]. An op describes itself: its operands, its
//! shapes, and the activations it reads and writes. [`tape::Builder::finish`] plans the memory and returns a
//! [`tape::Program`], which holds no memory. A [`backend::Backend`], opened by [`device::Device`], executes it over its
//! own weights, activations and KV cache, forward and backward. The same ops, built without gradients and run with a
//! [`kv_cache::KvCache`], generate text.
//!
//! **The numerics contract** (`docs/numerics.md`): on one device, a token's log-probability has the same bits for every
//! batch and every chunking of the prompt, and whether it is generated, scored or trained on.

pub mod backend;
pub mod cpu;
pub mod device;
pub mod finite;
pub mod kv_cache;
pub mod log_softmax;
pub mod ops;
pub mod optim;
pub mod pool;
pub mod precision;
pub mod quant;
pub mod reference;
pub mod rng;
pub mod tape;
#[doc(hidden)]
pub mod testing;
