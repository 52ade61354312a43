//! The programming languages of the sandbox.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A language whose programs the sandbox can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Python 3.
    Python,
    /// C++ 17.
    Cpp,
    /// Rust, edition 2021.
    Rust,
    /// JavaScript for Node.
    JavaScript,
}

impl Language {
    /// Parses the tag of a code fence or a dataset's `language` value: `python`, `py`, `c++`, `rs`, …
    pub fn from_tag(tag: &str) -> Option<Language> {
        Some(match tag.to_ascii_lowercase().as_str() {
            "python" | "python3" | "py" | "py3" | "pypy" | "pypy3" => Language::Python,
            "cpp" | "c++" | "cc" | "cxx" | "c++11" | "c++14" | "c++17" | "c++20" | "cpp17" | "cpp20" => Language::Cpp,
            "rust" | "rs" => Language::Rust,
            "javascript" | "js" | "node" | "nodejs" | "mjs" | "cjs" => Language::JavaScript,
            _ => return None,
        })
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::Python => "Python",
            Language::Cpp => "C++",
            Language::Rust => "Rust",
            Language::JavaScript => "JavaScript",
        })
    }
}
