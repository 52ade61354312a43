//! Good and bad models, created for one test.

use super::letters;
use std::path::{Path, PathBuf};

/// A directory of files.
pub(crate) struct Dir(tempfile::TempDir);

impl Dir {
    pub(crate) fn new() -> Dir {
        Dir(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Copies the files of a directory into a new directory.
    fn copy_from(&self, from: &Path, name: &str) -> String {
        let to = self.path(name);
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().flatten() {
            std::fs::copy(entry.path(), Path::new(&to).join(entry.file_name())).unwrap();
        }
        to
    }

    pub(crate) fn copy(&self, from: &str, name: &str) -> String {
        self.copy_from(Path::new(&self.path(from)), name)
    }

    pub(crate) fn copy_golden(&self, from: &str, name: &str) -> String {
        self.copy_from(&golden(from), name)
    }

    /// Empties a directory.
    pub(crate) fn fresh(&self, name: &str) {
        let path = self.path(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path).unwrap();
    }
}

pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../meno-model/tests/golden").join(name)
}

/// Writes a runnable model to `good`, and the other files that the commands read.
pub(crate) fn good_model(dir: &Dir) {
    letters::save_model(Path::new(&dir.path("good")), "{{ messages[0].content }}");
    dir.write("text.txt", "abcdefgh".repeat(4));
    dir.write("traces.jsonl", "{\"prompt\": \"ab\", \"completion\": \"cd\"}\n");
    // One recipe for all training commands; `-m` gives the model.
    dir.write("recipe.toml", format!("[run]\noutput_dir = {:?}\n", dir.path("out/run")));
    dir.write("plan.toml", "[sft]\n");
}

/// A metadata value.
pub(crate) enum Value {
    Text(String),
    U16(u16),
    Texts(Vec<String>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<u16> for Value {
    fn from(n: u16) -> Value {
        Value::U16(n)
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Adds keys to a GGUF file before the existing ones; the tensors keep their offsets.
pub(crate) fn with_keys(file: &[u8], keys: &[(&str, Value)]) -> Vec<u8> {
    let mut added = Vec::new();
    for (key, value) in keys {
        text(&mut added, key);
        match value {
            Value::Text(value) => {
                added.extend(8u32.to_le_bytes());
                text(&mut added, value);
            }
            Value::U16(value) => {
                added.extend(2u32.to_le_bytes());
                added.extend(value.to_le_bytes());
            }
            Value::Texts(values) => {
                added.extend(9u32.to_le_bytes());
                added.extend(8u32.to_le_bytes());
                added.extend((values.len() as u64).to_le_bytes());
                values.iter().for_each(|v| text(&mut added, v));
            }
        }
    }
    // A key with a suitable length keeps the alignment.
    let filler = "f".repeat(32 - (added.len() + 8 + 4 + 1) % 32 + 32);
    text(&mut added, &filler);
    added.extend(0u32.to_le_bytes());
    added.push(0);
    assert_eq!(added.len() % 32, 0);
    let mut out = file[..16].to_vec();
    let count = u64::from_le_bytes(file[16..24].try_into().unwrap());
    out.extend((count + keys.len() as u64 + 1).to_le_bytes());
    out.extend(added);
    out.extend(&file[24..]);
    out
}

/// A GGUF file with one tensor and no metadata.
pub(crate) fn one_tensor() -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend(1u64.to_le_bytes());
    out.extend(0u64.to_le_bytes());
    text(&mut out, "t.weight");
    out.extend(1u32.to_le_bytes());
    out.extend(32u64.to_le_bytes());
    out.extend(0u32.to_le_bytes());
    out.extend(0u64.to_le_bytes());
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend([0; 128]);
    out
}

/// The keys of a tokenizer with this pre-tokenizer.
pub(crate) fn tokenizer(pre: &str) -> Vec<(&'static str, Value)> {
    let tokens = Value::Texts(["a", "b"].map(str::to_owned).to_vec());
    vec![("tokenizer.ggml.model", "gpt2".into()), ("tokenizer.ggml.pre", pre.into()), ("tokenizer.ggml.tokens", tokens)]
}
