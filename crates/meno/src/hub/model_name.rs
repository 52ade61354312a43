//! The notation for a model of the hub.

use super::error::Error;
use std::fmt;
use std::str::FromStr;

/// The name of a model of the hub: `ORG/NAME[:QUANT][@REVISION]`.
///
/// ```
/// let name: meno::hub::ModelName = "org/tiny-GGUF:Q4_K_M@v1".parse()?;
/// assert_eq!(name.repo_id, "org/tiny-GGUF");
/// assert_eq!(name.quantization.as_deref(), Some("Q4_K_M"));
/// assert_eq!(name.revision(), "v1");
/// # Ok::<(), meno::hub::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelName {
    /// The repository, `ORG/NAME`.
    pub repo_id: String,
    /// The wanted quantization, as in the names of GGUF files: `Q4_K_M`.
    pub quantization: Option<String>,
    /// The wanted branch, tag or commit; `None` for the main branch.
    pub revision: Option<String>,
}

/// The branch that a name without a revision means.
const MAIN: &str = "main";

/// Prefixes accepted before a name that was copied from elsewhere.
const PREFIXES: [&str; 5] = ["https://huggingface.co/", "https://hf.co/", "huggingface.co/", "hf.co/", "hf://"];

impl ModelName {
    /// The branch, tag or commit.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(MAIN)
    }
}

/// True for a part of a name: neither a path nor an option.
fn is_word(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !text.is_empty()
        && text.len() <= 96
        && text.chars().all(fine)
        && !text.starts_with(['.', '-'])
        && !text.contains("..")
}

/// True for the name of a branch, a tag or a commit, such as `main` or `refs/pr/1`. It becomes a path in the cache.
fn is_revision(text: &str) -> bool {
    text.len() <= 256 && text.split('/').all(is_word)
}

impl FromStr for ModelName {
    type Err = Error;

    fn from_str(text: &str) -> Result<ModelName, Error> {
        let bare = PREFIXES.iter().find_map(|p| Some(text.strip_prefix(p)?.trim_end_matches('/'))).unwrap_or(text);
        let (bare, revision) = bare.split_once('@').map_or((bare, None), |(name, at)| (name, Some(at)));
        let (repo, quant) = bare.split_once(':').map_or((bare, None), |(repo, quant)| (repo, Some(quant)));
        match repo.split_once('/') {
            Some((org, name))
                if is_word(org) && is_word(name) && quant.is_none_or(is_word) && revision.is_none_or(is_revision) =>
            {
                Ok(ModelName {
                    repo_id: repo.to_owned(),
                    quantization: quant.map(str::to_owned),
                    revision: revision.map(str::to_owned),
                })
            }
            _ => Err(Error::InvalidName { name: text.to_owned() }),
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repo_id)?;
        self.quantization.iter().try_for_each(|q| write!(f, ":{q}"))?;
        self.revision.iter().try_for_each(|r| write!(f, "@{r}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        for (text, repo, quant, revision) in [
            ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B", None, "main"),
            ("a/b_c.d:Q4_K_M", "a/b_c.d", Some("Q4_K_M"), "main"),
            ("a/b@refs/pr/1", "a/b", None, "refs/pr/1"),
            ("a/b:Q8_0@0123abcd", "a/b", Some("Q8_0"), "0123abcd"),
            ("https://huggingface.co/a/b", "a/b", None, "main"),
            ("https://huggingface.co/a/b/", "a/b", None, "main"),
            ("hf://a/b", "a/b", None, "main"),
            ("hf.co/a/b", "a/b", None, "main"),
        ] {
            let name: ModelName = text.parse().unwrap();
            assert_eq!((name.repo_id.as_str(), name.quantization.as_deref()), (repo, quant), "{text}");
            assert_eq!(name.revision(), revision, "{text}");
            assert_eq!(name.to_string().parse::<ModelName>().unwrap(), name);
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
            "a/b@",
            "a/b@../x",
            "a/b@/x",
            "a/b@x/",
            "a/b@v1:Q4_0",
            "a/b@v1@v2",
        ];
        for text in wrong {
            assert!(text.parse::<ModelName>().is_err(), "{text}");
        }
    }
}
