//! Room in memory for the bodies of requests: of all clients, and of one.
//!
//! A body takes room as it arrives and keeps it until its request is prepared. Where a body waits too long for room, the
//! one that arrives slowest is refused: unfinished bodies of many clients cannot keep others out.

use crate::lock::lock;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Kilobytes of bodies that are being read or prepared: of all clients, and of one.
const ALL: usize = 96 << 10;
const PER_CLIENT: usize = 24 << 10;
/// A body that waits this long for room makes the server refuse the slowest one that has been read for as long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Room for all bodies.
#[derive(Debug)]
pub(crate) struct Bodies {
    kilobytes: Arc<Semaphore>,
    /// The bodies that hold room and are not complete.
    incomplete: Mutex<Vec<Arc<Incomplete>>>,
}

/// Room for the bodies of one client.
#[derive(Clone, Debug)]
pub(crate) struct Share(Arc<Semaphore>);

/// A body that is being read.
#[derive(Debug)]
struct Incomplete {
    since: Instant,
    arrival: Mutex<Arrival>,
    refused: Notify,
}

#[derive(Debug, Default)]
struct Arrival {
    kilobytes: usize,
    /// Time that the body has waited for room.
    waited: Duration,
    /// Since when it waits now.
    waits_since: Option<Instant>,
}

/// Room for one body. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Room {
    bodies: Arc<Bodies>,
    share: Share,
    permits: Vec<OwnedSemaphorePermit>,
    incomplete: Arc<Incomplete>,
}

impl Share {
    pub(crate) fn new() -> Share {
        Share(Arc::new(Semaphore::new(PER_CLIENT)))
    }
}

impl Bodies {
    pub(crate) fn new() -> Arc<Bodies> {
        Arc::new(Bodies { kilobytes: Arc::new(Semaphore::new(ALL)), incomplete: Mutex::default() })
    }

    /// No room yet, for a body of the client with this share.
    pub(crate) fn room(self: &Arc<Bodies>, share: &Share) -> Room {
        let incomplete = Incomplete { since: Instant::now(), arrival: Mutex::default(), refused: Notify::new() };
        Room { bodies: self.clone(), share: share.clone(), permits: Vec::new(), incomplete: Arc::new(incomplete) }
    }

    /// Refuses the body that arrives slowest. One that waits for room itself goes only if all do.
    fn refuse_slowest(&self) {
        let now = Instant::now();
        let incomplete = lock(&self.incomplete);
        let old = incomplete.iter().filter(|body| now.duration_since(body.since) >= PATIENCE);
        let slowest = old.map(|body| (body.pace(now), body)).min_by(|a, b| {
            let ((a_waits, a_rate), (b_waits, b_rate)) = (a.0, b.0);
            a_waits.cmp(&b_waits).then(a_rate.total_cmp(&b_rate))
        });
        if let Some((_, body)) = slowest {
            body.refused.notify_one();
        }
    }
}

impl Incomplete {
    /// Whether the body waits for room, and the kilobytes that arrived in a second in which it did not.
    fn pace(&self, now: Instant) -> (bool, f64) {
        let arrival = lock(&self.arrival);
        let waits = arrival.waits_since.map_or(Duration::ZERO, |since| now.duration_since(since));
        let read = now.duration_since(self.since).saturating_sub(arrival.waited + waits);
        (arrival.waits_since.is_some(), arrival.kilobytes as f64 / read.as_secs_f64().max(1e-3))
    }
}

impl Room {
    /// Waits for room for `bytes` more.
    pub(crate) async fn grow(&mut self, bytes: usize) {
        let kilobytes = bytes.div_ceil(1 << 10).min(PER_CLIENT);
        self.permits.extend(self.share.0.clone().acquire_many_owned(kilobytes as u32).await.ok());
        if self.permits.len() == 1 {
            lock(&self.bodies.incomplete).push(self.incomplete.clone());
        }
        let begin = Instant::now();
        lock(&self.incomplete.arrival).waits_since = Some(begin);
        let acquire = self.bodies.kilobytes.clone().acquire_many_owned(kilobytes as u32);
        tokio::pin!(acquire);
        let permit = loop {
            match tokio::time::timeout(PATIENCE, &mut acquire).await {
                Ok(permit) => break permit,
                Err(_) => self.bodies.refuse_slowest(),
            }
        };
        self.permits.extend(permit.ok());
        let mut arrival = lock(&self.incomplete.arrival);
        arrival.kilobytes += kilobytes;
        arrival.waited += begin.elapsed();
        arrival.waits_since = None;
    }

    /// Returns when the body is refused so that others have room.
    pub(crate) fn refused(&self) -> impl Future<Output = ()> + use<> {
        let incomplete = self.incomplete.clone();
        async move { incomplete.refused.notified().await }
    }

    /// Notes that the body is complete: it can no longer be refused.
    pub(crate) fn complete(&self) {
        lock(&self.bodies.incomplete).retain(|body| !Arc::ptr_eq(body, &self.incomplete));
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.complete();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `kilobytes` of room, as a body that arrives at once.
    async fn body(bodies: &Arc<Bodies>, share: &Share, kilobytes: usize) -> Room {
        let mut room = bodies.room(share);
        room.grow(kilobytes << 10).await;
        room
    }

    #[tokio::test(start_paused = true)]
    async fn unfinished_bodies_of_many_clients_give_way() {
        let bodies = Bodies::new();
        let mut unfinished = Vec::new();
        for client in 0..4 {
            let share = Share::new();
            // The third has sent least in its time.
            tokio::time::sleep(Duration::from_secs(if client == 2 { 0 } else { 1 })).await;
            unfinished.push(body(&bodies, &share, if client == 2 { 1024 } else { PER_CLIENT }).await);
        }
        let rest = body(&bodies, &Share::new(), PER_CLIENT - 1024).await;
        rest.complete();
        let refused = unfinished[2].refused();
        let slowest = unfinished.remove(2);
        let gives_way = tokio::spawn(async move {
            refused.await;
            drop(slowest);
        });
        let begin = Instant::now();
        let late = body(&bodies, &Share::new(), 1024).await;
        assert!(begin.elapsed() < 2 * PATIENCE, "{:?}", begin.elapsed());
        gives_way.await.unwrap();
        drop((late, rest));
        assert_eq!(lock(&bodies.incomplete).len(), 3);
    }

    /// Bodies that all wait for more room do not wait for each other.
    #[tokio::test(start_paused = true)]
    async fn one_of_many_that_wait_gives_way() {
        let bodies = Bodies::new();
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let mut room = bodies.room(&Share::new());
                tokio::spawn(async move {
                    let refused = room.refused();
                    let grow = async {
                        for _ in 0..16 {
                            room.grow(1 << 20).await;
                            tokio::task::yield_now().await;
                        }
                    };
                    tokio::select! { () = grow => true, () = refused => false }
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
