//! The emulated card: NVIDIA's driver library replaced by one that runs the kernels on the CPU (`dev/cuda/emulator`).
//! With it, every test of devices covers the CUDA backend on machines without a card.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

static LOADED: OnceLock<bool> = OnceLock::new();

/// Returns true if the card is emulated.
pub fn is_loaded() -> bool {
    LOADED.get().is_some_and(|&loaded| loaded)
}

/// Builds and loads the emulator, once in a process. Does nothing on a machine with a driver, without the emulator's
/// sources (a packaged crate), without a C++ compiler, or if `MENO_EMULATOR=0`.
pub fn load() {
    LOADED.get_or_init(|| {
        if std::env::var_os("MENO_EMULATOR").is_some_and(|v| v == "0") || crate::cuda::driver_is_installed() {
            return false;
        }
        match build() {
            Some(library) => crate::cuda::preload_driver(&library),
            None => eprintln!("skipped: no CUDA device"),
        }
        crate::cuda::driver_is_installed()
    });
}

/// Builds the emulator beside the test programs; returns the library. `None` if it cannot be built here.
///
/// # Panics
/// Panics if the emulator or a kernel does not compile.
pub fn build() -> Option<PathBuf> {
    let out = run_script("build.sh", "emulator")?;
    Some(out.join("libcuda.so"))
}

/// Runs a script of the emulator with a directory beside the test programs; returns the directory. `None` if it cannot
/// be run here.
fn run_script(name: &str, directory: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dev/cuda/emulator").join(name);
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "g++".into());
    let has_compiler = Command::new(&compiler).arg("--version").output().is_ok_and(|out| out.status.success());
    if !cfg!(target_os = "linux") || !script.exists() || !has_compiler {
        return None;
    }
    let program = std::env::current_exe().expect("a test program has a path");
    let out = program.parent().expect("a program lies in a directory").join(directory);
    let done = Command::new("bash").arg(&script).arg(&out).output().expect("bash starts");
    assert!(done.status.success(), "{}: {}", script.display(), String::from_utf8_lossy(&done.stderr));
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A missing wait, an early release, a wrong phase, an access out of bounds, a deadlock, a launch beyond the limits.
    #[test]
    fn planted_faults_are_caught() {
        if run_script("test.sh", "emulator_test").is_none() {
            eprintln!("skipped: no C++ compiler");
        }
    }
}
