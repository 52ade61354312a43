//! The collectives over MPI, on 2 and 4 processes of this machine. Every test starts `mpirun` (or MPIRUN) with this very
//! program.
#![cfg(feature = "mpi")]
#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_comm::queue::{Queue, Taken};
use meno_comm::{Comm, launch, ordered};
use std::process::Command;

/// Runs the ignored test `name` of this file on `ranks` processes.
fn mpirun(ranks: usize, name: &str) -> std::process::Output {
    // Another library's launcher for a build with its compiler: MPICC=mpicc.mpich, MPIRUN=mpirun.mpich.
    let mut command = Command::new(std::env::var("MPIRUN").unwrap_or("mpirun".into()));
    if cfg!(target_os = "linux") {
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        command.env("OMPI_MCA_rmaps_base_oversubscribe", "1").env("OMPI_MCA_mpi_yield_when_idle", "1");
    }
    let program = std::env::current_exe().unwrap();
    command.arg("-n").arg(ranks.to_string()).arg(program).args([name, "--exact", "--ignored", "--nocapture"]);
    command.output().expect("mpirun is installed")
}

fn passes(name: &str) {
    for ranks in [2, 4] {
        let output = mpirun(ranks, name);
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{ranks} processes:\n{text}");
        assert_eq!(text.matches("1 passed").count(), ranks, "{text}");
    }
}

fn world() -> Comm {
    let comm = launch::world().unwrap();
    assert!(comm.size() > 1, "started by mpirun");
    comm
}

#[test]
#[ignore = "started by the test `collectives`"]
fn rank_of_collectives() {
    let comm = world();
    let (rank, size) = (comm.rank(), comm.size());
    comm.barrier();
    assert_eq!(comm.from_rank(1, || b"from one".to_vec()), b"from one");
    assert_eq!(comm.all_gather(&[]), vec![Vec::new(); size]);
    let texts = comm.all_gather("x".repeat(rank * 3).as_bytes());
    assert_eq!(texts, (0..size).map(|r| "x".repeat(r * 3).into_bytes()).collect::<Vec<_>>());
    let send: Vec<Vec<u8>> = (0..size).map(|to| vec![(10 * rank + to) as u8; rank + to]).collect();
    let received = comm.all_to_all(&send.iter().map(Vec::as_slice).collect::<Vec<_>>());
    for (from, bytes) in received.iter().enumerate() {
        assert_eq!(*bytes, vec![(10 * from + rank) as u8; rank + from]);
    }
    assert!(comm.any(rank == 1));
    assert!(!comm.any(false));
    let mut values = vec![rank as f32; 5];
    comm.all_reduce(&mut values);
    assert_eq!(values, vec![(size * (size - 1) / 2) as f32; 5]);
    launch::finish();
}

#[test]
fn collectives() {
    passes("rank_of_collectives");
}

/// Leaf `leaf` of the tree of sums.
fn leaf(leaf: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| ((leaf * 31 + i * 7) % 97) as f32 * 10f32.powi((leaf + i) as i32 % 7 - 3)).collect()
}

fn tree(from: usize, count: usize, len: usize) -> Vec<f32> {
    if count == 1 {
        return leaf(from, len);
    }
    let (low, high) = (tree(from, count / 2, len), tree(from + count / 2, count / 2, len));
    low.iter().zip(high).map(|(a, b)| a + b).collect()
}

#[test]
#[ignore = "started by the test `ordered_sums_have_the_bits_of_one_process`"]
fn rank_of_ordered_sums() {
    let comm = world();
    // More values than one piece, and an odd number.
    for len in [3, 3_000_001] {
        let own = 4 / comm.size();
        let mut values = tree(comm.rank() * own, own, len);
        ordered::all_reduce(&*comm, &mut values);
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(bits(&values) == bits(&tree(0, 4, len)));
    }
    launch::finish();
}

#[test]
fn ordered_sums_have_the_bits_of_one_process() {
    passes("rank_of_ordered_sums");
}

#[test]
#[ignore = "started by the test `a_shared_queue`"]
fn rank_of_a_shared_queue() {
    let comm = world();
    for stop in [false, true] {
        let (mut queue, mut mine) = (Queue::new(&comm, 1000, 8), Vec::new());
        loop {
            match queue.take(16) {
                Taken::Items(items) => mine.extend(items.map(|i| i as u64)),
                Taken::Pending => std::thread::yield_now(),
                Taken::Empty => break,
            }
            if stop && comm.rank() == 1 {
                queue.stop();
            }
        }
        assert_eq!(queue.finish(), stop);
        let mut all = comm.all_gather(bytemuck::cast_slice(&mine)).concat().len() / 8;
        if stop {
            all = 1000.min(all + 1000);
        }
        assert_eq!(all, 1000);
    }
    launch::finish();
}

#[test]
fn a_shared_queue() {
    passes("rank_of_a_shared_queue");
}

#[test]
#[ignore = "started by the test `an_abort_ends_all_ranks`"]
fn rank_that_aborts() {
    let comm = world();
    if comm.rank() == 1 {
        comm.abort(3);
    }
    comm.barrier();
}

#[test]
fn an_abort_ends_all_ranks() {
    let output = mpirun(2, "rank_that_aborts");
    assert!(!output.status.success());
    assert!(!String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}
