//! Checks where a command writes, before any work is done, with one rule for every command.
//!
//! An output is never the input, under any name (symbolic links, hard links, a part of a split GGUF file):
//! two files are the same if device and inode are equal. Overwriting requires `--force`. A file has a
//! temporary name until it is complete (`meno_model::temporary`), and signals leave no temporary file behind.

use anyhow::{Context, Result, bail, ensure};
use meno_train::run_lock;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

/// Identifies a file independently of its path.
#[cfg(unix)]
type Id = (u64, u64);
#[cfg(not(unix))]
type Id = PathBuf;

#[cfg(unix)]
fn id(_: &Path, metadata: &Metadata) -> Option<Id> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn id(path: &Path, _: &Metadata) -> Option<Id> {
    path.canonicalize().ok()
}

/// The files that a command reads.
#[derive(Debug, Default)]
pub(crate) struct Inputs(Vec<(PathBuf, Id)>);

impl Inputs {
    /// Adds a file. A directory adds all files in it; a part of a split GGUF file adds the other parts.
    pub(crate) fn with(mut self, path: &Path) -> Inputs {
        self.add(path);
        if path.is_dir() {
            std::fs::read_dir(path).into_iter().flatten().flatten().for_each(|entry| self.add(&entry.path()));
        } else {
            parts(path).iter().for_each(|part| self.add(part));
        }
        self
    }

    /// Adds standard input, if it is a file.
    pub(crate) fn with_stdin(mut self) -> Inputs {
        let path = Path::new("/dev/stdin");
        if let Ok(metadata) = std::fs::metadata(path)
            && metadata.is_file()
            && let Some(id) = id(path, &metadata)
        {
            self.0.push(("standard input".into(), id));
        }
        self
    }

    fn add(&mut self, path: &Path) {
        if let Ok(metadata) = std::fs::metadata(path)
            && let Some(id) = id(path, &metadata)
        {
            self.0.push((path.to_owned(), id));
        }
    }

    /// The input that is the same file as `path`.
    fn named(&self, path: &Path) -> Option<&Path> {
        let id = id(path, &std::fs::metadata(path).ok()?)?;
        self.0.iter().find(|(_, input)| *input == id).map(|(path, _)| path.as_path())
    }
}

/// All parts of the split model that `NAME-00001-of-00003.gguf` belongs to.
fn parts(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let split = || {
        let stem = name.strip_suffix(".gguf")?;
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let digits = |s: &str| s.len() == 5 && s.bytes().all(|c| c.is_ascii_digit());
        (digits(number) && digits(count)).then_some(())?;
        let parts =
            (1..=count.parse::<u32>().ok()?).map(|i| path.with_file_name(format!("{stem}-{i:05}-of-{count}.gguf")));
        // The count in the name may be made up: stop at the first missing file.
        Some(parts.take_while(|part| part.exists()).collect())
    };
    split().unwrap_or_default()
}

/// The file that a command may write for `out`, given by `flag` (`--out`): `out` itself, or the target of its link.
pub(crate) fn file(flag: &str, out: &Path, force: bool, inputs: &Inputs) -> Result<PathBuf> {
    let name = named(flag, out);
    ensure!(out != Path::new("-"), "{name}: standard output is not supported; name a file (./- for one of that name)");
    if out.is_dir() {
        bail!("{name}: is a directory; expected a file to write");
    }
    if let Some(input) = inputs.named(out) {
        bail!("{name}: is the input ({}); name another file to write", input.display());
    }
    if let Ok(metadata) = std::fs::metadata(out) {
        ensure!(metadata.is_file(), "{name}: is a device or a pipe; expected a file to write");
        ensure!(force, "{name}: already exists; use --force to overwrite it, or name another file");
    }
    let target = followed(out);
    parent(&target, &name)?;
    Ok(target)
}

/// Like [`file`], for `files` in the directory `out`, which need not exist.
pub(crate) fn files(flag: &str, out: &Path, files: &[impl AsRef<Path>], force: bool) -> Result<()> {
    ensure!(out.is_dir() || !out.exists(), "{}: is a file; expected a directory to write", named(flag, out));
    if out.is_dir() {
        for name in files {
            file(flag, &out.join(name), force, &Inputs::default())?;
        }
    }
    Ok(())
}

/// Like [`file`], for a directory. A non-empty directory needs `force`, and none of its files may be an input.
pub(crate) fn directory(flag: &str, out: &Path, force: bool, inputs: &Inputs) -> Result<PathBuf> {
    let name = named(flag, out);
    ensure!(
        is_new(out, &name, inputs)? || force,
        "{name}: already exists and is not empty; use --force to overwrite the model in it, or name another directory"
    );
    let target = followed(out);
    parent(&target, &name)?;
    Ok(target)
}

/// Groups of files. A directory that contains one complete group belongs to a run, even a killed one.
const RUN_FILES: [&[&str]; 5] = [
    &["recipe.toml", "metrics.jsonl"],
    &[run_lock::FILE],
    &["sample_state.json"],
    &["traces/sample_state.json"], // of `distill`, before it trains
    &["run.json"],                 // of `replicate`
];

