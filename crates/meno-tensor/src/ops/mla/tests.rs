//! Tests of multi-head latent attention on every device.

use super::*;
use crate::backend::Pass;
use crate::device::Device;
use crate::kv_cache::LayerSpec;
use crate::ops::Builder;
use crate::ops::attention::Attention;
use crate::precision::Precision;
use crate::rng::Rng;
use crate::tape::{Batch, Mode, ParamLayout};
use crate::testing::{TestInput, build};
use std::sync::Arc;

const H: usize = 3;
const N: usize = 10;
const R: usize = 6;
const V: usize = 12;
const C: usize = 20;

fn head(act: Activation, offset: usize, head_stride: usize) -> HeadView {
    HeadView { act, offset, head_stride }
}

/// Attention over the output of `kv_b_proj` (values and nope keys) and of `kv_a_proj` (k_pe after C columns).
fn expanded(b: &mut Builder, q: Activation, kv: Activation, kv_a: Activation) -> Activation {
    let k = b.activation(H * (N + R));
    let keys = MlaKeys { nope: head(kv, 0, N + V), k_pe: head(kv_a, C, 0), k, heads: H, nope_dim: N, rope_dim: R };
    b.push(keys);
    let (out, lse) = (b.activation(H * V), b.activation(H));
    b.push(Attention {
        q: head(q, 0, N + R),
        k: head(k, 0, N + R),
        v: head(kv, N, N + V),
        out,
        lse,
        heads: H,
        kv_heads: H,
        qk_dim: N + R,
        v_dim: V,
        scale: 0.25,
        layer: 0,
    });
    out
}

#[test]
fn keys_alone() {
    for mut net in build(true, 9, |b, p| {
        let (kv, kv_a, k) =
            (TestInput::input(b, p, H * (N + V)), TestInput::input(b, p, C + R), b.activation(H * (N + R)));
        b.push(MlaKeys { nope: head(kv, 0, N + V), k_pe: head(kv_a, C, 0), k, heads: H, nope_dim: N, rope_dim: R });
        k
    }) {
        let (kv, kv_a) = (net.value("test.input.0"), net.value("test.input.1"));
        let k = net.output();
        for (row, h) in (0..9).flat_map(|row| (0..H).map(move |h| (row, h))) {
            let k = &k[(row * H + h) * (N + R)..][..N + R];
            assert_eq!(k[..N], kv[(row * H + h) * (N + V)..][..N]);
            assert_eq!(k[N..], kv_a[row * (C + R) + C..][..R]);
        }
    }
}

/// The gradient of kv_b_proj's output has two writers: Attention (values), MlaKeys (keys).
#[test]
fn gradients_and_bits() {
    for mut net in build(true, 17, |b, p| {
        let [q, kv, kv_a] = [H * (N + R), H * (N + V), C + R].map(|cols| TestInput::input(b, p, cols));
        expanded(b, q, kv, kv_a)
    }) {
        net.check_gradients(2e-3);
        net.check_bits();
    }
}

/// The op lists of both forms over the same inputs: q, the latent, kv_a and the expanded kv.
fn run(device: Device, absorbed: bool, rows: usize) -> Vec<f32> {
    let mut params = ParamLayout::default();
    let mut b = Builder::new(Mode { rows, train: false, recompute: false });
    let widths = [H * (N + R), C, C + R, H * (N + V)];
    let [q, latent, kv_a, kv] = widths.map(|cols| TestInput::input(&mut b, &mut params, cols));
    let weight = params.declare("kv_b_proj.weight", &[H * (N + V), C]);
    let spec;
    let y = if absorbed {
        let (k, query, o, lse, y) =
            (b.activation(C + R), b.activation(H * (C + R)), b.activation(H * C), b.activation(H), b.activation(H * V));
        b.push(MlaKeys { nope: head(latent, 0, 0), k_pe: head(kv_a, C, 0), k, heads: 1, nope_dim: C, rope_dim: R });
        let (heads, nope_dim, rope_dim, v_dim, kv_lora_rank) = (H, N, R, V, C);
        b.push(AbsorbQuery { q: head(q, 0, N + R), weight, y: query, heads, nope_dim, rope_dim, v_dim, kv_lora_rank });
        b.push(Attention {
            q: head(query, 0, C + R),
            k: head(k, 0, 0),
            v: head(k, 0, 0),
            out: o,
            lse,
            heads: H,
            kv_heads: 1,
            qk_dim: C + R,
            v_dim: C,
            scale: 0.25,
            layer: 0,
        });
        b.push(AbsorbOutput { x: o, weight, y, heads, nope_dim, v_dim, kv_lora_rank });
        spec = LayerSpec { kv_heads: 1, qk_dim: C + R, v_dim: C };
        y
    } else {
        spec = LayerSpec { kv_heads: H, qk_dim: N + R, v_dim: V };
        expanded(&mut b, q, kv, kv_a)
    };
    let backend = device.open().unwrap();
    let mut weights = backend.weights(Arc::new(params)).unwrap();
    let mut rng = Rng::new(&[4]);
    for (p, info) in weights.layout().clone().iter() {
        let scale = if info.name.starts_with("kv_b_proj") { 0.3 } else { 1.0 };
        weights.update(p, &mut |w| w.iter_mut().for_each(|x| *x = rng.normal() * scale)).unwrap();
    }
    let inputs: Vec<Param> = weights.layout().iter().map(|(p, _)| p).collect();
    let [w, c_kv] = [weight, inputs[1]].map(|p| weights.read(p).unwrap().into_owned());
    let expand = &mut |values: &mut [f32]| {
        for (row, kv) in values.chunks_exact_mut(H * (N + V)).enumerate() {
            for (x, w) in kv.iter_mut().zip(w.chunks_exact(C)) {
                *x = w.iter().zip(&c_kv[row * C..]).map(|(a, b)| *a as f64 * *b as f64).sum::<f64>() as f32;
            }
        }
    };
    weights.update(inputs[3], expand).unwrap();
    let mut batch = Batch::default();
    batch.push(&vec![0; rows], 0, Some(1));
    let mut cache = backend.kv_cache_with_slots(&[spec], 2, rows).unwrap();
    let mut executor = backend.executor(b.finish()).unwrap();
    executor.forward(&mut *weights, Pass::new(Precision::F32, &batch), Some(&mut cache)).unwrap();
    executor.values(y, rows).unwrap()
}

/// Absorbed decoding from the latent cache gives the expanded form's outputs to 1e-5.
#[test]
fn absorbed_equals_expanded() {
    for device in Device::all() {
        let (a, e) = (run(device, true, 33), run(device, false, 33));
        assert!(e.iter().any(|x| x.abs() > 0.5));
        for (a, e) in a.iter().zip(&e) {
            assert!((a - e).abs() < 1e-5, "{a} absorbed, {e} expanded");
        }
    }
}
