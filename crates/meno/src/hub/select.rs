//! Selects the files of a repository that form a runnable model.

use anyhow::Result;
use std::collections::BTreeSet;
use std::path::Path;

/// The file that lists the shards of a checkpoint and their contents.
pub(super) const INDEX: &str = "model.safetensors.index.json";
/// The default quantizations; the first one that exists is taken.
const USUAL: [&str; 2] = ["Q4_K_M", "Q8_0"];

/// The files to download.
#[derive(Debug, PartialEq)]
pub(super) struct Choice {
    /// File names in the repository.
    pub files: Vec<String>,
    /// The file that represents the model; `None` if the directory does.
    pub first: Option<String>,
}

/// Selects from `files`: the safetensors checkpoint, or a GGUF file if there is no checkpoint or `quant` is given.
pub(super) fn choose(files: &[&str], quant: Option<&str>) -> Result<Choice, String> {
    let gguf = ggufs(files);
    let checkpoint = files.contains(&"config.json") && files.iter().any(|f| is_weights(f));
    match quant {
        None if checkpoint => Ok(Choice { files: checkpoint_files(files), first: None }),
        Some(quant) if gguf.is_empty() => {
            let hint = if checkpoint { "; without it its safetensors are taken" } else { "" };
            Err(format!("it has no GGUF files to take {quant} from{hint}"))
        }
        None if gguf.is_empty() => Err("it has neither safetensors with a config.json nor GGUF files".into()),
        Some(quant) => of_quant(&gguf, quant).ok_or_else(|| format!("it has no GGUF file of {quant}")),
        None => {
            let usual = USUAL.iter().find_map(|q| of_quant(&gguf, q));
            let only = || gguf.first().filter(|_| gguf.len() == 1).map(|g| g.choice());
            usual.or_else(only).ok_or_else(|| "it has several GGUF files; name one as ORG/NAME:QUANT".into())
        }
    }
}

/// The shards that an index names.
pub(super) fn shards(index: &Path) -> Result<BTreeSet<String>> {
    Ok(meno_model::hf::shards(index)?.into_iter().collect())
}

/// A GGUF model: one file, or the parts of one.
#[derive(Debug)]
struct Gguf<'a> {
    /// The path without the part number and the extension.
    stem: &'a str,
    parts: Vec<&'a str>,
}

impl Gguf<'_> {
    fn choice(&self) -> Choice {
        let files: Vec<String> = self.parts.iter().map(|p| p.to_string()).collect();
        Choice { first: files.first().cloned(), files }
    }
}

/// Splits the name of a part such as `stem-00001-of-00003.gguf` into `stem`, number and count.
fn part(file: &str) -> Option<(&str, usize, usize)> {
    let stem = file.strip_suffix(".gguf")?;
    let numbers = || {
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (rest, number) = rest.rsplit_once('-')?;
        let five = |s: &str| s.parse().ok().filter(|_| s.len() == 5);
        Some((rest, five(number)?, five(count)?))
    };
    Some(numbers().unwrap_or((stem, 1, 1)))
}

/// The GGUF models among the files. Models with missing parts are left out, and so are files that accompany a
/// model (image projectors, importance matrices).
fn ggufs<'a>(files: &[&'a str]) -> Vec<Gguf<'a>> {
    /// Stem, number of parts, and the parts found (number and file).
    type Found<'a> = (&'a str, usize, Vec<(usize, &'a str)>);
    let mut found: Vec<Found> = Vec::new();
    for &file in files {
        let Some((stem, number, count)) = part(file) else { continue };
        let last = stem.rsplit('/').next().unwrap_or(stem).to_ascii_lowercase();
        if last.contains("mmproj") || last.contains("imatrix") {
            continue;
        }
        match found.iter_mut().find(|f| f.0 == stem && f.1 == count) {
            Some(f) => f.2.push((number, file)),
            None => found.push((stem, count, vec![(number, file)])),
        }
    }
    let whole = |(stem, count, mut parts): Found<'a>| {
        parts.sort_unstable();
        let numbers = parts.iter().map(|p| p.0).eq(1..=count);
        numbers.then(|| Gguf { stem, parts: parts.into_iter().map(|p| p.1).collect() })
    };
    found.into_iter().filter_map(whole).collect()
}

/// The stems and parts of all GGUF models among the files.
pub(super) fn models<'a>(files: &[&'a str]) -> Vec<(&'a str, Vec<&'a str>)> {
    ggufs(files).into_iter().map(|g| (g.stem, g.parts)).collect()
}

