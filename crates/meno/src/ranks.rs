//! The processes ("ranks") of a command that a launcher of MPI started together.
//!
//! All ranks run the same command. Rank 0 shows progress and writes the files that exist once; the output of the others
//! is dropped, except for their errors.

use crate::exit;
use anyhow::{Result, bail};
use meno_comm::{Comm, launch};
use meno_tensor::cpu::features::kernels;
use meno_tensor::device::Device;
use meno_train::data::fingerprint::Fingerprint;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;

/// The communicator of this process.
static WORLD: OnceLock<Comm> = OnceLock::new();

/// How long other ranks wait with an error, because rank 0 usually has the same one and reports it.
const FIRST_SPEAKS: Duration = Duration::from_secs(2);

/// Joins the other processes, if a launcher started several. `shared` is true for a command that divides its work.
pub(crate) fn start(shared: bool) -> Result<()> {
    let comm = match launch::world() {
        Ok(comm) => comm,
        // Each process would do the whole work. One of them says so.
        Err(message) if launch::place_on_machine().is_none_or(|(rank, _)| rank == 0) => bail!(message),
        Err(_) => std::process::exit(1),
    };
    let size = comm.size();
    if !comm.is_first() {
        exit::silence();
    }
    WORLD.get_or_init(|| comm);
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

/// What must be equal on all ranks for the same bits.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Identity {
    /// The hash of this program.
    program: String,
    /// The kernels in use.
    kernels: String,
    /// The settings and the data.
    inputs: String,
}

/// Fails on all ranks if one of them runs another program, or has other settings or data. `inputs` describes them.
pub(crate) fn check_equal(inputs: &impl Serialize) -> Result<()> {
    let comm = world();
    if comm.size() == 1 {
        return Ok(());
    }
    let program = Fingerprint::of(&std::env::current_exe()?)?.sha256;
    let own = Identity { program, kernels: format!("{:?}", kernels()), inputs: serde_json::to_string(inputs)? };
    let all = comm.all_gather(&serde_json::to_vec(&own)?);
    let all = all.iter().map(|json| serde_json::from_slice(json)).collect::<Result<Vec<Identity>, _>>()?;
    match differences(&all) {
        None => Ok(()),
        Some(text) => bail!("{text}; all processes of a run need the same"),
    }
}

/// Describes the first rank that differs from rank 0.
fn differences(all: &[Identity]) -> Option<String> {
    let (rank, other) = all.iter().enumerate().find(|(_, other)| **other != all[0])?;
    let first = &all[0];
    let what = [
        ("another program (or another version of it)", other.program != first.program),
        ("other kernels, because its processor or MENO_CPU differs", other.kernels != first.kernels),
        ("another recipe, or other data files", other.inputs != first.inputs),
    ];
    let what: Vec<&str> = what.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what).collect();
    Some(format!("rank {rank} has {}, compared with rank 0", what.join(" and ")))
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
        let identity = |program: &str, inputs: &str| Identity {
            program: program.into(),
            kernels: "avx2".into(),
            inputs: inputs.into(),
        };
        assert_eq!(differences(&[identity("a", "b"), identity("a", "b")]), None);
        let text = differences(&[identity("a", "b"), identity("a", "b"), identity("c", "d")]).unwrap();
        assert!(text.starts_with("rank 2 has another program") && text.contains("another recipe"), "{text}");
    }
}
