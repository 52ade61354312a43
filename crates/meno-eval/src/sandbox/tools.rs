//! Locates this machine's interpreters and compilers, and what they must read at run time.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Directories of programs and libraries that every sandbox can read.
pub(super) const SYSTEM: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"];

/// The parts of an installation (PREFIX of PREFIX/bin/TOOL) that hold a tool's programs and libraries, if the tool
/// shares the prefix with others.
const SHARED_PARTS: [&str; 9] = [
    "lib/node_modules",
    "lib/gcc",
    "lib32/gcc",
    "lib64/gcc",
    "libexec/gcc",
    "lib/clang",
    "lib/rustlib",
    "include/c++",
    "include/node",
];

/// The same parts, if the prefix belongs to the tool alone.
const OWN_PARTS: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libexec", "include"];

/// Name prefixes of libraries that compilers link programs with.
const LINKED: [&str; 5] = ["libstdc++", "libsupc++", "libgcc_s", "libc++", "libunwind"];

/// Directories in which version managers keep one prefix per version: pyenv, nvm and nodenv, rustup, asdf and mise,
/// fnm, volta, Homebrew.
const COLLECTIONS: [&str; 6] = ["versions", "toolchains", "installs", "node-versions", "image", "Cellar"];

/// Prints what a Python interpreter needs, one path per line: itself, the directories of its modules, the libraries it
/// loaded. Runs without `site` (`-S`), so that `sys.path` holds only its own directories and not entries of .pth files.
/// `site` then finds the virtual environment, if there is one.
const NEEDS_OF_PYTHON: &str = "
import os, sys
paths = set(sys.path)
import site
site.main()
import sysconfig
paths |= {sys.executable} | {sysconfig.get_path(name) for name in ('stdlib', 'platstdlib', 'purelib', 'platlib')}
if sys.prefix != sys.base_prefix:
    paths.add(os.path.join(sys.prefix, 'pyvenv.cfg'))
try:
    paths |= {line.split(None, 5)[5].strip() for line in open('/proc/self/maps') if '.so' in line}
except OSError:
    pass
print('\\n'.join(sorted(path for path in paths if path and os.path.exists(path))))
";

/// A program of this machine that runs in the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// The program, with links resolved.
    pub(super) path: PathBuf,
    /// What it reads in addition to the system directories.
    pub(super) needs: Vec<PathBuf>,
    /// True if it reserves much more address space than it uses; only its data segment is then limited.
    pub(super) reserves_memory: bool,
}

impl Tool {
    /// Creates a tool from a path without links.
    fn at(path: PathBuf) -> Result<Tool, String> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let needs = match is_system(&path) {
            true => Vec::new(),
            false if name.starts_with("python") || name.starts_with("pypy") => needs_of_python(&path)?,
            false => needs_of(&path),
        };
        Ok(Tool { needs, reserves_memory: name.starts_with("node") || name == "rustc", path })
    }

    /// A program that is one of the job's files.
    pub(crate) fn from_job_file(path: &str) -> Tool {
        Tool { path: path.into(), needs: Vec::new(), reserves_memory: false }
    }

    /// Finds a program by a path or by a name in `PATH`. The error gives the reason and the remedy.
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

/// True if every sandbox can read this path.
fn is_system(path: &Path) -> bool {
    SYSTEM.iter().any(|directory| path.starts_with(directory))
}

/// The paths that a Python interpreter reads.
fn needs_of_python(path: &Path) -> Result<Vec<PathBuf>, String> {
    let failed =
        |reason: &str| format!("{} cannot be used: it does not report where its modules are: {reason}", path.display());
    let mut command = Command::new(path);
    command.args(["-I", "-S", "-B", "-c", NEEDS_OF_PYTHON]).env_clear().stdin(Stdio::null());
    let asked = command.output().map_err(|e| failed(&e.to_string()))?;
    if !asked.status.success() {
        return Err(failed(String::from_utf8_lossy(&asked.stderr).trim()));
    }
    let text = String::from_utf8(asked.stdout).map_err(|_| failed("its paths are not UTF-8"))?;
    let paths = text.lines().filter_map(|line| Path::new(line).canonicalize().ok());
    Ok(paths.filter(|path| !is_system(path) && !is_personal(path)).chain([path.to_owned()]).collect())
}

/// The paths that another tool reads: itself, the libraries it loads, and the known parts of its installation. Other
/// parts are left out, because a prefix such as `/usr/local` or `~/.local` can also hold personal files.
fn needs_of(path: &Path) -> Vec<PathBuf> {
    let prefix = path.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let parts: &[&str] = if is_own(prefix) { &OWN_PARTS } else { &SHARED_PARTS };
    let parts = parts.iter().map(|part| prefix.join(part)).filter(|part| part.is_dir());
    // The loader finds a library by its name, which may be a link, so these paths are not resolved.
    let found = parts.filter_map(|part| part.canonicalize().ok()).chain(loaded(path)).chain(linked(prefix));
    let needs = found.filter(|part| !is_system(part) && !is_personal(part)).chain([path.to_owned()]);
    let mut needs: Vec<PathBuf> = needs.collect();
    needs.sort();
    needs.dedup();
    needs
}

/// True if a prefix belongs to one tool: a version in a version manager's directory, a conda environment, or
/// `/opt/NAME`.
fn is_own(prefix: &Path) -> bool {
    let collection = |dir: Option<&Path>| {
        dir.and_then(Path::file_name).and_then(|name| name.to_str()).is_some_and(|name| COLLECTIONS.contains(&name))
    };
    let (parent, above) = (prefix.parent(), prefix.parent().and_then(Path::parent));
    let is_named = collection(parent) || collection(above) || parent == Some(Path::new("/opt"));
    !is_personal(prefix) && (is_named || prefix.join("conda-meta").is_dir())
}