/// The model whose name ends in `-QUANT` or `.QUANT`, ignoring case. If several match, the shortest name wins
/// (`Q4_K_M` does not select `UD-Q4_K_M` if both exist).
fn of_quant(gguf: &[Gguf<'_>], quant: &str) -> Option<Choice> {
    let quant = quant.to_ascii_lowercase();
    let ends = |g: &&Gguf<'_>| {
        let stem = g.stem.to_ascii_lowercase();
        stem.strip_suffix(&quant).is_some_and(|rest| rest.is_empty() || rest.ends_with(['-', '.', '/', '_']))
    };
    gguf.iter().filter(ends).min_by_key(|g| g.stem.len()).map(Gguf::choice)
}

/// True if a file holds weights of a checkpoint in Hugging Face's format. `consolidated*` holds the same
/// weights in the vendor's own format.
fn is_weights(file: &str) -> bool {
    file.ends_with(".safetensors") && !file.contains('/') && !file.starts_with("consolidated")
}

/// The weights, and every small file that describes them or the text format.
fn checkpoint_files(files: &[&str]) -> Vec<String> {
    let about = |file: &str| {
        let (directory, name) = file.rsplit_once('/').unwrap_or(("", file));
        let known = [".json", ".jinja"].iter().any(|e| name.ends_with(e));
        known && matches!(directory, "" | "additional_chat_templates")
            || matches!(file, "tokenizer.model" | "merges.txt" | "vocab.txt")
            || directory.is_empty() && name.starts_with("LICENSE")
    };
    let has_index = files.contains(&INDEX);
    // Without an index, a single file is the entire checkpoint; with an index, the shards are sorted out later.
    let weights = |file: &str| {
        is_weights(file) && (has_index || file == "model.safetensors" || !files.contains(&"model.safetensors"))
    };
    files.iter().filter(|f| about(f) || weights(f)).map(|f| f.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GGUF: [&str; 9] = [
        "README.md",
        "m-Q4_K_M.gguf",
        "m-UD-Q4_K_M.gguf",
        "m-q8_0.gguf",
        "BF16/m-BF16-00002-of-00002.gguf",
        "BF16/m-BF16-00001-of-00002.gguf",
        "m-Q2_K-00001-of-00002.gguf",
        "mmproj-F16.gguf",
        "config.json",
    ];

    fn chosen(files: &[&str], quant: Option<&str>) -> Result<Vec<String>, String> {
        choose(files, quant).map(|c| c.files)
    }

    #[test]
    fn a_gguf_file_is_chosen_by_its_quantization() {
        assert_eq!(chosen(&GGUF, None).unwrap(), ["m-Q4_K_M.gguf"]);
        assert_eq!(chosen(&GGUF, Some("q4_k_m")).unwrap(), ["m-Q4_K_M.gguf"]);
        assert_eq!(chosen(&GGUF, Some("UD-Q4_K_M")).unwrap(), ["m-UD-Q4_K_M.gguf"]);
        assert_eq!(chosen(&GGUF, Some("Q8_0")).unwrap(), ["m-q8_0.gguf"]);
        let bf16 = choose(&GGUF, Some("BF16")).unwrap();
        assert_eq!(bf16.files, ["BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf"]);
        assert_eq!(bf16.first.as_deref(), Some("BF16/m-BF16-00001-of-00002.gguf"));
        // A part is missing; F16 is the projector and does not match BF16; K_M is not a quantization.
        for quant in ["Q2_K", "F16", "Q6_K"] {
            assert!(chosen(&GGUF, Some(quant)).unwrap_err().contains(quant));
        }
        assert_eq!(chosen(&["only-IQ3_M.gguf"], None).unwrap(), ["only-IQ3_M.gguf"]);
        assert!(chosen(&["a-IQ3_M.gguf", "a-F16.gguf"], None).unwrap_err().contains("name one"));
    }

    #[test]
    fn a_checkpoint_is_its_weights_and_what_tells_of_them() {
        let files = [
            "config.json",
            "tokenizer.json",
            "model.safetensors.index.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "consolidated.safetensors",
            "original/params.json",
            "pytorch_model.bin",
            "modeling_deepseek.py",
            "chat_template.jinja",
            "additional_chat_templates/tool_use.jinja",
            "LICENSE",
            "README.md",
        ];
        let choice = choose(&files, None).unwrap();
        assert_eq!(choice.first, None);
        let expected: Vec<&str> = files
            .into_iter()
            .filter(|f| {
                !matches!(
                    *f,
                    "consolidated.safetensors"
                        | "original/params.json"
                        | "pytorch_model.bin"
                        | "modeling_deepseek.py"
                        | "README.md"
                )
            })
            .collect();
        assert_eq!(choice.files, expected);
        assert!(chosen(&files, Some("Q4_K_M")).unwrap_err().contains("safetensors"));
        assert!(chosen(&["README.md"], None).unwrap_err().contains("neither"));
        let single = ["config.json", "model.safetensors", "adapter.safetensors"];
        assert_eq!(chosen(&single, None).unwrap(), ["config.json", "model.safetensors"]);
    }
}
