//! The processes ("ranks") of a command that a launcher of MPI started together.
//!
//! All ranks run the same command. Rank 0 shows progress and writes the files that exist once; the output of the others
//! is dropped, except for their errors.

use crate::{exit, interrupt};
use anyhow::{Context, Result, bail};
use meno_comm::{Comm, launch};
use meno_tensor::cpu::features::kernels;
use meno_tensor::device::Device;
use meno_train::data::fingerprint::Fingerprint;
use serde::Serialize;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// The communicator of this process.
static WORLD: OnceLock<Comm> = OnceLock::new();

/// How long other ranks wait with an error, because rank 0 usually has the same one and reports it.
const FIRST_SPEAKS: Duration = Duration::from_secs(5);

/// Joins the other processes, if a launcher started several.
pub(crate) fn join() -> Result<()> {
    let comm = match launch::world() {
        Ok(comm) => comm,
        // Each process would do the whole work. One of them says so.
        Err(message) if launch::place_on_machine().is_none_or(|(rank, _)| rank == 0) => bail!(message),
        Err(_) => std::process::exit(1),
    };
    if !comm.is_first() {
        exit::silence();
    }
    WORLD.get_or_init(|| comm);
    Ok(())
}

/// Fails if several processes run a command that does not divide its work (`shared` is false).
pub(crate) fn check_shared(shared: bool) -> Result<()> {
    let size = world().size();
    if size > 1 && !shared {
        bail!(
            "{size} processes were started, but this command runs in one; pretrain, sft, grpo, sample, distill and \
             eval divide their work among several"
        );
    }
    Ok(())
}

/// Returns the communicator of this process.
pub(crate) fn world() -> Comm {
    WORLD.get_or_init(meno_comm::solo).clone()
}

/// Leaves MPI and ends the process.
pub(crate) fn exit(code: i32) -> ! {
    launch::finish();
    std::process::exit(code)
}

/// Reports an error of this process. If there are others, it ends them too: they may wait for this one.
pub(crate) fn fail(message: &str, code: i32) {
    let comm = world();
    if comm.size() == 1 {
        let _ = writeln!(exit::errors(), "{message}");
        return;
    }
    if comm.is_first() {
        let _ = writeln!(exit::errors(), "{message}");
    } else {
        std::thread::sleep(FIRST_SPEAKS);
        let _ = writeln!(exit::errors(), "rank {}: {message}", comm.rank());
    }
    comm.abort(code)
}

/// Ends the other processes after a panic of this one, which is already reported.
pub(crate) fn fail_after_panic(code: i32) {
    let comm = world();
    if comm.size() > 1 {
        comm.abort(code);
    }
}

/// Ends a command that stopped on request, on all ranks with the code of the signal that any of them got.
pub(crate) fn exit_stopped() -> ! {
    let signals = world().all_gather(&interrupt::signal().to_ne_bytes());
    let signal = |bytes: &Vec<u8>| bytes.as_slice().try_into().map_or(0, i32::from_ne_bytes);
    exit(interrupt::exit_code(signals.iter().map(signal).max().unwrap_or(0)))
}

/// Something that must be equal on all ranks: what a different value means, and the value.
type Equal = (&'static str, String);

/// Fails on all ranks if one of them runs another program, or reads another recipe, model or other data. `inputs`
/// describes the recipe and the data.
pub(crate) fn check_equal(inputs: &impl Serialize, model: Option<&Path>) -> Result<()> {
    if world().size() == 1 {
        return Ok(());
    }
    let program = Fingerprint::of(&std::env::current_exe()?)?.sha256;
    check_values(vec![
        ("another program (or another version of it)", program),
        ("other kernels, because its processor or MENO_CPU differs", format!("{:?}", kernels())),
        ("another recipe, or other data files", serde_json::to_string(inputs)?),
        ("another model", model.map_or(Ok(String::new()), weights_of)?),
    ])
}

/// Fails on all ranks if one of them sees another state of the command's output.
pub(crate) fn check_progress(progress: impl std::fmt::Display) -> Result<()> {
    check_values(vec![("another state of the output file, which all processes must share", progress.to_string())])
}

fn check_values(own: Vec<Equal>) -> Result<()> {
    let values: Vec<&String> = own.iter().map(|(_, value)| value).collect();
    let all = world().all_gather(&serde_json::to_vec(&values)?);
    let all = all.iter().map(|json| serde_json::from_slice(json)).collect::<Result<Vec<Vec<String>>, _>>()?;
    let meanings: Vec<&str> = own.iter().map(|(meaning, _)| *meaning).collect();
    differences(&meanings, &all).map_or(Ok(()), |text| bail!("{text}; all processes of a run need the same"))
}

/// Describes the first rank that differs from rank 0.
fn differences(meanings: &[&str], all: &[Vec<String>]) -> Option<String> {
    let (rank, other) = all.iter().enumerate().find(|(_, other)| **other != all[0])?;
    let what = meanings.iter().zip(other.iter().zip(&all[0])).filter(|(_, (a, b))| a != b);
    let what: Vec<&str> = what.map(|(meaning, _)| *meaning).collect();
    Some(format!("rank {rank} has {}, compared with rank 0", what.join(" and ")))
}

/// Describes the weights at `path`: names and sizes of the files, with a hash of the beginning and the end of each.
fn weights_of(path: &Path) -> Result<String> {
    const PART: u64 = 1 << 20;
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let weights = |file: &PathBuf| file.extension().is_some_and(|e| e == "safetensors" || e == "gguf");
        files = std::fs::read_dir(path)?.flatten().map(|entry| entry.path()).filter(weights).collect();
        files.sort();
    }
    let mut hash = DefaultHasher::new();
    for path in files {
        let mut file = File::open(&path).with_context(|| path.display().to_string())?;
        let len = file.metadata()?.len();
        (path.file_name(), len).hash(&mut hash);
        for start in [0, len.saturating_sub(PART)] {
            let mut part = Vec::new();
            file.seek(SeekFrom::Start(start))?;
            (&mut file).take(PART).read_to_end(&mut part)?;
            part.hash(&mut hash);
        }
    }
    Ok(format!("{:x}", hash.finish()))
}

/// Returns the device of this rank: ranks on one machine use one card each, from the requested one on.
pub(crate) fn device(requested: Device) -> Device {
    match (requested, launch::place_on_machine()) {
        (Device::Cuda(first), Some((rank, size))) if size > 1 => {
            let cards = Device::all().iter().filter(|d| matches!(d, Device::Cuda(_))).count().max(1);
            Device::Cuda((first + rank) % cards)
        }
        _ => requested,
    }
}

/// Returns the number of threads of this rank if none is requested: the cores that it may use. Ranks on one machine
/// share its cores, unless their launcher has bound them to some.
pub(crate) fn threads() -> usize {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    match launch::place_on_machine() {
        Some((_, size)) if usable >= exit::processors() => (usable / size).max(1),
        _ => usable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_that_differs_is_named_with_what_differs() {
        let rank = |program: &str, inputs: &str| vec![program.to_owned(), inputs.to_owned()];
        let differences = |all: &[Vec<String>]| differences(&["another program", "another recipe"], all);
        assert_eq!(differences(&[rank("a", "b"), rank("a", "b")]), None);
        let text = differences(&[rank("a", "b"), rank("a", "b"), rank("c", "d")]).unwrap();
        assert!(text.starts_with("rank 2 has another program and another recipe"), "{text}");
    }
}
