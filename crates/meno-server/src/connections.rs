//! The connections that are open: how many, whose, and which of them may be closed for others.
//!
//! A connection on which no answer is being given costs its client nothing to keep, and so must cost others nothing:
//! when places run out the oldest such connection is closed, first of the same address, then of the address that has
//! most; and when the server stops all of them are closed at once.

use crate::lock::lock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Of all clients.
    pub all: usize,
    /// Of one address (of IPv6, of one network of 64 bits).
    pub per_address: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits { all: 1024, per_address: 256 }
    }
}

/// A body that takes longer to come, or an answer of which nothing is taken for longer, may be given up for another
/// connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// No whole head of a request has come since the last answer.
    Idle,
    /// A body is on its way.
    Reading,
    /// A request is being answered.
    Answering,
    /// The answer is complete, but not all of it has been handed to the system.
    Flushing,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) address: IpAddr,
    phase: AtomicU8,
    since: Mutex<Instant>,
    /// Since when the client takes nothing of its answer.
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

    /// Notes whether the client takes its answer.
    pub(crate) fn stalls(&self, stalls: bool) {
        let mut since = lock(&self.stalled);
        *since = if stalls { since.or_else(|| Some(Instant::now())) } else { None };
    }

    /// Completes when the connection must be closed.
    pub(crate) async fn closed(&self) {
        self.close.notified().await;
    }

    /// How long a connection has been one that may be closed.
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

/// A place among the open connections; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) connection: Arc<Connection>,
    id: u64,
    of: Arc<Connections>,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.of.open).remove(self.id);
    }
}

/// The address that limits count: one home or host has a whole IPv6 network of 64 bits.
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

    /// A place for a connection of `address`, another's if need be; `None` if all are answering.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut open = lock(&self.open);
        if open.stopping {
            return None;
        }
        let own = |c: &Connection| c.address == address;
        if open.by_address.get(&address).is_some_and(|&n| n >= self.limits.per_address) && !open.give_up(own) {
            return None;
        }
        if open.all.len() >= self.limits.all {
            let most = open.by_address.iter().max_by_key(|a| a.1).map(|a| *a.0);
            if !open.give_up(|c| Some(c.address) == most) && !open.give_up(|_| true) {
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
        Some(Place { connection, id, of: self.clone() })
    }

    /// Closes the connection that has been idle longest; `false` if there is none.
    pub(crate) fn give_up_one(&self) -> bool {
        lock(&self.open).give_up(|_| true)
    }

    /// Closes all connections on which no answer is being given, and admits no more.
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
    fn give_up(&mut self, which: impl Fn(&Connection) -> bool) -> bool {
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
        drop((b, d)); // they had lost their places already
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
        stalled.connection.stalls(true);
        assert!(all.admit(address(2)).is_none(), "not at once");
        *lock(&stalled.connection.stalled) = Instant::now().checked_sub(2 * PATIENCE);
        stalled.connection.stalls(true);
        assert!(all.admit(address(2)).is_some());
        let taken = all.admit(address(1)).unwrap();
        taken.connection.enter(Phase::Answering);
        *lock(&taken.connection.stalled) = Instant::now().checked_sub(2 * PATIENCE);
        taken.connection.stalls(false);
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
