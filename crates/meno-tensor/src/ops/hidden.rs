//! Hidden states that leave one tape and enter another: what the MTP module drafts from. Inference only.

use crate::tape::{Act, Builder, Ctx, Io, Op};

/// Copies an activation to `Outputs::hidden`.
pub struct Export {
    /// `[t, hidden]`.
    pub x: Act,
}

impl Op for Export {
    fn name(&self) -> &'static str {
        "export"
    }
    fn io(&self) -> Io {
        Io { reads: vec![self.x], ..Io::default() }
    }
    fn forward(&self, ctx: &mut Ctx) {
        let [x] = ctx.acts.get([self.x]);
        ctx.out.hidden.clear();
        ctx.out.hidden.extend_from_slice(x);
    }
    fn backward(&self, _: &mut Ctx) {
        unreachable!("invariant: hidden states are exported for inference")
    }
}

/// An activation from `Batch::hidden`.
pub struct Import {
    /// `[t, hidden]`.
    pub y: Act,
}

impl Import {
    /// Appends it, `hidden` wide; returns it.
    pub fn push(b: &mut Builder, hidden: usize) -> Act {
        let y = b.act(hidden);
        b.push(Import { y });
        y
    }
}

impl Op for Import {
    fn name(&self) -> &'static str {
        "import"
    }
    fn io(&self) -> Io {
        Io { writes: vec![self.y], ..Io::default() }
    }
    fn forward(&self, ctx: &mut Ctx) {
        let [y] = ctx.acts.get([self.y]);
        assert!(ctx.batch.hidden.len() == y.len(), "invariant: a hidden state for every row");
        y.copy_from_slice(&ctx.batch.hidden);
    }
    fn backward(&self, _: &mut Ctx) {
        unreachable!("invariant: hidden states are imported for inference")
    }
}
