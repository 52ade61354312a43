//! The files of a repository, as the hub lists them. The list comes from outside: a name or a digest that would lead
//! out of the cache is rejected.

use crate::bytes::bytes;
use serde::Deserialize;
use std::path::{Component, Path};

/// A file in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RepoFile {
    /// Its name, directories included.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of a large file, Git object id of a small one, in hexadecimal.
    pub digest: String,
}

/// The files of a repository at one commit.
#[derive(Debug)]
pub(super) struct RepoInfo {
    /// The commit's id.
    pub commit: String,
    /// Every file.
    pub files: Vec<RepoFile>,
}

/// The hub's own form.
#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl RepoInfo {
    /// Reads the hub's JSON. The error says what is wrong with it.
    pub(super) fn parse(json: &[u8]) -> Result<RepoInfo, String> {
        let answer: Answer =
            serde_json::from_slice(json).map_err(|e| format!("it does not answer as the hub does: {e}"))?;
        let id = (7..=64).contains(&answer.sha.len()) && answer.sha.bytes().all(|b| b.is_ascii_hexdigit());
        if !id {
            return Err(format!("{:?} is not a commit hash", answer.sha));
        }
        let files = answer.siblings.into_iter().map(RepoFile::checked).collect::<Result<_, _>>()?;
        Ok(RepoInfo { commit: answer.sha, files })
    }

    /// The file of this name.
    pub(super) fn file(&self, name: &str) -> Option<&RepoFile> {
        self.files.iter().find(|f| f.name == name)
    }

    /// The files as a readable list.
    pub(super) fn describe(&self) -> String {
        const MOST: usize = 40;
        let line = |f: &RepoFile| format!("{} ({})", f.name, bytes(f.size));
        let mut lines: Vec<String> = self.files.iter().take(MOST).map(line).collect();
        if self.files.len() > MOST {
            lines.push(format!("and {} more", self.files.len() - MOST));
        }
        lines.join(", ")
    }
}

impl RepoFile {
    fn checked(sibling: Sibling) -> Result<RepoFile, String> {
        let name = sibling.rfilename;
        let inside = !name.is_empty()
            && !name.contains('\\')
            && Path::new(&name).components().all(|c| matches!(c, Component::Normal(_)));
        if !inside {
            return Err(format!("the file name {name:?} leads out of the repository"));
        }
        let (digest, size) = match (sibling.lfs, sibling.blob_id, sibling.size) {
            (Some(lfs), ..) => (lfs.sha256, lfs.size),
            (None, Some(id), Some(size)) => (id, size),
            _ => return Err(format!("{name} has no digest or no size")),
        };
        let hexadecimal = digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !hexadecimal || !matches!(digest.len(), 40 | 64) {
            return Err(format!("{name} has the digest {digest:?}"));
        }
        Ok(RepoFile { name, size, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(siblings: Value) -> Result<RepoInfo, String> {
        RepoInfo::parse(json!({"sha": "0123456789abcdef", "siblings": siblings}).to_string().as_bytes())
    }

    #[test]
    fn a_listing_gives_sizes_and_digests() {
        let (git, sha) = ("a".repeat(40), "b".repeat(64));
        let files = parse(json!([
            {"rfilename": "config.json", "size": 3, "blobId": git},
            {"rfilename": "a/b c.gguf", "size": 9, "blobId": git, "lfs": {"sha256": sha, "size": 9, "pointerSize": 1}}
        ]));
        let files = files.unwrap().files;
        assert_eq!(files[0], RepoFile { name: "config.json".into(), size: 3, digest: git });
        assert_eq!(files[1], RepoFile { name: "a/b c.gguf".into(), size: 9, digest: sha });
    }

    #[test]
    fn a_listing_that_would_write_elsewhere_is_refused() {
        let id = "a".repeat(40);
        for name in ["../x", "/etc/x", "a/../../x", "", "a\\..\\x", "./x/.."] {
            let e = parse(json!([{"rfilename": name, "size": 1, "blobId": id}])).unwrap_err();
            assert!(e.contains("leads out"), "{name}: {e}");
        }
        for digest in ["../../x", "", "A", &"g".repeat(40)] {
            assert!(parse(json!([{"rfilename": "x", "size": 1, "blobId": digest}])).is_err(), "{digest}");
        }
        assert!(parse(json!([{"rfilename": "x", "size": 1}])).is_err());
        assert!(RepoInfo::parse(br#"{"sha": "../../x", "siblings": []}"#).is_err());
        assert!(RepoInfo::parse(b"<html>").unwrap_err().contains("answer as the hub does"));
    }
}
