//! GPUs: the card and its driver, measured speeds next to the expected ones, and the check of the numerics contract.

use super::report::{Mark, Section};
use crate::commands::bench::preset::Preset;
use crate::progress::{Unit, Work};
use anyhow::Result;
use meno_model::contract::{self, Comparison};
use meno_model::{Config, Model};
use meno_tensor::backend::{Backend, Error};
use meno_tensor::cuda::{Card, Cuda, cards};
use meno_tensor::device::Device;
use serde_json::{Value, json};
use std::path::Path;

/// Below this share of the peak, something is wrong with the card.
const POOR: f64 = 0.5;
/// Bytes that are copied to measure the memory, at most.
const COPY: usize = 1 << 30;
/// Rows and columns of the product that is measured, at most.
const PRODUCT: usize = 8192;
/// Seconds that are enough for a measurement.
const ENOUGH: f64 = 3e-4;
/// Tokens of the batch with which a single sequence is compared.
const CONTRACT_ROWS: usize = 4096;

pub(super) fn section(quick: bool) -> Section {
    let mut s = Section::new("gpu", "GPU");
    let cards = match cards() {
        Ok(cards) => cards,
        Err(reason) => {
            s.value("found", json!([]));
            s.line(Mark::Ok, format!("none that Meno can use: {reason}; Meno runs on CPUs and needs none"));
            if Path::new("/dev/kfd").exists() {
                s.line(Mark::Note, "AMD (/dev/kfd): not used, Meno runs on NVIDIA GPUs only");
            }
            return s;
        }
    };
    s.value("found", cards.iter().map(|card| card.name.clone()).collect());
    for (number, card) in cards.iter().enumerate() {
        let opened = Cuda::open(number);
        describe(&mut s, number, card, opened.as_ref().err());
        match opened {
            Err(_) => {}
            Ok(_) if quick => s.line(Mark::NotTried, "speed and numerics contract"),
            Ok(cuda) => {
                for (what, measure) in [("speed", measure_speed as Measure), ("contract", check_contract)] {
                    if let Err(e) = measure(&mut s, number, card, &cuda) {
                        s.row(Mark::Missing, &format!("cuda:{number}_{what}_failure"), format!("{e:#}"), Value::Null);
                    }
                }
            }
        }
    }
    s.line(Mark::Note, "the CUDA backend has not yet run on a GPU, only on an emulated one: check its results");
    s
}

/// Adds a card, with the reason if it cannot be used.
fn describe(s: &mut Section, number: usize, card: &Card, failure: Option<&Error>) {
    let Card { name, compute: (major, minor), memory, multiprocessors, driver, .. } = card;
    let (gib, cuda) = (*memory as f64 / (1u64 << 30) as f64, format!("{}.{}", driver / 1000, driver % 1000 / 10));
    let mut text = format!(
        "cuda:{number}: {name}, {gib:.0} GiB, compute capability {major}.{minor}, {multiprocessors} multiprocessors, \
         driver for CUDA {cuda}"
    );
    if let Some(failure) = failure {
        text = format!("{text}; {failure}");
    }
    let value = json!({ "name": name, "memory": memory, "compute": [major, minor],
                        "multiprocessors": multiprocessors, "driver": driver, "usable": failure.is_none() });
    let mark = if failure.is_some() { Mark::Missing } else { Mark::Ok };
    s.row(mark, &format!("cuda:{number}"), text, value);
}

/// What is measured on a card, by its number.
type Measure = fn(&mut Section, usize, &Card, &Cuda) -> Result<()>;

/// Returns the work per second, of the largest size that is measured. Sizes grow until one takes long enough: a small
/// or slow card must not take minutes. `rate` returns the work per second of a size, `work` its work.
fn rate_of(
    sizes: impl Iterator<Item = usize>,
    rate: impl Fn(usize) -> Result<f64, Error>,
    work: impl Fn(usize) -> f64,
) -> Result<f64> {
    let mut last = 0.0;
    for size in sizes {
        last = rate(size)?;
        if work(size) / last >= ENOUGH {
            break;
        }
    }
    Ok(last)
}

