//! The output of `meno inspect`.

use super::listing::{Listing, Tensor};
use super::memory::{self, ADAMW_BYTES_PER_PARAMETER, Parameters};
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

/// All information as JSON.
pub(super) fn json(listing: &Listing) -> Result<Value> {
    let p = Parameters::count(listing);
    let cache = memory::cache_per_token(listing);
    let parts: serde_json::Map<_, _> =
        p.parts().into_iter().map(|(k, n)| (k.replace([' ', '-'], "_"), n.into())).collect();
    let cache: serde_json::Map<_, _> =
        cache.into_iter().map(|(k, n)| (k.replace(' ', "_"), (n.saturating_mul(4 * 1000)).into())).collect();
    let tensor = |t: &Tensor| json!({"name": t.name, "shape": t.shape, "dtype": t.dtype, "bytes": t.bytes});
    Ok(json!({
        "path": listing.path.display().to_string(),
        "format": listing.format,
        "config": listing.config.as_ref().map(|c| c.to_value()),
        "parameters": {"total": p.total, "active": p.active, "parts": parts},
        "memory_bytes": {
            "weights": stored(&listing.tensors),
            "weights_f32": p.total.saturating_mul(4),
            "weights_bf16": p.total.saturating_mul(2),
            "kv_cache_1000_tokens": cache,
            "training_adamw": p.total.saturating_mul(ADAMW_BYTES_PER_PARAMETER),
        },
        "tensors": listing.tensors.iter().map(tensor).collect::<Vec<_>>(),
    }))
}

fn stored(tensors: &[Tensor]) -> u64 {
    tensors.iter().fold(0, |n, t| n.saturating_add(t.bytes))
}

/// All information as readable text.
pub(super) fn text(listing: &Listing, all: bool) -> Result<String> {
    let mut out = String::new();
    let stored = stored(&listing.tensors);
    writeln!(out, "{}", listing.path.display())?;
    let count = listing.tensors.len();
    writeln!(out, "{}, {count} tensors, {}", listing.format, bytes(stored))?;
    if let Some(config) = &listing.config {
        writeln!(out, "\nConfig")?;
        write_config(&mut out, &config.to_value())?;
    }
    let p = Parameters::count(listing);
    writeln!(out, "\nParameters")?;
    row(&mut out, "total", &grouped(p.total), &short(p.total))?;
    row(&mut out, "active per token", &grouped(p.active), &short(p.active))?;
    for (name, n) in p.parts() {
        row(
            &mut out,
            &format!("  {name}"),
            &grouped(n),
            &format!("{:.1} %", 100.0 * n as f64 / p.total.max(1) as f64),
        )?;
    }
    writeln!(out, "\nTensors")?;
    write_tensors(&mut out, &listing.tensors, all)?;
    writeln!(out, "\nMemory")?;
    write_memory(&mut out, listing, p.total)?;
    Ok(out)
}

/// Writes name, right-aligned number, remark.
fn row(out: &mut String, name: &str, number: &str, remark: &str) -> std::fmt::Result {
    writeln!(out, "{}", format!("  {name:<26} {number:>18}  {remark}").trim_end())
}

/// Writes the config's keys unchanged.
fn write_config(out: &mut String, config: &Value) -> Result<()> {
    let Some(keys) = config.as_object() else { return Ok(()) };
    let width = keys.keys().map(|k| k.len()).max().unwrap_or(0);
    for (key, value) in keys {
        let value = match value {
            Value::String(s) => s.clone(),
            other => other.to_string(),
        };
        let shown: String = value.chars().take(100).collect();
        let more = if shown.len() < value.len() { "…" } else { "" };
        writeln!(out, "  {key:<width$}  {shown}{more}")?;
    }
    Ok(())
}

fn write_memory(out: &mut String, listing: &Listing, total: u64) -> Result<()> {
    let by_dtype = memory::bytes_by_dtype(&listing.tensors);
    let stored = stored(&listing.tensors);
    let kinds: Vec<String> = by_dtype.iter().map(|(d, b)| format!("{d} {}", bytes(*b))).collect();
    row(out, "weights as stored", &bytes(stored), &kinds.join(", "))?;
    row(out, "weights in f32", &bytes(total.saturating_mul(4)), "")?;
    row(out, "weights in bf16", &bytes(total.saturating_mul(2)), "")?;
    for (kind, n) in memory::cache_per_token(listing) {
        row(
            out,
            "KV cache, 1000 tokens",
            &bytes(n.saturating_mul(4 * 1000)),
            &format!("{kind}, f32, {} numbers a token", grouped(n)),
        )?;
    }
    let remark = "f32 weights, gradients and two moments, without activations";
    row(out, "training with AdamW", &bytes(total.saturating_mul(ADAMW_BYTES_PER_PARAMETER)), remark)?;
    Ok(())
}

/// Tensors that differ only by layer and expert, shown on one line.
struct Group<'a> {
    pattern: String,
    first: &'a Tensor,
    layers: BTreeSet<u64>,
    count: u64,
}

