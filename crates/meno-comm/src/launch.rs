//! How this process was started: alone, or by a launcher of MPI.

use crate::Comm;

/// Returns the number of processes that a launcher of MPI (`mpirun`, `srun --mpi`) started together with this one, as
/// far as its environment tells. `None` if no launcher started it.
pub fn ranks_started() -> Option<usize> {
    // Open MPI; MPICH and Slurm's PMI-2; Slurm's PMIx, which leaves the number to Slurm.
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    let pmix = std::env::var_os("PMIX_RANK").and_then(|_| number("SLURM_NTASKS"));
    number("OMPI_COMM_WORLD_SIZE").or_else(|| number("PMI_SIZE")).or(pmix)
}

/// Returns the number of this process among those on its machine, and their number. `None` if the launcher does not say
/// it.
pub fn place_on_machine() -> Option<(usize, usize)> {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    let first = |names: [&str; 3]| names.into_iter().find_map(number);
    let rank = first(["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"])?;
    let size = first(["OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"])?;
    ranks_started().map(|_| (rank, size))
}

/// Returns the communicator of this process: of all processes that a launcher started, or of this one alone.
///
/// # Errors
/// Fails if a launcher started several processes, but this program was built without MPI: each of them would do the
/// whole work. Fails if the MPI library cannot serve several threads.
pub fn world() -> Result<Comm, String> {
    match ranks_started() {
        None => Ok(crate::solo()),
        Some(started) => connect(started),
    }
}

#[cfg(feature = "mpi")]
fn connect(started: usize) -> Result<Comm, String> {
    let comm: Comm = std::sync::Arc::new(crate::Mpi::start()?);
    if comm.size() != started {
        return Err(format!(
            "{started} processes were started, but MPI connects {}: the launcher belongs to another MPI library than \
             the one that meno was built with",
            comm.size()
        ));
    }
    Ok(comm)
}

#[cfg(not(feature = "mpi"))]
fn connect(started: usize) -> Result<Comm, String> {
    match started {
        1 => Ok(crate::solo()),
        _ => Err(format!(
            "{started} processes were started, but this meno was built without MPI: build it with `--features mpi`, \
             or start one process"
        )),
    }
}

/// Disconnects from the other processes. MPI requires it before a process ends; otherwise its launcher reports a crash.
pub fn finish() {
    #[cfg(feature = "mpi")]
    crate::mpi::finish();
}
