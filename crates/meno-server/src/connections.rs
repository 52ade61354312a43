//! Open connections: their limits, and which of them may be closed to make room for others.
//!
//! A client can keep a connection open at no cost while no answer is being sent on it, so such connections must not
//! block other clients. When a limit is reached, the server closes the one that has been idle longest: first of the
//! same address, then of the address with the most connections. When the server stops, it closes all idle connections
//! at once.

use crate::lock::lock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Limits on the number of open connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Of all clients together.
    pub all: usize,
    /// Per address (for IPv6: per /64 network).
    pub per_address: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits { all: 1024, per_address: 256 }
    }
}

/// A connection may be closed for another one if its body takes longer than this to arrive, or if the client reads
/// nothing of its answer for longer than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Waiting for the complete head of the next request.
    Idle,
    /// Receiving a body.
    Reading,
    /// Processing a request and sending the answer.
    Answering,
    /// The answer is complete, but not all of it has been passed to the operating system.
    Flushing,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) address: IpAddr,
    phase: AtomicU8,
    since: Mutex<Instant>,
    /// Since when the client has read nothing of its answer.
    stalled: Mutex<Option<Instant>>,
    close: Notify,
}

impl Connection {
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Idle,
            1 => Phase::Reading,
            2 => Phase::Answering,
            _ => Phase::Flushing,
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        *lock(&self.since) = Instant::now();
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Records whether the client has stopped reading its answer.
    pub(crate) fn set_stalled(&self, stalled: bool) {
        let mut since = lock(&self.stalled);
        *since = if stalled { since.or_else(|| Some(Instant::now())) } else { None };
    }

    /// Completes when the connection must be closed.
    pub(crate) async fn closed(&self) {
        self.close.notified().await;
    }

    /// For how long this connection has been one that may be closed; `None` if it may not be.
    fn idle_for(&self, now: Instant) -> Option<Duration> {
        let time = now.saturating_duration_since(*lock(&self.since));
        match self.phase() {
            Phase::Idle => Some(time),
            Phase::Reading => time.checked_sub(PATIENCE),
            Phase::Answering | Phase::Flushing => {
                let stalled = (*lock(&self.stalled))?;
                now.saturating_duration_since(stalled).checked_sub(PATIENCE)
            }
        }
    }
}

/// All open connections.
#[derive(Debug)]
pub(crate) struct Connections {
    limits: ConnectionLimits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    all: HashMap<u64, Arc<Connection>>,
    by_address: HashMap<IpAddr, usize>,
    stopping: bool,
}

/// The connection that a request came from; an extension of the request.
#[derive(Clone, Debug)]
pub(crate) struct Peer(pub(crate) Arc<Connection>);

/// A connection that counts towards the limits; dropping it removes it.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) connection: Arc<Connection>,
    id: u64,
    of: Arc<Connections>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        lock(&self.of.open).remove(self.id);
    }
}

/// The address that the limits count. For IPv6 it is the /64 network, because one home or host owns a whole one.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

impl Connections {
    pub(crate) fn new(limits: ConnectionLimits) -> Arc<Connections> {
        Arc::new(Connections { limits, open: Mutex::default() })
    }

    /// Admits a connection of `address`, closing an idle one if a limit is reached; `None` if none is idle.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admission> {
        let address = network(address);
        let mut open = lock(&self.open);
        if open.stopping {
            return None;
        }
        let own = |c: &Connection| c.address == address;
        if open.by_address.get(&address).is_some_and(|&n| n >= self.limits.per_address) && !open.close_idle(own) {
            return None;
        }
        if open.all.len() >= self.limits.all {
            let most = open.by_address.iter().max_by_key(|a| a.1).map(|a| *a.0);
            if !open.close_idle(|c| Some(c.address) == most) && !open.close_idle(|_| true) {
                return None;
            }
        }
        let id = open.next;
        open.next += 1;
        let since = Mutex::new(Instant::now());
        let phase = AtomicU8::new(Phase::Idle as u8);
        let connection = Connection { address, phase, since, stalled: Mutex::default(), close: Notify::new() };
        let connection = Arc::new(connection);
        open.all.insert(id, connection.clone());
        *open.by_address.entry(address).or_default() += 1;
        Some(Admission { connection, id, of: self.clone() })
    }

    /// Closes the connection that has been idle longest; returns `false` if there is none.
    pub(crate) fn close_oldest(&self) -> bool {
        lock(&self.open).close_idle(|_| true)
    }

    /// Closes all connections that are not being answered, and admits no new ones.
    pub(crate) fn stop(&self) {
        let mut open = lock(&self.open);
        open.stopping = true;
        let busy = |c: &Connection| matches!(c.phase(), Phase::Answering | Phase::Flushing);
        open.all.values().filter(|c| !busy(c)).for_each(|c| c.close.notify_one());
    }

    pub(crate) fn stopping(&self) -> bool {
        lock(&self.open).stopping
    }
}

impl Open {
    /// Closes the connection that has been idle longest among the connections that match `which`.
    fn close_idle(&mut self, which: impl Fn(&Connection) -> bool) -> bool {
        let now = Instant::now();
        let candidates = self.all.iter().filter(|(_, c)| which(c));
        let oldest = candidates.filter_map(|(id, c)| Some((c.idle_for(now)?, *id))).max();
        let Some((_, id)) = oldest else { return false };
        if let Some(connection) = self.remove(id) {
            connection.close.notify_one();
        }
        true
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Connection>> {
        let connection = self.all.remove(&id)?;
        if let Some(count) = self.by_address.get_mut(&connection.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&connection.address);
            }
        }
        Some(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(i: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, i])
    }

    #[test]
    fn idle_connections_give_way_and_busy_ones_do_not() {
        let all = Connections::new(ConnectionLimits { all: 3, per_address: 2 });
        let a = all.admit(address(1)).unwrap();
        a.connection.enter(Phase::Answering);
        let b = all.admit(address(1)).unwrap();
        let c = all.admit(address(1)).expect("the idle one gives way");
        c.connection.enter(Phase::Answering);
        assert!(all.admit(address(1)).is_none(), "both answer");
        let d = all.admit(address(2)).unwrap();
        let e = all.admit(address(3)).expect("the idle one of another address gives way");
        e.connection.enter(Phase::Answering);
        assert!(all.admit(address(4)).is_none());
        drop((b, d)); // both were closed before
        drop(a);
        assert!(all.admit(address(4)).is_some());
        all.stop();
        assert!(all.admit(address(5)).is_none());
    }

    #[test]
    fn answers_that_nobody_takes_give_way_after_a_while() {
        let all = Connections::new(ConnectionLimits { all: 1, per_address: 1 });
        let stalled = all.admit(address(1)).unwrap();
        stalled.connection.enter(Phase::Answering);
        stalled.connection.set_stalled(true);
        assert!(all.admit(address(2)).is_none(), "not at once");
        *lock(&stalled.connection.stalled) = Instant::now().checked_sub(2 * PATIENCE);
        stalled.connection.set_stalled(true);
        assert!(all.admit(address(2)).is_some());
        let taken = all.admit(address(1)).unwrap();
        taken.connection.enter(Phase::Answering);
        *lock(&taken.connection.stalled) = Instant::now().checked_sub(2 * PATIENCE);
        taken.connection.set_stalled(false);
        assert!(all.admit(address(2)).is_none());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::9"));
        assert_ne!(of("2001:db8:1:2::9"), of("2001:db8:1:3::9"));
        assert_eq!(of("::ffff:10.0.0.1"), address(1));
    }
}