fn write_tensors(out: &mut String, tensors: &[Tensor], all: bool) -> Result<()> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<(String, &[usize], &str), usize> = HashMap::new();
    for tensor in tensors {
        let (pattern, layer) = if all { (tensor.name.clone(), None) } else { pattern(&tensor.name) };
        let place = *places.entry((pattern.clone(), &tensor.shape, &tensor.dtype)).or_insert(groups.len());
        match groups.get_mut(place).filter(|_| !all) {
            Some(group) => {
                group.count += 1;
                group.layers.extend(layer);
            }
            None => groups.push(Group { pattern, first: tensor, layers: layer.into_iter().collect(), count: 1 }),
        }
    }
    if !all {
        sort(&mut groups);
    }
    let lines: Vec<[String; 5]> = groups.into_iter().map(line).collect();
    let width = |i: usize| lines.iter().map(|l| l[i].chars().count()).max().unwrap_or(0);
    let (names, shapes, dtypes, counts, sizes) = (width(0), width(1), width(2), width(3), width(4));
    for [name, shape, dtype, count, size] in &lines {
        let text = format!("  {name:<names$}  {shape:>shapes$}  {dtype:<dtypes$}  {count:>counts$}  {size:>sizes$}");
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// Sorts in the order of the network: embedding, layers, norm and head. Lines that differ only in type or
/// layers are adjacent.
fn sort(groups: &mut [Group]) {
    let mut order: HashMap<String, usize> = HashMap::new();
    for (i, group) in groups.iter().enumerate() {
        order.entry(group.pattern.clone()).or_insert(i);
    }
    groups.sort_by_key(|g| {
        let part = match g.pattern.as_str() {
            "model.embed_tokens.weight" => 0,
            _ if !g.layers.is_empty() => 1,
            "lm_head.weight" => 3,
            _ => 2,
        };
        (part, order.get(&g.pattern).copied())
    });
}

fn line(group: Group) -> [String; 5] {
    let layers: Vec<u64> = group.layers.into_iter().collect();
    let name = match &layers[..] {
        [] => group.pattern,
        layers => group.pattern.replacen('#', &ranges(layers), 1),
    };
    let count = if group.count > 1 { format!("× {}", grouped(group.count)) } else { String::new() };
    let first = group.first;
    [name, format!("{:?}", first.shape), first.dtype.clone(), count, bytes(first.bytes.saturating_mul(group.count))]
}

/// Splits a name: `model.layers.3.mlp.experts.7.up_proj.weight` becomes
/// `model.layers.#.mlp.experts.*.up_proj.weight` and layer 3.
fn pattern(name: &str) -> (String, Option<u64>) {
    let Some(layer) = memory::layer(name) else { return (name.to_owned(), None) };
    let rest = &name["model.layers.".len() + layer.to_string().len()..];
    let rest = match rest.split_once(".experts.") {
        Some((before, after)) => {
            let after = after.split_once('.').filter(|(e, _)| e.bytes().all(|b| b.is_ascii_digit()));
            after.map_or(rest.to_owned(), |(_, tail)| format!("{before}.experts.*.{tail}"))
        }
        None => rest.to_owned(),
    };
    (format!("model.layers.#{rest}"), Some(layer))
}

/// Formats numbers as `{0-3,7}`; a single number is printed alone.
fn ranges(sorted: &[u64]) -> String {
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for &n in sorted {
        match parts.last_mut() {
            Some((_, end)) if *end + 1 == n => *end = n,
            _ => parts.push((n, n)),
        }
    }
    let parts: Vec<String> =
        parts.iter().map(|&(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") }).collect();
    if sorted.len() == 1 { parts.concat() } else { format!("{{{}}}", parts.join(",")) }
}

/// Formats 1234567 as `1,234,567`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|c| std::str::from_utf8(c).ok()).collect();
    groups.join(",")
}

/// Formats 1234567 as `1.2 M`.
fn short(n: u64) -> String {
    let units = [(1_000_000_000_000, "T"), (1_000_000_000, "B"), (1_000_000, "M"), (1_000, "K")];
    match units.iter().find(|(unit, _)| n >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", n as f64 / *unit as f64),
        None => n.to_string(),
    }
}

/// Formats bytes in powers of 1024.
pub(super) fn bytes(n: u64) -> String {
    let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| n >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", n as f64 / *unit as f64),
        None => format!("{n} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, grouped, pattern, ranges, short};

    #[test]
    fn numbers_and_names_read_well() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(7), "7");
        assert_eq!(short(671_026_419_200), "671.0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(ranges(&[0, 1, 2, 7, 9, 10]), "{0-2,7,9-10}");
        assert_eq!(ranges(&[4]), "4");
        let expert = pattern("model.layers.12.mlp.experts.200.up_proj.weight");
        assert_eq!(expert, ("model.layers.#.mlp.experts.*.up_proj.weight".into(), Some(12)));
        assert_eq!(pattern("lm_head.weight"), ("lm_head.weight".into(), None));
    }
}
