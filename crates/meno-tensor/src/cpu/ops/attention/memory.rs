//! The memory that the tasks of an attention op share.

use crate::kv_cache::KvType;
use crate::ops::attention::HeadView;
use crate::tape::PageTable;

/// A pointer to floats that tasks share: they read it, or each writes its own rows and columns.
#[derive(Clone, Copy)]
pub(super) struct SharedPtr(pub(super) *mut f32);
// SAFETY: tasks write disjoint elements (their own segment and heads); see the uses.
unsafe impl Send for SharedPtr {}
// SAFETY: as above.
unsafe impl Sync for SharedPtr {}

impl SharedPtr {
    /// The element at `i`. Bounds are checked where it is used.
    pub(super) fn at(self, i: usize) -> *mut f32 {
        self.0.wrapping_add(i)
    }
}

/// The heads of a view, as they lie in memory.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub(super) data: SharedPtr,
    pub(super) ld: usize,
    pub(super) view: HeadView,
}

impl Heads {
    pub(super) fn new(data: &mut [f32], rows: usize, view: HeadView) -> Self {
        Heads { data: SharedPtr(data.as_mut_ptr()), ld: data.len() / rows.max(1), view }
    }
    pub(super) fn at(self, row: usize, head: usize) -> *mut f32 {
        self.data.at(row * self.ld + self.view.offset + head * self.view.head_stride)
    }
}

/// A layer's part of the cache.
#[derive(Clone, Copy)]
pub(super) struct Cache<'a> {
    pub(super) keys: SharedPtr,
    pub(super) values: SharedPtr,
    pub(super) kv_type: KvType,
    /// Maps sequences to pages.
    pub(super) table: &'a PageTable,
}