/// Checks the directory of a run: it must be new, empty or the directory of an earlier run, and none of its
/// files may be an input.
pub(crate) fn run_directory(out: &Path, inputs: &Inputs) -> Result<()> {
    let name = out.display().to_string();
    let holds_run = || RUN_FILES.iter().any(|files| files.iter().all(|file| out.join(file).is_file()));
    ensure!(
        is_new(out, &name, inputs)? || holds_run(),
        "{name}: is not empty and holds no run of meno; name another directory with --out (run.output_dir)"
    );
    Ok(())
}

/// True if a directory does not exist or is empty. Fails if one of its files is an input.
fn is_new(out: &Path, name: &str, inputs: &Inputs) -> Result<bool> {
    if let Some(input) = inputs.named(out) {
        bail!("{name}: is the input ({}); name another directory to write", input.display());
    }
    if !out.exists() {
        return Ok(true);
    }
    ensure!(out.is_dir(), "{name}: is a file; expected a directory to write");
    let mut new = true;
    for entry in std::fs::read_dir(out).with_context(|| name.to_owned())? {
        let file = entry.with_context(|| name.to_owned())?.path();
        if let Some(input) = inputs.named(&file) {
            bail!(
                "{name}: holds the input ({} is {}); name another directory to write",
                file.display(),
                input.display()
            );
        }
        new = false;
    }
    Ok(new)
}

/// Formats `--out FILE` for messages.
fn named(flag: &str, out: &Path) -> String {
    format!("{flag}{}{}", if flag.is_empty() { "" } else { " " }, out.display())
}

/// Follows a symbolic link, even if its target does not exist yet, so that a temporary file next to the
/// target can replace the target.
fn followed(out: &Path) -> PathBuf {
    let mut path = out.to_owned();
    // Linux follows the same number of links.
    for _ in 0..40 {
        match std::fs::read_link(&path) {
            Ok(to) => path = path.parent().unwrap_or(Path::new("")).join(to),
            Err(_) => break,
        }
    }
    path
}

/// Rejects an output whose parent directory does not exist, before hours of work.
fn parent(target: &Path, name: &str) -> Result<()> {
    let parent = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    ensure!(parent.is_dir(), "{name}: there is no directory {}; make it first", parent.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(result: Result<PathBuf>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn an_input_is_found_under_every_name() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for name in ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "other"] {
            std::fs::write(at(name), name).unwrap();
        }
        std::fs::hard_link(at("m-00002-of-00002.gguf"), at("hard")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("m-00001-of-00002.gguf", at("soft")).unwrap();
        let inputs = Inputs::default().with(&at("m-00001-of-00002.gguf"));
        for name in ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "hard", "soft", "../x/../other/../soft"] {
            if at(name).exists() {
                assert!(refused(file("--out", &at(name), true, &inputs)).contains("is the input"), "{name}");
            }
        }
        assert!(refused(file("--out", &at("other"), false, &inputs)).contains("--force"));
        assert_eq!(file("--out", &at("other"), true, &inputs).unwrap(), at("other"));
        assert!(refused(file("--out", &at("no/x"), true, &inputs)).contains("there is no directory"));
        assert!(refused(directory("", root.path(), true, &inputs)).contains("holds the input"));
        #[cfg(unix)]
        assert!(refused(file("--out", Path::new("/dev/null"), true, &inputs)).contains("is a device"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_and_stays_a_link() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("far")).unwrap();
        std::os::unix::fs::symlink("far/new", root.path().join("link")).unwrap();
        let target = file("--out", &root.path().join("link"), false, &Inputs::default()).unwrap();
        assert_eq!(target, root.path().join("far/new"));
    }

    #[test]
    fn a_directory_with_files_needs_force() {
        let root = tempfile::tempdir().unwrap();
        let (input, out) = (root.path().join("in"), root.path().join("out"));
        for dir in [&input, &out] {
            std::fs::create_dir(dir).unwrap();
        }
        std::fs::write(input.join("config.json"), "x").unwrap();
        let inputs = Inputs::default().with(&input);
        directory("", &out, false, &inputs).unwrap();
        std::fs::write(out.join("notes"), "x").unwrap();
        assert!(refused(directory("", &out, false, &inputs)).contains("not empty"));
        directory("", &out, true, &inputs).unwrap();
        assert!(run_directory(&out, &inputs).unwrap_err().to_string().contains("holds no run"));
        std::fs::write(out.join("recipe.toml"), "x").unwrap();
        assert!(run_directory(&out, &inputs).unwrap_err().to_string().contains("holds no run"));
        std::fs::write(out.join("metrics.jsonl"), "x").unwrap();
        run_directory(&out, &inputs).unwrap();
        assert!(run_directory(&input, &inputs).unwrap_err().to_string().contains("is the input"));
        assert!(run_directory(&out.join("recipe.toml"), &inputs).unwrap_err().to_string().contains("is a file"));
        run_directory(&root.path().join("new/deep"), &inputs).unwrap();
        std::fs::hard_link(input.join("config.json"), out.join("config.json")).unwrap();
        assert!(run_directory(&out, &inputs).unwrap_err().to_string().contains("holds the input"));
        assert!(refused(directory("", &out, true, &inputs)).contains("holds the input"));
        assert!(refused(directory("", &input, true, &inputs)).contains("is the input"));
    }
}
