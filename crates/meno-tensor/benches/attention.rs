//! Attention in training and decoding: GFLOP/s of one thread, by CPU time.
//! `cargo bench -p meno-tensor --bench attention --features testing`

use meno_tensor::backend::Pass;
use meno_tensor::device::Device;
use meno_tensor::kv_cache::LayerSpec;
use meno_tensor::ops::attention::{Attention, HeadView};
use meno_tensor::pool;
use meno_tensor::precision::Precision;
use meno_tensor::tape::{Batch, Mode};
use meno_tensor::testing::{Net, TestInput};

#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    kv_heads: usize,
    qk_dim: usize,
    v_dim: usize,
}

fn net(train: bool, rows: usize, s: Shape) -> Net {
    let Shape { heads, kv_heads, qk_dim, v_dim } = s;
    Net::new(Device::Cpu, Mode { rows, train, recompute: false }, &|b, p| {
        let widths = [heads * qk_dim, kv_heads * qk_dim, kv_heads * v_dim];
        let act = TestInput::input(b, p, widths.iter().sum());
        let view = |i: usize, head_stride| HeadView { act, offset: widths[..i].iter().sum(), head_stride };
        let (q, k, v) = (view(0, qk_dim), view(1, qk_dim), view(2, v_dim));
        let (out, lse) = (b.activation(heads * v_dim), b.activation(heads));
        b.push(Attention { q, k, v, out, lse, heads, kv_heads, qk_dim, v_dim, scale: 0.1, layer: 0 });
        Some(out)
    })
}

/// Median seconds of "attention" over `passes` passes: (forward, backward).
fn measure(net: &mut Net, passes: usize, mut pass: impl FnMut(&mut Net)) -> (f64, f64) {
    let mut runs = vec![];
    for _ in 0..passes {
        net.executor.start_profile();
        pass(net);
        let profile = net.executor.profile().expect("started").clone();
        runs.extend(profile.ops.into_iter().filter(|o| o.name == "attention").map(|o| (o.forward, o.backward)));
    }
    let median = |mut x: Vec<f64>| {
        x.sort_by(f64::total_cmp);
        x[x.len() / 2]
    };
    (median(runs.iter().map(|r| r.0).collect()), median(runs.iter().map(|r| r.1).collect()))
}

fn train(name: &str, sequences: usize, length: usize, s: Shape) {
    let mut net = net(true, sequences * length, s);
    net.batch = Batch::default();
    for _ in 0..sequences {
        net.batch.push_training(&vec![1; length], |_| 1.0);
    }
    let (forward, backward) = measure(&mut net, 15, |net| {
        net.step(Precision::F32);
    });
    let pairs = (sequences * s.heads * length * (length + 1) / 2) as f64;
    let (f, b) = (2 * (s.qk_dim + s.v_dim), 2 * (3 * s.qk_dim + 2 * s.v_dim));
    println!(
        "{name:<28} forward {:7.3} ms {:6.1} GFLOP/s   backward {:7.3} ms {:6.1} GFLOP/s",
        forward * 1e3,
        pairs * f as f64 / forward * 1e-9,
        backward * 1e3,
        pairs * b as f64 / backward * 1e-9
    );
}

fn decode(name: &str, sequences: usize, length: usize, s: Shape) {
    let mut net = net(false, sequences, s);
    let spec = LayerSpec { kv_heads: s.kv_heads, qk_dim: s.qk_dim, v_dim: s.v_dim };
    let mut cache = net.backend.kv_cache_with_slots(&[spec], sequences, 320).expect("room for the cache");
    let half = vec![0.5f32.to_bits(); cache.store().page_words()];
    for page in 0..cache.table().pages() as u32 {
        cache.store_mut().and_then(|store| store.write_page(page, &half)).expect("pages can be written");
    }
    net.batch = Batch::default();
    for i in 0..sequences {
        net.batch.push(&[1], length - 1, Some(i));
    }
    let (seconds, _) = measure(&mut net, 31, |net| {
        let batch = net.batch.clone();
        let pass = Pass::new(Precision::F32, &batch);
        net.executor.forward(&mut *net.weights, pass, Some(&mut cache)).expect("a pass");
    });
    let work = (sequences * s.heads * length * 2 * (s.qk_dim + s.v_dim)) as f64;
    let bytes = (sequences * s.kv_heads * length * 4 * (s.qk_dim + s.v_dim)) as f64;
    println!(
        "{name:<28} {:7.3} ms {:6.1} GFLOP/s {:6.1} GB/s  {:6.2} us per sequence",
        seconds * 1e3,
        work / seconds * 1e-9,
        bytes / seconds * 1e-9,
        seconds / sequences as f64 * 1e6
    );
}

fn main() {
    pool::with_threads(1, || {
        let s = |heads, kv_heads, qk_dim, v_dim| Shape { heads, kv_heads, qk_dim, v_dim };
        train("W2   8 x 256, 4 x 64", 8, 256, s(4, 4, 64, 64));
        train("W2t 16 x 128, 4 x 32", 16, 128, s(4, 4, 32, 32));
        train("V3   8 x 256, 4 x 48/32", 8, 256, s(4, 4, 48, 32));
        train("long 1 x 2048, 4 x 128", 1, 2048, s(4, 4, 128, 128));
        train("GQA  2 x 512, 14/2 x 64", 2, 512, s(14, 2, 64, 64));
        decode("256 at 150, 4 x 24/16", 256, 150, s(4, 4, 24, 16));
        decode("256 at 300, 4 x 24/16", 256, 300, s(4, 4, 24, 16));
        decode("256 at 300, 4 x 48/32", 256, 300, s(4, 4, 48, 32));
        decode("64 at 300, 14/2 x 64", 64, 300, s(14, 2, 64, 64));
        decode("256 at 300, 4/1 x 80/64", 256, 300, s(4, 1, 80, 64));
    });
}