/// The libraries that the loader prints for a program.
fn loaded(path: &Path) -> Vec<PathBuf> {
    let mut command = Command::new(path);
    command.arg("--version").env("LD_TRACE_LOADED_OBJECTS", "1").stdin(Stdio::null()).stderr(Stdio::null());
    let text = command.output().map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    let file = |line: &str| Some(PathBuf::from(line.split_once("=> ")?.1.rsplit_once(" (0x")?.0));
    text.lines().filter_map(file).filter(|file| file.is_absolute() && file.is_file()).collect()
}

/// The libraries of a prefix that compilers link programs with.
fn linked(prefix: &Path) -> Vec<PathBuf> {
    let files = ["lib", "lib64"].into_iter().filter_map(|dir| std::fs::read_dir(prefix.join(dir)).ok()).flatten();
    let files = files.filter_map(|entry| Some(entry.ok()?.path()));
    let is_linked = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        LINKED.iter().any(|start| name.starts_with(start)) && file.is_file()
    };
    files.filter(is_linked).collect()
}

/// The first binary with that name in `PATH`.
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
        "{} cannot be used: it is a script (a shim) that looks for the real program in your home directory, which \
         sandboxed programs cannot read. Put the directory of the real program before it in PATH (pyenv and nodenv: \
         `pyenv which python3` prints it)",
        path.display()
    )
}

/// True if a file is a binary and not a script.
fn is_binary(path: &Path) -> bool {
    let mut magic = [0; 4];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

/// The compiler behind rustup's proxy. The proxy finds it through settings in the home directory, which a sandbox
/// lacks.
fn toolchain(path: PathBuf, name: &Path) -> PathBuf {
    if path.file_name().is_none_or(|file| file != "rustup") {
        return path;
    }
    let asked = Command::new(name).args(["--print", "sysroot"]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let sysroot = asked.ok().filter(|out| out.status.success()).and_then(|out| String::from_utf8(out.stdout).ok());
    let real = sysroot.and_then(|dir| Path::new(dir.trim()).join("bin/rustc").canonicalize().ok());
    real.unwrap_or(path)
}

/// True if a directory is a home directory, contains home directories, or holds a user's shared tools and settings.
fn is_personal(dir: &Path) -> bool {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let real = home.as_ref().and_then(|home| home.canonicalize().ok());
    let names = [".local", ".cache", ".config"];
    home.into_iter().chain(real).any(|home| home.starts_with(dir))
        || ["/home", "/var/home"].map(Path::new).contains(&dir.parent().unwrap_or(dir))
        || ["/", "/home", "/var", "/var/home", "/root", "/tmp", "/opt"].map(Path::new).contains(&dir)
        || dir.file_name().is_some_and(|name| names.iter().any(|known| name == *known))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A prefix with a tool, its libraries and personal files.
    fn prefix(at: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().canonicalize().unwrap().join(at);
        let parts = ["bin", "lib/node_modules", "lib/gcc", "lib/mail", "share/keyrings", "etc", "documents", "state"];
        for name in parts {
            std::fs::create_dir_all(prefix.join(name)).unwrap();
        }
        for name in ["lib/libstdc++.so.6", "lib/private"] {
            std::fs::write(prefix.join(name), "").unwrap();
        }
        std::fs::copy("/bin/true", prefix.join("bin/node")).unwrap();
        (dir, prefix)
    }

    #[test]
    fn a_prefix_in_a_home_is_shared_unless_one_tool_owns_it() {
        for shared in ["", ".local", "local", "projects/x", "usr/local", ".cache"] {
            let (_dir, prefix) = prefix(shared);
            let parts = ["bin/node", "lib/gcc", "lib/libstdc++.so.6", "lib/node_modules"];
            assert_eq!(needs_of(&prefix.join("bin/node")), parts.map(|part| prefix.join(part)), "{shared}");
        }
        let versions =
            [".nvm/versions/node/v22", ".pyenv/versions/3.12", ".rustup/toolchains/stable", "mise/installs/node/22"];
        for own in versions {
            let (_dir, prefix) = prefix(own);
            let needs = needs_of(&prefix.join("bin/node"));
            let parts = ["bin", "bin/node", "lib", "lib/libstdc++.so.6"];
            assert_eq!(needs, parts.map(|part| prefix.join(part)), "{own}");
        }
    }

    #[test]
    fn homes_and_their_parents_are_personal() {
        assert!(Tool::at("/usr/bin/python3.11".into()).unwrap().needs.is_empty());
        for dir in ["/home", "/home/me", "/root", "/", "/home/me/.local", "/opt", "/var/home/me"] {
            assert!(is_personal(Path::new(dir)) && !is_own(Path::new(dir)), "{dir}");
        }
        assert!(is_own(Path::new("/opt/gcc-14")) && is_own(Path::new("/home/me/.rustup/toolchains/stable")));
        assert!(!is_own(Path::new("/home/me/gcc")) && !is_own(Path::new("/srv")) && !is_own(Path::new("/data/x")));
    }

    #[test]
    fn the_loader_lists_the_libraries_of_a_tool() {
        let libraries = loaded(&std::env::current_exe().unwrap());
        assert!(libraries.iter().any(|path| path.to_string_lossy().contains("libc.")), "{libraries:?}");
    }

    #[test]
    fn errors_name_the_unusable_tool_and_the_remedy() {
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
