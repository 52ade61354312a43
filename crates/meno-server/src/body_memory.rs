//! Memory limits for request bodies: in total and per client.
//!
//! A body reserves memory as it arrives and releases it when its request has been prepared. If a body waits too long
//! for memory, the server rejects the body that arrives most slowly. So unfinished bodies of many clients cannot block
//! others.

use crate::lock::lock;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Maximum kilobytes of bodies that are being read or prepared: in total, and per client.
const ALL: usize = 96 << 10;
const PER_CLIENT: usize = 24 << 10;
/// If a body has waited this long for memory, the server rejects the slowest body that has been arriving for at least
/// this long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Memory for all bodies.
#[derive(Debug)]
pub(crate) struct BodyMemory {
    kilobytes: Arc<Semaphore>,
    /// The incomplete bodies that hold memory.
    incomplete: Mutex<Vec<Arc<Incomplete>>>,
}

/// Memory for the bodies of one client.
#[derive(Clone, Debug)]
pub(crate) struct ClientBodyMemory(Arc<Semaphore>);

/// A body that is still arriving.
#[derive(Debug)]
struct Incomplete {
    since: Instant,
    arrival: Mutex<Arrival>,
    rejected: Notify,
}

#[derive(Debug, Default)]
struct Arrival {
    kilobytes: usize,
    /// How long the body has waited for memory in total.
    waited: Duration,
    /// Since when it has been waiting, if it waits now.
    waits_since: Option<Instant>,
}

/// Memory of one body. Dropping it releases the memory.
#[derive(Debug)]
pub(crate) struct BodyReservation {
    memory: Arc<BodyMemory>,
    client: ClientBodyMemory,
    permits: Vec<OwnedSemaphorePermit>,
    incomplete: Arc<Incomplete>,
}

impl ClientBodyMemory {
    pub(crate) fn new() -> ClientBodyMemory {
        ClientBodyMemory(Arc::new(Semaphore::new(PER_CLIENT)))
    }
}

impl BodyMemory {
    pub(crate) fn new() -> Arc<BodyMemory> {
        Arc::new(BodyMemory { kilobytes: Arc::new(Semaphore::new(ALL)), incomplete: Mutex::default() })
    }

    /// Returns an empty reservation for a body of a client.
    pub(crate) fn reservation(self: &Arc<BodyMemory>, client: &ClientBodyMemory) -> BodyReservation {
        let incomplete = Incomplete { since: Instant::now(), arrival: Mutex::default(), rejected: Notify::new() };
        BodyReservation {
            memory: self.clone(),
            client: client.clone(),
            permits: Vec::new(),
            incomplete: Arc::new(incomplete),
        }
    }

    /// Rejects the body that arrives most slowly. A body that itself waits for memory is rejected only if all do.
    fn reject_slowest(&self) {
        let now = Instant::now();
        let incomplete = lock(&self.incomplete);
        let old = incomplete.iter().filter(|body| now.duration_since(body.since) >= PATIENCE);
        let slowest = old.map(|body| (body.pace(now), body)).min_by(|a, b| {
            let ((a_waits, a_rate), (b_waits, b_rate)) = (a.0, b.0);
            a_waits.cmp(&b_waits).then(a_rate.total_cmp(&b_rate))
        });
        if let Some((_, body)) = slowest {
            body.rejected.notify_one();
        }
    }
}

impl Incomplete {
    /// Returns true if the body is waiting for memory, and its rate in kilobytes per second without the time it waited.
    fn pace(&self, now: Instant) -> (bool, f64) {
        let arrival = lock(&self.arrival);
        let waits = arrival.waits_since.map_or(Duration::ZERO, |since| now.duration_since(since));
        let read = now.duration_since(self.since).saturating_sub(arrival.waited + waits);
        (arrival.waits_since.is_some(), arrival.kilobytes as f64 / read.as_secs_f64().max(1e-3))
    }
}

