//! Hidden states that leave one program and enter another: the MTP module drafts from them. Inference only.

use crate::tape::{Activation, Builder, Describe, Io};

/// Copies an activation to `Outputs::hidden`.
pub struct StoreHidden {
    /// `[t, hidden]`.
    pub x: Activation,
}

impl Describe for StoreHidden {
    fn name(&self) -> &'static str {
        "store_hidden"
    }
    fn io(&self) -> Io {
        Io { reads: vec![self.x], ..Io::default() }
    }
}

/// An activation from `Batch::hidden`.
pub struct LoadHidden {
    /// `[t, hidden]`.
    pub y: Activation,
}

impl LoadHidden {
    /// Appends the op with `hidden` columns; returns its activation.
    pub fn push(b: &mut Builder<impl Describe + From<LoadHidden>>, hidden: usize) -> Activation {
        let y = b.activation(hidden);
        b.push(LoadHidden { y });
        y
    }
}

impl Describe for LoadHidden {
    fn name(&self) -> &'static str {
        "load_hidden"
    }
    fn io(&self) -> Io {
        Io { writes: vec![self.y], ..Io::default() }
    }
}
