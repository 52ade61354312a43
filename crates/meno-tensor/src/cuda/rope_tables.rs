//! The angles of rotary position embeddings in the card's memory, copied once.

use super::driver::{Gpu, Memory};
use crate::backend::Error;
use crate::ops::rope::RopeTable;
use std::sync::Arc;

/// The tables that a program has used.
pub(super) struct RopeTables {
    gpu: Arc<Gpu>,
    list: Vec<(Arc<RopeTable>, [Memory; 2])>,
}

impl RopeTables {
    pub(super) fn new(gpu: &Arc<Gpu>) -> RopeTables {
        RopeTables { gpu: gpu.clone(), list: Vec::new() }
    }

    /// Returns the addresses of cos and sin, `float[positions][half]` each.
    pub(super) fn addresses(&mut self, table: &Arc<RopeTable>) -> Result<[u64; 2], Error> {
        if let Some((_, memory)) = self.list.iter().find(|(known, _)| Arc::ptr_eq(known, table)) {
            return Ok(memory.each_ref().map(Memory::at));
        }
        let copy = |values: &[f32]| {
            let memory = self.gpu.allocate(size_of_val(values), "angles of positions")?;
            memory.write(0, values)?;
            Ok(memory)
        };
        let memory = [copy(&table.cos)?, copy(&table.sin)?];
        let addresses = memory.each_ref().map(Memory::at);
        self.list.push((table.clone(), memory));
        Ok(addresses)
    }
}
