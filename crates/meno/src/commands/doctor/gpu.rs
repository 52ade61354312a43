//! GPUs: the card and its driver, measured speeds next to the expected ones, and the check of the numerics contract.

use super::report::{Mark, Section};
use crate::commands::bench::preset::Preset;
use crate::progress::{Unit, Work};
use anyhow::Result;
use meno_model::contract::{self, Comparison};
use meno_model::{Config, Model};
use meno_tensor::backend::Backend;
use meno_tensor::cuda::{Card, Cuda, cards};
use meno_tensor::device::Device;
use serde_json::{Value, json};
use std::path::Path;

/// Below this share of the peak, something is wrong with the card.
const POOR: f64 = 0.5;
/// Bytes that are copied to measure the memory.
const COPY: usize = 1 << 30;
/// Rows and columns of the product that is measured.
const PRODUCT: usize = 8192;
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
        describe(&mut s, number, card);
        match Cuda::open(number) {
            Err(e) => s.row(Mark::Missing, &format!("cuda:{number}"), e.to_string(), Value::Null),
            Ok(_) if quick => s.line(Mark::NotTried, "speed and numerics contract"),
            Ok(cuda) => {
                if let Err(e) = measure(&mut s, number, card, &cuda) {
                    s.row(Mark::Missing, &format!("cuda:{number}_failure"), format!("{e:#}"), Value::Null);
                }
            }
        }
    }
    s.line(Mark::Note, "the CUDA backend has not yet run on a GPU, only on an emulated one: check its results");
    s
}

fn describe(s: &mut Section, number: usize, card: &Card) {
    let Card { name, compute: (major, minor), memory, multiprocessors, driver, .. } = card;
    let (gib, cuda) = (*memory as f64 / (1u64 << 30) as f64, format!("{}.{}", driver / 1000, driver % 1000 / 10));
    let text = format!(
        "cuda:{number}: {name}, {gib:.0} GiB, compute capability {major}.{minor}, {multiprocessors} multiprocessors, \
         driver for CUDA {cuda}"
    );
    let value = json!({ "name": name, "memory": memory, "compute": [major, minor],
                        "multiprocessors": multiprocessors, "driver": driver });
    s.row(Mark::Ok, &format!("cuda:{number}"), text, value);
}

fn measure(s: &mut Section, number: usize, card: &Card, cuda: &Cuda) -> Result<()> {
    let work = Work::new(format!("measuring cuda:{number}"), Unit::Count);
    if let Some([free, total]) = cuda.memory()? {
        let text = format!("{:.1} of {:.1} GB of memory are free", free as f64 / 1e9, total as f64 / 1e9);
        s.row(Mark::Ok, &format!("cuda:{number}_free"), text, free.into());
    }
    let copy = cuda.copy_bandwidth(COPY)?;
    speed(s, &format!("cuda:{number}_copy"), "copying memory", (copy, card.bandwidth), (1e9, "GB/s"));
    let product = cuda.product_rate(PRODUCT)?;
    speed(s, &format!("cuda:{number}_bf16"), "bf16 products", (product, card.bf16_flops), (1e12, "TFLOP/s"));
    work.next(format!("checking the numerics contract of cuda:{number}"));
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

fn speed(s: &mut Section, key: &str, label: &str, (measured, peak): (f64, f64), (unit, name): (f64, &str)) {
    let share = measured / peak;
    let text = format!("{label}: {:.0} {name} of {:.0} ({:.0} %)", measured / unit, peak / unit, 100.0 * share);
    s.row(if share < POOR { Mark::Note } else { Mark::Ok }, key, text, measured.into());
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
