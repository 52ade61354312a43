//! The interpreters and compilers of this machine, and what a program must read to run them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Directories of programs and libraries, which every sandbox can read.
pub(super) const SYSTEM: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"];

/// The parts of an installation (PREFIX of PREFIX/bin/TOOL) that hold programs and libraries.
const PARTS: [&str; 7] = ["bin", "lib", "lib32", "lib64", "libexec", "include", "share"];

/// Prints what an interpreter of Python needs, one path a line: itself, where its modules lie, the libraries that it
/// loaded. What lies beside them, a home directory perhaps, is not its business.
const NEEDS_OF_PYTHON: &str = "
import os, sys, sysconfig
prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
paths = {sys.executable} | {sysconfig.get_path(name) for name in ('stdlib', 'platstdlib', 'purelib', 'platlib')}
paths |= {path for path in sys.path if any(path.startswith(prefix + os.sep) for prefix in prefixes)}
try:
    paths |= {line.split(None, 5)[5].strip() for line in open('/proc/self/maps') if '.so' in line}
except OSError:
    pass
print('\\n'.join(sorted(path for path in paths if path and path not in prefixes and os.path.exists(path))))
";

/// A program of this machine that runs in the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// The program itself, links followed.
    pub(super) path: PathBuf,
    /// What it reads beside the system's directories.
    pub(super) needs: Vec<PathBuf>,
    /// It reserves far more address space than it uses, so only its data is limited.
    pub(super) reserves_memory: bool,
}

impl Tool {
    /// The program at `path`, a path without links.
    fn at(path: PathBuf) -> Result<Tool, String> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let needs = match is_system(&path) {
            true => Vec::new(),
            false if name.starts_with("python") || name.starts_with("pypy") => needs_of_python(&path)?,
            false => needs_of(&path, name.starts_with("node"))?,
        };
        Ok(Tool { needs, reserves_memory: name.starts_with("node") || name == "rustc", path })
    }

    /// A program that is a file of the job.
    pub(crate) fn made(path: &str) -> Tool {
        Tool { path: path.into(), needs: Vec::new(), reserves_memory: false }
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
        Tool::at(toolchain(path, name))
    }
}

/// Whether a path lies where every sandbox can read.
fn is_system(path: &Path) -> bool {
    SYSTEM.iter().any(|directory| path.starts_with(directory))
}

/// What an interpreter of Python reads.
fn needs_of_python(path: &Path) -> Result<Vec<PathBuf>, String> {
    let failed =
        |reason: &str| format!("{} cannot be used: it does not say where its modules are: {reason}", path.display());
    let mut command = Command::new(path);
    command.args(["-I", "-B", "-c", NEEDS_OF_PYTHON]).env_clear().stdin(Stdio::null());
    let asked = command.output().map_err(|e| failed(&e.to_string()))?;
    if !asked.status.success() {
        return Err(failed(String::from_utf8_lossy(&asked.stderr).trim()));
    }
    let text = String::from_utf8(asked.stdout).map_err(|_| failed("its paths are no UTF-8"))?;
    let paths = text.lines().filter_map(|line| Path::new(line).canonicalize().ok());
    Ok(paths.filter(|path| !is_system(path)).chain([path.to_owned()]).collect())
}

/// What another tool reads: itself, if it is `single`, else the parts of its installation as well.
fn needs_of(path: &Path, single: bool) -> Result<Vec<PathBuf>, String> {
    let prefix = path.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let parts = PARTS.iter().map(|part| prefix.join(part)).filter(|part| part.is_dir());
    match (single, is_personal(prefix)) {
        (true, true) => Ok(vec![path.to_owned()]),
        (false, true) => Err(format!(
            "{} cannot be used: programs must read its libraries, and these lie in {}, a home directory or all of \
             them, whose other files programs must not see. Install it in a directory that holds nothing else, such \
             as /opt/NAME",
            path.display(),
            prefix.display()
        )),
        _ => Ok(parts.filter_map(|part| part.canonicalize().ok()).chain([path.to_owned()]).collect()),
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
    let real = home.as_ref().and_then(|home| home.canonicalize().ok());
    home.into_iter().chain(real).any(|home| home.starts_with(dir))
        || dir.parent() == Some(Path::new("/home"))
        || ["/", "/home", "/root", "/tmp"].map(Path::new).contains(&dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_brings_what_it_needs_and_never_a_home() {
        assert!(Tool::at("/usr/bin/python3.11".into()).unwrap().needs.is_empty());
        for personal in ["/home", "/home/me", "/root", "/"] {
            assert!(is_personal(Path::new(personal)), "{personal}");
        }
        assert!(!is_personal(Path::new("/home/me/python")) && !is_personal(Path::new("/srv/python")));
        assert!(needs_of(Path::new("/home/me/bin/g++"), false).unwrap_err().contains("/home/me"));
        assert_eq!(needs_of(Path::new("/home/me/bin/node"), true).unwrap(), [Path::new("/home/me/bin/node")]);
    }

    #[test]
    fn a_toolchain_brings_its_parts_only() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        for name in ["prefix/bin", "prefix/lib", "prefix/documents"] {
            std::fs::create_dir_all(dir.join(name)).unwrap();
        }
        let tool = dir.join("prefix/bin/rustc");
        assert_eq!(needs_of(&tool, false).unwrap(), [dir.join("prefix/bin"), dir.join("prefix/lib"), tool.clone()]);
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
}
