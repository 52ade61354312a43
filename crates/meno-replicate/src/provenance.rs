//! The origin of a report: program, machine, time and command.

use meno_model::date::utc;
use meno_tensor::device::Device;
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// The origin of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The name of the preset, or the path of the recipe.
    pub preset: String,
    /// The command line, with the program named `meno` instead of its path.
    pub command: String,
    /// The version of the program.
    pub version: String,
    /// The commit it was built from.
    pub commit: String,
    /// The name of the processor.
    pub cpu: String,
    /// The instruction set that the kernels use.
    pub kernels: String,
    /// The name of the GPU that trains and samples; empty on a CPU.
    pub gpu: String,
    /// The time the report was written, in UTC.
    pub date: String,
}

impl Provenance {
    /// A report made on this machine, now.
    pub fn here(preset: &str, command: String, version: &str, commit: &str) -> Provenance {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Provenance {
            preset: preset.to_owned(),
            command,
            version: version.to_owned(),
            commit: commit.to_owned(),
            cpu: cpu(),
            kernels: format!("{:?}", meno_tensor::cpu::simd::level()).to_lowercase(),
            gpu: String::new(),
            date: date(seconds),
        }
    }

    /// Names the card if the device is a GPU.
    pub fn on(mut self, device: Device) -> Provenance {
        if let Device::Cuda(number) = device {
            let card = meno_tensor::cuda::cards().ok().and_then(|cards| cards.into_iter().nth(number));
            self.gpu = card.map(|card| card.name).unwrap_or_default();
        }
        self
    }
}

/// The name of the processor as Linux reports it, or else its architecture.
fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|l| Some(l.strip_prefix("model name")?.split_once(':')?.1.trim()));
    name.unwrap_or(std::env::consts::ARCH).to_owned()
}

/// Formats seconds since 1970 as `2026-03-01 12:34 UTC`.
fn date(seconds: u64) -> String {
    let utc = utc(seconds);
    format!("{} {} UTC", &utc[..10], &utc[11..16])
}

/// The name of the program in reports. Its path would only mean something on the machine that ran it.
const PROGRAM: &str = "meno";

/// The command line of `args`, the program and its arguments, quoted for a shell. The program is named `meno`.
pub fn command_line(args: impl IntoIterator<Item = String>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let quote = |arg: String| match !arg.is_empty() && arg.chars().all(plain) {
        true => arg,
        false => format!("'{}'", arg.replace('\'', r"'\''")),
    };
    let args = args.into_iter().skip(1).map(quote);
    std::iter::once(PROGRAM.to_owned()).chain(args).collect::<Vec<_>>().join(" ")
}

/// Replaces the program of a recorded command with `meno`. Older records name its path.
pub(crate) fn with_program(command: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let end = command.find(|c| {
        let ends = c == ' ' && !quoted && !escaped;
        quoted ^= c == '\'' && !escaped;
        escaped = c == '\\' && !quoted && !escaped;
        ends
    });
    format!("{PROGRAM}{}", &command[end.unwrap_or(command.len())..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        // `date -u -d @SECONDS`.
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(951_868_800), "2000-03-01 00:00 UTC");
        assert_eq!(date(1_798_761_599), "2026-12-31 23:59 UTC");
        assert_eq!(date(4_107_542_400), "2100-03-01 00:00 UTC");
    }

    #[test]
    fn commands_are_quoted_for_a_shell() {
        let args = ["target/release/meno", "replicate", "--out", "a b", "it's", ""].map(str::to_owned);
        let line = command_line(args);
        assert_eq!(line, r"meno replicate --out 'a b' 'it'\''s' ''");
        assert_eq!(with_program(&line), line);
    }

    #[test]
    fn the_path_of_the_program_is_replaced() {
        for path in ["/tmp/meno-old", "meno.exe", "/home/a b/it's/meno", "'", "a\\ b"] {
            let quoted = format!("'{}'", path.replace('\'', r"'\''"));
            assert_eq!(with_program(&format!("{quoted} report 'a b'")), "meno report 'a b'", "{path}");
            assert_eq!(command_line([path.to_owned(), "report".to_owned()]), "meno report");
        }
        assert_eq!(with_program("/tmp/meno-old replicate --seed 1"), "meno replicate --seed 1");
        assert_eq!(with_program("/tmp/meno-old"), "meno");
    }

    #[test]
    fn every_field_is_set() {
        let p = Provenance::here("tiny", "meno replicate".into(), "0.1.0", "abc");
        let mut json = serde_json::to_value(&p).unwrap();
        assert_eq!(json.as_object_mut().unwrap().remove("gpu").unwrap(), "", "a CPU computes");
        assert!(json.as_object().unwrap().values().all(|v| v.as_str().is_some_and(|s| !s.is_empty())), "{json}");
    }
}
