use super::*;
use crate::ops::Builder;
use crate::ops::attention::HeadView;
use crate::tape::Mode;

/// The rows of one batch.
pub(super) const BATCH: Rows = Rows { rows: 300, segments: 2 };

/// Attention with 6 heads, 2 of them of keys, in one activation: first q, then k, then v.
pub(super) fn attention([qk_dim, v_dim]: [usize; 2]) -> Attention {
    let mut b = Builder::new(Mode { rows: BATCH.rows, train: true, recompute: false });
    let [act, out, lse] = [8 * qk_dim + 2 * v_dim, 6 * v_dim, 6].map(|cols| b.activation(cols));
    let view = |offset, head_stride| HeadView { act, offset, head_stride };
    Attention {
        q: view(0, qk_dim),
        k: view(6 * qk_dim, qk_dim),
        v: view(8 * qk_dim, v_dim),
        out,
        lse,
        heads: 6,
        kv_heads: 2,
        qk_dim,
        v_dim,
        scale: 0.1,
        layer: 0,
    }
}

/// The heads of q, k and v in an activation at this address with rows of this many columns.
pub(super) fn inputs(op: &Attention, at: u64, cols: usize) -> [Tensor; 3] {
    let whole = Tensor::new(at, Dtype::Bf16, cols);
    [op.q, op.k, op.v].map(|view| whole.columns(view.offset, cols - view.offset))
}

#[test]
fn a_plan_describes_the_heads_and_fits_a_multiprocessor() {
    for ([qk, v], shared) in [([64, 64], 65_640), ([128, 128], 131_176), ([192, 128], 172_136)] {
        let (op, cols) = (attention([qk, v]), 8 * qk + 2 * v);
        let plan = plan(&op, inputs(&op, 1 << 20, cols), BATCH).expect("a plan");
        assert_eq!(plan.kernel, format!("attention_sm90a_{qk}_{v}"));
        assert_eq!((plan.launch.grid, plan.launch.threads, plan.launch.shared), ([6, 4], 384, shared));
        let described = plan.boxes.map(|x| (x.at - (1 << 20), x.rows, x.cols, x.ld, x.box_rows));
        let expected = [
            (0, 300, cols, cols, 128),
            (12 * qk as u64, 300, cols - 6 * qk, cols, 64),
            (16 * qk as u64, 300, 2 * v, cols, 64),
        ];
        assert_eq!(described, expected);
    }
}

#[test]
fn other_heads_and_other_places_have_no_plan() {
    let has = |op: &Attention, inputs: [Tensor; 3], batch: Rows| plan(op, inputs, batch).is_some();
    let op = attention([64, 64]);
    let good = inputs(&op, 1 << 20, 640);
    assert!(has(&op, good, BATCH));
    for dims in [[64, 128], [48, 64], [128, 64], [256, 256]] {
        assert!(!has(&attention(dims), good, BATCH), "{dims:?}");
    }
    for i in 0..3 {
        let (mut f32, mut at, mut ld) = (good, good, good);
        f32[i].dtype = Dtype::F32;
        at[i].at += 8;
        ld[i].ld += 4;
        assert!(!has(&op, f32, BATCH) && !has(&op, at, BATCH) && !has(&op, ld, BATCH), "{i}");
    }
    assert!(!has(&op, good, Rows { rows: 0, ..BATCH }));
    assert!(!has(&op, good, Rows { rows: 65_536, segments: 65_536 }));
}
