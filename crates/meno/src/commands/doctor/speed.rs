//! The measured speed of processor and memory, compared with what such a processor should reach.

use super::machine::megahertz;
use super::report::{Mark, Section};
use crate::progress::{Unit, Work};
use meno_tensor::cpu::features::{kernels, operations_per_cycle};
use meno_tensor::cpu::roofline;
use meno_tensor::pool;
use meno_tensor::precision::Precision;
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::Instant;

/// Below this share of the expected value, something is wrong with the machine.
const POOR: f64 = 0.5;
/// GB/s that one thread reads from memory on any processor of the last ten years.
const READ: f64 = 6.0;
/// Reading by all threads is repeated for this long.
const MEMORY_SECONDS: f64 = 1.5;

pub(super) fn section() -> Section {
    let mut s = Section::new("speed", "Speed, measured (one thread, then all)");
    let work = Work::new("measuring", Unit::Count);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (kernels, hertz) = (kernels(), megahertz().map(|m| m * 1e6));
    let per_cycle = operations_per_cycle(kernels);
    let mut poor = false;
    let measures: [(&str, &str, &str, &dyn Fn() -> f64); 3] = [
        ("f32", kernels.f32, "GFLOP/s", &|| roofline::gflops(Precision::F32)),
        ("bf16", kernels.bf16, "GFLOP/s", &|| roofline::gflops(Precision::Bf16)),
        ("int8", kernels.int8, "GOP/s", &roofline::int8_gops),
    ];
    for ((key, kernel, unit, measure), per_cycle) in measures.into_iter().zip(per_cycle) {
        work.next(format!("measuring {key} products"));
        let measured = measure();
        let expected = hertz.zip(per_cycle).map(|(h, n)| h * n / 1e9);
        poor |= add(&mut s, (key, &format!("{key} products ({kernel})"), unit), measured, None, expected);
    }
    work.next("measuring memory");
    let one = roofline::read_gb_per_s();
    let all = read_by_all(threads);
    poor |= add(&mut s, ("read", "reading memory", "GB/s"), one, Some((threads, all)), Some(READ));
    if poor {
        s.advise(
            "slower than expected for this processor: other programs may be using it, or a power plan or virtual \
             machine may limit it (run `meno doctor` again when nothing else runs)",
        );
    }
    s
}

/// Adds one row; returns true if the value is poor.
fn add(
    s: &mut Section,
    (key, label, unit): (&str, &str, &str),
    measured: f64,
    all: Option<(usize, f64)>,
    expected: Option<f64>,
) -> bool {
    let poor = expected.is_some_and(|e| measured < POOR * e);
    let figure = |v: f64| if v < 10.0 { format!("{v:.1}") } else { format!("{v:.0}") };
    let mut text = format!("{label}: {} {unit}", figure(measured));
    let mut value = json!({ "measured": measured, "unit": unit, "expected": expected });
    match expected {
        Some(e) if key == "read" => text += &format!(", expected {} or more", figure(e)),
        Some(e) => text += &format!(", expected about {}", figure(e)),
        None => {}
    }
    if let Some((threads, all)) = all {
        text += &format!("; {threads} threads {}", figure(all));
        value["all_threads"] = Value::from(all);
    }
    s.row(if poor { Mark::Note } else { Mark::Ok }, key, text, value);
    poor
}

/// GB/s that all threads together read from memory, by wall-clock time: the best of several passes over more
/// data than the caches hold.
fn read_by_all(threads: usize) -> f64 {
    const VALUES: usize = 1 << 24;
    let data = vec![1u64; VALUES * threads];
    let pass = || {
        let start = Instant::now();
        pool::for_each(threads, |i| {
            let part = &data[i * VALUES..(i + 1) * VALUES];
            black_box(part.iter().fold(0u64, |sum, x| sum.wrapping_add(*x)));
        });
        (data.len() * 8) as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    pool::with_threads(threads, || {
        let begin = Instant::now();
        let passes = std::iter::repeat_with(pass).enumerate();
        let some = passes.take_while(|(i, _)| *i == 0 || begin.elapsed().as_secs_f64() < MEMORY_SECONDS).take(8);
        some.map(|(_, rate)| rate).fold(0.0, f64::max)
    })
}
