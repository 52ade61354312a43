//! Communication of the processes of one run ("ranks"): collectives, ordered sums, and a shared queue of work.
//!
//! `mpirun`, `srun` or a Kubernetes MPI job starts the processes; MPI transports the messages (feature `mpi`). Without
//! MPI a run has one rank ([`Solo`]). [`threads::ranks`] runs several ranks as threads of one process, for tests.
//!
//! A collective is called by all ranks in the same order with matching arguments, as in MPI. A failed transport ends
//! the process: MPI's default error handler aborts all ranks.

#![forbid(unsafe_code)]

mod communicator;
pub mod launch;
#[cfg(feature = "mpi")]
mod mpi;
pub mod ordered;
pub mod queue;
mod solo;
pub mod threads;

pub use communicator::{Channel, Comm, Communicator};
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use solo::{Solo, solo};
