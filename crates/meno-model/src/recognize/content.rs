//! Detects the kind of a single file from its first bytes.

use crate::{Error, input};
use std::io::Read;
use std::path::Path;

/// The definition of a model, for messages.
pub(super) const EXPECTED: &str =
    "a model is a directory with config.json, model.safetensors and tokenizer.json, or a GGUF file";

/// Number of bytes that are examined.
const HEAD: u64 = 4096;

/// The kind of a file.
#[derive(Debug, PartialEq)]
pub(super) enum Content {
    /// A GGUF file.
    Gguf,
    /// Weights in Hugging Face's format.
    Safetensors,
    /// The text that Git LFS stores in place of a large file.
    LfsPointer {
        /// Bytes of the file it replaces, if the pointer states them.
        size: Option<u64>,
    },
    /// A PyTorch checkpoint: a pickle, or a ZIP archive with one.
    PyTorch,
    /// llama.cpp's formats before GGUF.
    Ggml,
    /// HTML: the page about a file instead of the file.
    WebPage,
    /// JSON.
    Json,
    /// A file of a known kind that is not a model.
    Other(&'static str),
    /// Text of any kind.
    Text,
    /// An empty file.
    Empty,
    /// None of these.
    Unknown,
}

/// First bytes of kinds of files that users pass by mistake.
const OTHERS: [(&[u8], &str); 12] = [
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras or TensorFlow weights)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "a gzip archive (unpack it first)"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive (unpack it first)"),
    (b"\xfd7zXZ", "an xz archive (unpack it first)"),
    (b"BZh", "a bzip2 archive (unpack it first)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive (unpack it first)"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program (of a llamafile, use the GGUF file inside)"),
    (b"PAR1", "a Parquet file (data)"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
];

impl Content {
    /// Examines the beginning of a file.
    pub(super) fn of(path: &Path) -> Result<Content, Error> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        Ok(Content::from_head(&head(path, HEAD)?, &extension))
    }

    fn from_head(bytes: &[u8], extension: &str) -> Content {
        let begins = |magic: &[u8]| bytes.starts_with(magic);
        let pickled = ["bin", "pt", "pth", "ckpt", "pkl"].contains(&extension);
        if bytes.is_empty() {
            return Content::Empty;
        }
        if begins(b"GGUF") {
            return Content::Gguf;
        }
        if begins(b"version https://git-lfs.github.com/spec/") || begins(b"version https://hawser.github.com/spec/") {
            let text = String::from_utf8_lossy(bytes);
            return Content::LfsPointer {
                size: text.lines().find_map(|l| l.strip_prefix("size ")).and_then(|s| s.trim().parse().ok()),
            };
        }
        // A ZIP archive with any other name holds arrays (.npz), MLX weights, or anything else.
        if begins(b"PK\x03\x04") {
            return if pickled { Content::PyTorch } else { Content::Other("a ZIP archive (unpack it first)") };
        }
        // Pickles of protocol 2 to 5; PyTorch's first format begins with a pickled number.
        if begins(b"\x80") && bytes.get(1).is_some_and(|p| (2..=5).contains(p)) {
            return Content::PyTorch;
        }
        // The magic numbers of the formats are stored little-endian.
        if [b"tjgg", b"lmgg", b"fmgg", b"algg"].iter().any(|magic| begins(*magic)) {
            return Content::Ggml;
        }
        if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| begins(magic)) {
            return Content::Other(what);
        }
        if bytes.get(257..262) == Some(&b"ustar"[..]) {
            return Content::Other("a tar archive (unpack it first)");
        }
        if is_safetensors(bytes) {
            return Content::Safetensors;
        }
        text(bytes, extension)
    }

    /// Returns what the file is and what to do, phrased to follow its name.
    pub(super) fn describe(&self, path: &Path) -> String {
        match self {
            Content::LfsPointer { size } => {
                let of = size.map(|n| format!(" of {}", bytes(n))).unwrap_or_default();
                format!(
                    "is a Git LFS pointer, a few lines of text in place of the file{of}; fetch the file itself with \
                     `git lfs pull` in its directory, or the whole model with `meno pull ORG/NAME`"
                )
            }
            Content::PyTorch => {
                "is a PyTorch pickle, which can run programs while it is read and is never opened; fetch \
                                 the model's safetensors files, or write them with transformers: \
                                 AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT, \
                                 safe_serialization=True)"
                    .to_owned()
            }
            Content::Ggml => {
                "is a GGML file from before GGUF, a format that is no longer supported; fetch the model as GGUF".into()
            }
            Content::WebPage => {
                "is a web page, not a model: it was saved from the page about the file; take the address \
                                 of its download (on huggingface.co with /resolve/ instead of /blob/), or use `meno \
                                 pull ORG/NAME`"
                    .into()
            }
            Content::Safetensors => single_file(path),
            Content::Json if path.file_name().is_some_and(|n| n == "config.json" || n == "tokenizer.json") => {
                format!("is one file of a model; name its directory, {}", parent(path))
            }
            Content::Json if path.to_string_lossy().ends_with(".safetensors.index.json") => {
                format!("is the index of a model's weights; name its directory, {}", parent(path))
            }
            Content::Json => format!("is JSON, not a model; {EXPECTED}"),
            Content::Other(what) => format!("is {what}, not a model; {EXPECTED}"),
            Content::Text if path.extension().is_some_and(|e| e == "toml") => {
                format!(
                    "is a TOML file, not a model (recipes are for pretrain, sft, grpo, sample, distill and eval); \
                     {EXPECTED}"
                )
            }
            Content::Text => format!("is text, not a model; {EXPECTED}"),
            Content::Empty => "is empty: its download did not begin or was cut off; fetch it again".into(),
            Content::Gguf | Content::Unknown => {
                format!("is not a model: its bytes are neither GGUF nor any other known format; {EXPECTED}")
            }
        }
    }
}

