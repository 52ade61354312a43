//! The kernels of attention at the processor's level, and the memory of a thread.

use super::backward::Head;
use super::forward::{Keys, Queries};
use super::{backward, forward, packed, tile};
use crate::kv_cache::KvType;
use crate::simd::vector::at_level;
