//! The interpreters and compilers of this machine, and what a program must read to run them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Directories that every cage can read.
const SYSTEM: [&str; 6] = ["/usr", "/bin", "/lib", "/lib64", "/etc", "/opt"];

/// A program of this machine that runs in the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// The program itself, links followed.
    pub(super) path: PathBuf,
    /// The directory with its libraries, if that is none of the system's: /home/me/python of /home/me/python/bin/python3.
    pub(super) home: Option<PathBuf>,
    /// It reserves far more address space than it uses, so only its data is limited.
    pub(super) reserves_memory: bool,
}

impl Tool {
    /// The program at `path`.
    pub(super) fn at(path: PathBuf) -> Tool {
        let system = SYSTEM.iter().any(|dir| path.starts_with(dir));
        let home = path.parent().and_then(Path::parent).filter(|_| !system).map(Path::to_owned);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Tool { home, reserves_memory: name.starts_with("node") || name == "rustc", path }
    }

    /// A program that is a file of the job.
    pub(crate) fn made(path: &str) -> Tool {
        Tool { path: path.into(), home: None, reserves_memory: false }
    }

    /// The program of a name that is looked up in `PATH`, or of a path. The error says why there is none and what to
    /// do.
    pub(super) fn find(name: &Path) -> Result<Tool, String> {
        let shown = name.display();
        let path = if name.components().count() > 1 {
            name.canonicalize().map_err(|e| format!("there is no `{shown}` to run programs with: {e}"))?
        } else {
            in_path(name)?
        };
        if !is_binary(&path) {
            return Err(script(&path));
        }
        let path = toolchain(path, name);
        let tool = Tool::at(path);
        match &tool.home {
            Some(home) if is_personal(home) => Err(format!(
                "{} cannot be used: programs must read its libraries, and these lie in {}, a home directory or all \
                 of them, whose other files programs must not see. Install it in a directory that holds nothing \
                 else, such as /opt/NAME",
                tool.path.display(),
                home.display()
            )),
            _ => Ok(tool),
        }
    }
}

/// The first binary of that name in `PATH`.
fn in_path(name: &Path) -> Result<PathBuf, String> {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let found: Vec<PathBuf> =
        std::env::split_paths(&dirs).filter_map(|dir| dir.join(name).canonicalize().ok()).collect();
    match (found.iter().find(|path| is_binary(path)), found.first()) {
        (Some(path), _) => Ok(path.clone()),
        (None, Some(shim)) => Err(script(shim)),
        (None, None) => Err(format!("there is no `{}` to run programs with in PATH", name.display())),
    }
}

fn script(path: &Path) -> String {
    format!(
        "{} cannot be used: it is a script (a shim), which looks for the real program in your home directory, and that \
         is closed to programs. Put the real one into PATH before it (pyenv and nodenv: `pyenv which python3` prints it)",
        path.display()
    )
}

/// Whether a file is a program and not a script.
fn is_binary(path: &Path) -> bool {
    let mut magic = [0; 4];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

/// The compiler behind rustup's proxy, which finds it by settings in the home directory.
fn toolchain(path: PathBuf, name: &Path) -> PathBuf {
    if path.file_name().is_none_or(|file| file != "rustup") {
        return path;
    }
    let asked = Command::new(name).args(["--print", "sysroot"]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let sysroot = asked.ok().filter(|out| out.status.success()).and_then(|out| String::from_utf8(out.stdout).ok());
    let real = sysroot.and_then(|dir| Path::new(dir.trim()).join("bin/rustc").canonicalize().ok());
    real.unwrap_or(path)
}

/// Whether a directory is somebody's home or holds homes: what lies in it is no library.
fn is_personal(dir: &Path) -> bool {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    home.is_some_and(|home| home.starts_with(dir))
        || dir.parent() == Some(Path::new("/home"))
        || ["/", "/home", "/root", "/tmp"].map(Path::new).contains(&dir)
}

/// The first directory on the way to `path` that other users than its owner cannot enter.
pub(super) fn closed_to_others(path: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let open = |dir: &Path| std::fs::metadata(dir).is_ok_and(|m| !m.is_dir() || m.permissions().mode() & 1 != 0);
    let mut dirs: Vec<&Path> = path.ancestors().collect();
    dirs.reverse();
    dirs.into_iter().find(|dir| !open(dir)).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_tool_brings_its_own_directory_and_never_a_home() {
        assert_eq!(Tool::at("/usr/bin/python3.11".into()).home, None);
        assert_eq!(Tool::at("/srv/python/bin/python3".into()).home, Some("/srv/python".into()));
        for personal in ["/home", "/home/me", "/root", "/"] {
            assert!(is_personal(Path::new(personal)), "{personal}");
        }
        assert!(!is_personal(Path::new("/home/me/python")) && !is_personal(Path::new("/srv/python")));
    }

    #[test]
    fn what_cannot_be_used_is_named_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let shim = dir.path().join("python3");
        std::fs::write(&shim, "#!/bin/sh\nexec python3\n").unwrap();
        let error = Tool::find(&shim).unwrap_err();
        assert!(error.contains(&shim.display().to_string()) && error.contains("pyenv which python3"), "{error}");
        let error = Tool::find(Path::new("/nowhere/python3")).unwrap_err();
        assert!(error.contains("/nowhere/python3"), "{error}");
        let error = Tool::find(Path::new("no-such-interpreter")).unwrap_err();
        assert!(error.contains("no-such-interpreter") && error.contains("PATH"), "{error}");
    }

    #[test]
    fn closed_directories_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(dir.path(), 0o755);
        mode(&dir.path().join("a"), 0o700);
        assert_eq!(closed_to_others(&inner), Some(dir.path().join("a")));
        mode(&dir.path().join("a"), 0o711);
        assert_eq!(closed_to_others(&inner), None);
    }
}