/// Returns what a file holds instead of what its reader expected, if that is obvious: a Git LFS pointer, a web page,
/// nothing at all.
pub fn instead(path: &Path) -> Option<String> {
    match Content::of(path).ok()? {
        content @ (Content::LfsPointer { .. } | Content::WebPage | Content::Empty) => Some(content.describe(path)),
        _ => None,
    }
}

/// Returns the first bytes of a file.
fn head(path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = input::open(path).map_err(Error::io(path))?;
    file.take(most).read_to_end(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

/// Returns true for a safetensors file: it begins with the length of its header, and the header with `{`.
fn is_safetensors(bytes: &[u8]) -> bool {
    let (Some(length), Some(b'{')) = (bytes.first_chunk::<8>(), bytes.get(8)) else { return false };
    (2..100_000_000).contains(&u64::from_le_bytes(*length))
}

fn text(bytes: &[u8], extension: &str) -> Content {
    // The last character may be incomplete.
    let readable = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) if e.valid_up_to() + 4 > bytes.len() => {
            std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return Content::Unknown,
    };
    if readable.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return Content::Unknown;
    }
    let start = readable.trim_start_matches('\u{feff}').trim_start();
    let lower: String = start.chars().take(16).collect::<String>().to_ascii_lowercase();
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        Content::WebPage
    } else if start.starts_with(['{', '[']) && extension != "toml" {
        Content::Json
    } else {
        Content::Text
    }
}

/// Explains what to do with one safetensors file.
fn single_file(path: &Path) -> String {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let adapter = path.file_name().is_some_and(|n| n == "adapter_model.safetensors");
    if adapter || directory.join("adapter_config.json").is_file() {
        return format!(
            "holds the weights of a LoRA adapter, which changes a model but is not one itself; merge it into its base \
             model with `meno convert BASE OUT --lora {}` and use OUT",
            directory.display()
        );
    }
    if directory.join("config.json").is_file() {
        return format!("is one file of a model; name its directory, {}", directory.display());
    }
    "is one safetensors file without the rest of its model: config.json and tokenizer.json (and all other files of its \
     weights) must be in the same directory; name that directory"
        .to_owned()
}

fn parent(path: &Path) -> String {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.display().to_string(),
        _ => ".".to_owned(),
    }
}

/// Formats a size, e.g. `98.1 MB`.
fn bytes(n: u64) -> String {
    match n {
        1_000_000_000.. => format!("{:.1} GB", n as f64 / 1e9),
        1_000_000.. => format!("{:.1} MB", n as f64 / 1e6),
        1_000.. => format!("{:.1} kB", n as f64 / 1e3),
        _ => format!("{n} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_by_their_first_bytes() {
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 98123456\n";
        let header = [&16u64.to_le_bytes()[..], b"{\"a\":{}}        "].concat();
        let mut tar = vec![0; 300];
        tar[257..262].copy_from_slice(b"ustar");
        let umlauts = "ä".repeat(10);
        let cases: [(&[u8], &str, Content); 17] = [
            (b"", "gguf", Content::Empty),
            (b"GGUF\x03\0\0\0", "bin", Content::Gguf),
            (lfs, "gguf", Content::LfsPointer { size: Some(98123456) }),
            (&header, "safetensors", Content::Safetensors),
            (b"PK\x03\x04\x14", "bin", Content::PyTorch),
            (b"PK\x03\x04\x14", "zip", Content::Other("a ZIP archive (unpack it first)")),
            (b"\x80\x02}q\0", "pth", Content::PyTorch),
            (b"tjgg\x03\0\0\0", "bin", Content::Ggml),
            (b"  <!DOCTYPE html><html>", "gguf", Content::WebPage),
            (b"\n{\"a\": 1}", "json", Content::Json),
            (b"[model]\n", "toml", Content::Text),
            (b"[1]\n", "", Content::Json),
            (umlauts.as_bytes(), "txt", Content::Text),
            (&umlauts.as_bytes()[..19], "txt", Content::Text),
            (b"\xff\xfe\0\x01\x02", "gguf", Content::Unknown),
            (b"\x1f\x8b\x08", "gz", Content::Other("a gzip archive (unpack it first)")),
            (&tar, "tar", Content::Other("a tar archive (unpack it first)")),
        ];
        for (bytes, extension, expected) in cases {
            assert_eq!(Content::from_head(bytes, extension), expected, "{bytes:?}");
        }
        assert_eq!((bytes(132), bytes(98_123_456)), ("132 bytes".into(), "98.1 MB".into()));
    }
}