fn measure_speed(s: &mut Section, number: usize, card: &Card, cuda: &Cuda) -> Result<()> {
    let _work = Work::new(format!("measuring cuda:{number}"), Unit::Count);
    if let Some([free, total]) = cuda.memory()? {
        let text = format!("{:.1} of {:.1} GB of memory are free", free as f64 / 1e9, total as f64 / 1e9);
        s.row(Mark::Ok, &format!("cuda:{number}_free"), text, free.into());
    }
    let sizes = (20..).map(|power| 1 << power).take_while(|&bytes| bytes <= COPY);
    let copy = rate_of(sizes, |bytes| cuda.copy_bandwidth(bytes), |bytes| 2.0 * bytes as f64)?;
    speed(s, &format!("cuda:{number}_copy"), "copying memory", (copy, Some(card.bandwidth)), (1e9, "GB/s"));
    let sizes = (8..).map(|power| 1 << power).take_while(|&n| n <= PRODUCT);
    let product = rate_of(sizes, |n| cuda.product_rate(n), |n| 2.0 * (n as f64).powi(3))?;
    speed(s, &format!("cuda:{number}_bf16"), "bf16 products", (product, card.bf16_flops), (1e12, "TFLOP/s"));
    Ok(())
}

fn check_contract(s: &mut Section, number: usize, _: &Card, _: &Cuda) -> Result<()> {
    let _work = Work::new(format!("checking the numerics contract of cuda:{number}"), Unit::Count);
    for (name, preset) in networks() {
        let mut model = Model::random_on(Device::Cuda(number), shortened(name, preset)?, 1)?;
        let precision = Device::Cuda(number).default_precision();
        let comparisons = contract::check(&mut model, precision, CONTRACT_ROWS)?;
        let broken: Vec<&str> = comparisons.iter().filter(|c| !c.equal).map(|c| c.with).collect();
        let (mark, text) = match broken.is_empty() {
            true => (Mark::Ok, format!("numerics contract, {name}: equal bits {}", list(&comparisons))),
            false => (Mark::Missing, format!("numerics contract, {name}: other bits when {}", broken.join(", "))),
        };
        s.row(mark, &format!("cuda:{number}_contract_{name}"), text, broken.is_empty().into());
        if !broken.is_empty() {
            s.advise("a GPU on which the contract does not hold trains, but not exactly on-policy; please report it");
        }
    }
    Ok(())
}

fn list(comparisons: &[Comparison]) -> String {
    comparisons.iter().map(|c| c.with).collect::<Vec<_>>().join(", ")
}

/// Adds a measured speed next to the card's peak, where that is known.
fn speed(s: &mut Section, key: &str, label: &str, (measured, peak): (f64, Option<f64>), (unit, name): (f64, &str)) {
    let of = |peak: f64| format!(" of {:.0} ({:.0} %)", peak / unit, 100.0 * measured / peak);
    let text = format!("{label}: {:.0} {name}{}", measured / unit, peak.map_or(String::new(), of));
    let is_poor = peak.is_some_and(|peak| measured < POOR * peak);
    s.row(if is_poor { Mark::Note } else { Mark::Ok }, key, text, measured.into());
}

/// Two layers with a small vocabulary of networks that `meno bench` measures: grouped attention; latent attention and
/// experts.
fn networks() -> [(&'static str, Preset); 2] {
    [("qwen2", Preset::Qwen), ("deepseek_v3", Preset::V3Mid)]
}

fn shortened(name: &str, preset: Preset) -> Result<Config> {
    let mut value = preset.value()?;
    value["num_hidden_layers"] = 2.into();
    value["vocab_size"] = 16384.into();
    Ok(Config::from_value(name, value)?)
}
