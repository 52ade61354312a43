use super::super::tests::{BATCH, attention, inputs};
use super::*;

/// The gradients of q, k and v, and of o, for an activation like that of `inputs`.
fn places(op: &Attention, cols: usize) -> Places {
    let to = inputs(op, 1 << 24, cols);
    Places {
        inputs: inputs(op, 1 << 20, cols),
        dout: Tensor::new(1 << 28, Dtype::Bf16, op.heads * op.v_dim),
        to: [(to[0], false), (to[1], true), (to[2], false)],
    }
}

#[test]
fn a_plan_describes_the_matrices_and_fits_a_multiprocessor() {
    let shared = [([64, 64], 98_376, 100_424), ([128, 128], 163_896, 165_432), ([192, 128], 204_856, 164_936)];
    for ([qk, v], dq, dk_dv) in shared {
        let (op, cols) = (attention([qk, v]), 8 * qk + 2 * v);
        let plan = plan(&op, places(&op, cols), BATCH).expect("a plan");
        let described = |kernel: &Kernel| (kernel.name.clone(), kernel.launch.grid, kernel.launch.shared);
        assert_eq!(described(&plan.dq), (format!("attention_sm90a_dq_{qk}_{v}"), [6, 4], dq));
        assert_eq!(described(&plan.dk_dv), (format!("attention_sm90a_dk_dv_{qk}_{v}"), [2, 4], dk_dv));
        let boxes = |kernel: &Kernel| kernel.boxes.map(|x| (x.at, x.rows, x.cols, x.ld, x.box_rows));
        let expected = |queries, keys| {
            let at = |col: usize| (1 << 20) + 2 * col as u64;
            [
                (at(0), 300, cols, cols, queries),
                (at(6 * qk), 300, cols - 6 * qk, cols, keys),
                (at(8 * qk), 300, 2 * v, cols, keys),
                (1 << 28, 300, 6 * v, 6 * v, queries),
            ]
        };
        assert_eq!(boxes(&plan.dq), expected(128, 64));
        assert_eq!(boxes(&plan.dk_dv), expected(if qk == 192 { 32 } else { 64 }, 128));
        assert_eq!(plan.dq.to.len() + plan.dk_dv.to.len(), 3);
    }
}

#[test]
fn other_heads_and_other_places_have_no_plan() {
    let op = attention([64, 64]);
    let has = |places: Places| plan(&op, places, BATCH).is_some();
    let good = places(&op, 640);
    assert!(has(good));
    for dims in [[64, 128], [48, 64], [128, 64], [256, 256]] {
        assert!(plan(&attention(dims), good, BATCH).is_none(), "{dims:?}");
    }
    let change = |change: &dyn Fn(&mut Tensor), i: usize| {
        let mut places = good;
        match i {
            0..3 => change(&mut places.inputs[i]),
            3 => change(&mut places.dout),
            _ => change(&mut places.to[i - 4].0),
        }
        places
    };
    for i in 0..7 {
        assert!(!has(change(&|x| x.dtype = Dtype::F32, i)), "{i}");
        // Gradients are written in pairs, other matrices are copied in pieces of 16 bytes.
        let (at, ld) = if i < 4 { (8, 4) } else { (2, 1) };
        assert!(!has(change(&|x| x.at += at, i)) && !has(change(&|x| x.ld += ld, i)), "{i}");
        assert!(has(change(&|x| x.at += 2 * at, i)) && has(change(&|x| x.ld += 2 * ld, i)), "{i}");
    }
    for i in 0..3 {
        let mut odd = attention([64, 64]);
        [&mut odd.q, &mut odd.k, &mut odd.v][i].head_stride += 1;
        assert!(plan(&odd, good, BATCH).is_none(), "{i}");
    }
    for batch in [Rows { rows: 0, ..BATCH }, Rows { rows: 65_536, segments: 65_536 }] {
        assert!(plan(&op, good, batch).is_none());
    }
}
