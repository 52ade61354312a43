//! The notation for a model of the hub.

use anyhow::{Result, bail};
use std::fmt;

/// `ORG/NAME`, and the selected GGUF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// `ORG/NAME`.
    pub repo: String,
    /// The requested quantization, as used in GGUF file names: `Q4_K_M`.
    pub quant: Option<String>,
}

/// Prefixes accepted before a name that was copied from elsewhere.
const PREFIXES: [&str; 5] = ["https://huggingface.co/", "https://hf.co/", "huggingface.co/", "hf.co/", "hf://"];

impl Name {
    /// Parses `ORG/NAME:QUANT`.
    pub(super) fn parse(text: &str) -> Result<Name> {
        let bare = PREFIXES.iter().find_map(|p| Some(text.strip_prefix(p)?.trim_end_matches('/'))).unwrap_or(text);
        let (repo, quant) = match bare.split_once(':') {
            Some((repo, quant)) => (repo, Some(quant)),
            None => (bare, None),
        };
        let word = |s: &str| {
            let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !s.is_empty() && s.len() <= 96 && s.chars().all(fine) && !s.starts_with(['.', '-']) && !s.contains("..")
        };
        match repo.split_once('/') {
            Some((org, name)) if word(org) && word(name) && quant.is_none_or(word) => {
                Ok(Name { repo: repo.to_owned(), quant: quant.map(str::to_owned) })
            }
            _ => bail!(
                "{text:?} is not the name of a model: expected ORG/NAME, or ORG/NAME:QUANT for one of its GGUF files"
            ),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repo)?;
        self.quant.iter().try_for_each(|q| write!(f, ":{q}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        let name = |repo: &str, quant: Option<&str>| Name { repo: repo.into(), quant: quant.map(str::to_owned) };
        assert_eq!(Name::parse("Qwen/Qwen2.5-0.5B").unwrap(), name("Qwen/Qwen2.5-0.5B", None));
        assert_eq!(Name::parse("a/b_c.d:Q4_K_M").unwrap(), name("a/b_c.d", Some("Q4_K_M")));
        for text in ["https://huggingface.co/a/b", "https://huggingface.co/a/b/", "hf://a/b", "hf.co/a/b"] {
            assert_eq!(Name::parse(text).unwrap(), name("a/b", None));
        }
        let wrong = [
            "",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "../b",
            "a/..",
            "./a",
            "a/b:",
            "a/b:c/d",
            "a b/c",
            "a/b:Q4:Q5",
            "-a/b",
            "~/x",
        ];
        for text in wrong {
            assert!(Name::parse(text).is_err(), "{text}");
        }
    }
}
