//! `meno list`: lists the models in the cache.

use crate::bytes::bytes;
use anyhow::Result;
use meno::hub::{Cache, CachedModel};
use std::time::{SystemTime, UNIX_EPOCH};
use unicode_width::UnicodeWidthStr;

/// Arguments of `meno list`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
The cache is that of Python's huggingface_hub ($HF_HUB_CACHE, $HF_HOME/hub or \
~/.cache/huggingface/hub). -m and `meno rm` accept each NAME; a NAME with @COMMIT is an \
older version of a model that was pulled again later.")]
pub(crate) struct Args {
    /// Print the models as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `meno list`.
pub(crate) fn run(args: Args) -> Result<()> {
    let cache = Cache::from_env()?;
    let models = cache.models()?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&models)?);
        return Ok(());
    }
    if models.is_empty() {
        eprintln!("no models in {}; `meno pull ORG/NAME:QUANT` downloads one", cache.directory().display());
        return Ok(());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let head = ["NAME", "QUANTIZATION", "SIZE", "LAST USED", "PATH"].map(str::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(models.iter().map(|m| row(m, now))).collect();
    let width = |column: usize| rows.iter().map(|r| r[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..4).map(width).collect();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &format!("{cell}{}  ", " ".repeat(width - cell.width()));
        }
        println!("{line}{}", row[4]);
    }
    Ok(())
}

fn row(m: &CachedModel, now: u64) -> [String; 5] {
    let quantization = match (m.complete, &m.quantization) {
        (true, Some(q)) => q.clone(),
        (true, None) => "-".into(),
        (false, _) => "incomplete".into(),
    };
    let path = crate::terminal::printable(&m.path.display().to_string());
    [m.name.clone(), quantization, bytes(m.bytes), ago(now.saturating_sub(m.last_used)), path]
}

/// Formats an age.
fn ago(seconds: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(365 * 86400, "year"), (30 * 86400, "month"), (86400, "day"), (3600, "hour"), (60, "minute")];
    match UNITS.iter().find(|u| seconds >= u.0) {
        Some((unit, name)) => {
            let n = seconds / unit;
            format!("{n} {name}{} ago", if n == 1 { "" } else { "s" })
        }
        None => "just now".into(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_for_people() {
        let texts = [5, 60, 7300, 86400 * 3, 86400 * 45].map(super::ago);
        assert_eq!(texts, ["just now", "1 minute ago", "2 hours ago", "3 days ago", "1 month ago"]);
    }
}