impl BodyReservation {
    /// Waits until `bytes` more are available and reserves them.
    pub(crate) async fn grow(&mut self, bytes: usize) {
        let kilobytes = bytes.div_ceil(1 << 10).min(PER_CLIENT);
        self.permits.extend(self.client.0.clone().acquire_many_owned(kilobytes as u32).await.ok());
        if self.permits.len() == 1 {
            lock(&self.memory.incomplete).push(self.incomplete.clone());
        }
        let begin = Instant::now();
        lock(&self.incomplete.arrival).waits_since = Some(begin);
        let acquire = self.memory.kilobytes.clone().acquire_many_owned(kilobytes as u32);
        tokio::pin!(acquire);
        let permit = loop {
            match tokio::time::timeout(PATIENCE, &mut acquire).await {
                Ok(permit) => break permit,
                Err(_) => self.memory.reject_slowest(),
            }
        };
        self.permits.extend(permit.ok());
        let mut arrival = lock(&self.incomplete.arrival);
        arrival.kilobytes += kilobytes;
        arrival.waited += begin.elapsed();
        arrival.waits_since = None;
    }

    /// Completes when the body is rejected to free memory for others.
    pub(crate) fn rejected(&self) -> impl Future<Output = ()> + use<> {
        let incomplete = self.incomplete.clone();
        async move { incomplete.rejected.notified().await }
    }

    /// Marks the body as complete: from now on it cannot be rejected.
    pub(crate) fn complete(&self) {
        lock(&self.memory.incomplete).retain(|body| !Arc::ptr_eq(body, &self.incomplete));
    }
}

impl Drop for BodyReservation {
    fn drop(&mut self) {
        self.complete();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reserves `kilobytes`, as a body that arrives at once does.
    async fn body(bodies: &Arc<BodyMemory>, share: &ClientBodyMemory, kilobytes: usize) -> BodyReservation {
        let mut reservation = bodies.reservation(share);
        reservation.grow(kilobytes << 10).await;
        reservation
    }

    #[tokio::test(start_paused = true)]
    async fn unfinished_bodies_of_many_clients_give_way() {
        let bodies = BodyMemory::new();
        let mut unfinished = Vec::new();
        for client in 0..4 {
            let share = ClientBodyMemory::new();
            // The third client sends the least per second.
            tokio::time::sleep(Duration::from_secs(if client == 2 { 0 } else { 1 })).await;
            unfinished.push(body(&bodies, &share, if client == 2 { 1024 } else { PER_CLIENT }).await);
        }
        let rest = body(&bodies, &ClientBodyMemory::new(), PER_CLIENT - 1024).await;
        rest.complete();
        let rejected = unfinished[2].rejected();
        let slowest = unfinished.remove(2);
        let gives_way = tokio::spawn(async move {
            rejected.await;
            drop(slowest);
        });
        let begin = Instant::now();
        let late = body(&bodies, &ClientBodyMemory::new(), 1024).await;
        assert!(begin.elapsed() < 2 * PATIENCE, "{:?}", begin.elapsed());
        gives_way.await.unwrap();
        drop((late, rest));
        assert_eq!(lock(&bodies.incomplete).len(), 3);
    }

    /// If all bodies wait for more memory, they do not block each other.
    #[tokio::test(start_paused = true)]
    async fn one_of_many_that_wait_gives_way() {
        let bodies = BodyMemory::new();
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let mut reservation = bodies.reservation(&ClientBodyMemory::new());
                tokio::spawn(async move {
                    let rejected = reservation.rejected();
                    let grow = async {
                        for _ in 0..16 {
                            reservation.grow(1 << 20).await;
                            tokio::task::yield_now().await;
                        }
                    };
                    tokio::select! { () = grow => true, () = rejected => false }
                })
            })
            .collect();
        let mut complete = 0;
        for reader in readers {
            complete += usize::from(reader.await.unwrap());
        }
        assert!((6..8).contains(&complete), "{complete}");
    }
}
