//! Meno's tensor runtime: networks as programs of fused ops, and the devices that execute them.
//!
//! A network is a list of ops ([`ops`]) pushed onto a [`tape::Builder`]. An op describes itself: its operands, its
//! shapes, and the activations it reads and writes. [`tape::Builder::finish`] plans the memory and returns a
//! [`tape::Program`], which holds no memory. A [`backend::Backend`], opened by [`device::Device`], executes it over its
//! own weights, activations and KV cache, forward and backward. The same ops, built without gradients and run with a
//! [`kv_cache::KvCache`], generate text.
//!
//! ```
//! # use meno_tensor::{backend::Pass, ops::embedding::Embedding, ops::logits::Logits, precision::Precision};
//! # use meno_tensor::{device::Device, tape::{Batch, Builder, Mode, ParamLayout}};
//! for device in [Device::Cpu, Device::Reference] {
//!     let mut layout = ParamLayout::default();
//!     let embedding = layout.declare("embedding", &[5, 4]);
//!     layout.mark_linear(embedding);
//!     let mut builder = Builder::new(Mode { rows: 2, train: false, recompute: false });
//!     let x = Embedding::push(&mut builder, &layout, embedding);
//!     Logits::push(&mut builder, &layout, x, None, embedding);
//!
//!     let backend = device.open()?;
//!     let mut weights = backend.weights(layout.into())?;
//!     weights.update(embedding, &mut |values| values.fill(0.5))?;
//!     let mut batch = Batch { logit_rows: vec![0, 1], ..Batch::default() };
//!     batch.push(&[3, 1], 0, None);
//!     let mut executor = backend.executor(builder.finish())?;
//!     let outputs = executor.forward(&mut *weights, Pass::new(Precision::F32, &batch), None)?;
//!     assert_eq!(outputs.logits, [1.0; 2 * 5]);
//! }
//! # Ok::<(), meno_tensor::backend::Error>(())
//! ```
//!
//! **The numerics contract** (`docs/numerics.md`): on one device, a token's log-probability has the same bits for every
//! batch and every chunking of the prompt, and whether it is generated, scored or trained on.

pub mod backend;
pub mod cpu;
pub mod cuda;
pub mod device;
mod error;
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
pub mod sampling;
pub mod tape;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
