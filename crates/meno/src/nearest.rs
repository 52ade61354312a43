//! Suggestions for a path or name that does not exist.

use std::path::{Path, PathBuf};

/// Maximum directory entries that are compared.
const MOST: usize = 10_000;

/// The message that nothing exists at `path`, with the nearest existing path.
pub(crate) fn absent(path: &Path) -> String {
    let shown = path.display();
    if path.as_os_str().is_empty() {
        return "the name of the model is empty".to_owned();
    }
    if let Ok(target) = std::fs::read_link(path) {
        return format!("{shown}: is a link to {}, which does not exist", target.display());
    }
    if let Some(file) = path.ancestors().skip(1).find(|p| p.is_file()) {
        return format!("{shown}: No such file or directory; {} is a file, not a directory", file.display());
    }
    match suggestion(path) {
        Some(near) => format!("{shown}: No such file or directory; did you mean {}?", near.display()),
        None => format!("{shown}: No such file or directory"),
    }
}

/// The nearest existing path: the first missing component of `path` is replaced by the most similar entry.
fn suggestion(path: &Path) -> Option<PathBuf> {
    let existing = path.ancestors().skip(1).find(|p| p.as_os_str().is_empty() || p.is_dir())?;
    let mut rest = path.strip_prefix(existing).ok()?.components();
    let wrong = rest.next()?.as_os_str().to_string_lossy().into_owned();
    let listed = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    let entries = std::fs::read_dir(listed).ok()?.flatten().take(MOST);
    let names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    let near = existing.join(nearest(&wrong, names.iter().map(String::as_str))?);
    let whole = near.join(rest.as_path());
    Some(if rest.as_path().as_os_str().is_empty() || !whole.exists() { near } else { whole })
}

/// The name most similar to `wrong`: equal except for case, with the same prefix, or with a few changed letters.
pub(crate) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    let most = (wrong.chars().count() / 3).max(2);
    let distance = |name: &str| {
        let name = name.to_lowercase();
        let begins = lower.chars().count() >= 3 && name.starts_with(&lower);
        match strsim::osa_distance(&lower, &name) {
            d if d <= most && d < lower.chars().count() => Some(d),
            _ if begins => Some(most),
            _ => None,
        }
    };
    names.filter_map(|name| Some((distance(name)?, name))).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_path_that_exists_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("runs/replicate-seed1/r1")).unwrap();
        std::fs::write(at("SmolLM2-135M-Instruct.Q4_1.gguf"), "x").unwrap();
        std::os::unix::fs::symlink("gone", at("link")).unwrap();
        for (wrong, expected) in [
            ("run/replicate-seed1/r1", "did you mean DIR/runs/replicate-seed1/r1?"),
            ("runs/replicate-sed1", "did you mean DIR/runs/replicate-seed1?"),
            ("runs/replicate-seed1/rl", "did you mean DIR/runs/replicate-seed1/r1?"),
            ("smollm2", "did you mean DIR/SmolLM2-135M-Instruct.Q4_1.gguf?"),
            ("SmolLM2-135M-Instruct.Q4_1.gguf/x", "SmolLM2-135M-Instruct.Q4_1.gguf is a file, not a directory"),
            ("link", "is a link to gone, which does not exist"),
            ("zzzzzzzz", "DIR/zzzzzzzz: No such file or directory"),
        ] {
            let said = absent(&at(wrong)).replace(&dir.path().display().to_string(), "DIR");
            assert!(said.ends_with(expected), "{wrong}: {said}");
        }
        assert_eq!(absent(Path::new("")), "the name of the model is empty");
    }

    #[test]
    fn names_unlike_all_others_have_no_nearest() {
        assert_eq!(nearest("ab", ["cd", "xy"].into_iter()), None);
        assert_eq!(nearest("qwne2.5", ["qwen2.5", "qwen3"].into_iter()), Some("qwen2.5"));
    }
}
