//! Clients and their limits. A client is identified by its API key, or by its address if no keys are configured.

use crate::body_memory::{BodyMemory, BodyReservation, ClientBodyMemory};
use crate::connections::{Peer, network};
use crate::error::ApiError;
use crate::lock::lock;
use crate::places::Places;
use axum::extract::Request;
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Worker threads for CPU-bound work: parsing, templates, tokenizers, grammars.
pub(crate) const WORKERS: usize = 4;
/// Worker threads that prepare answers. The remaining one serves `/tokenize` and `/detokenize`, which therefore wait
/// only for each other.
const PREPARING: usize = WORKERS - 1;
/// Worker threads that one client may use at once.
const WORKERS_PER_CLIENT: usize = 2;
/// Grammars that may be compiled at once for one client.
const GRAMMARS_PER_CLIENT: usize = 1;

/// The identity of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ClientId {
    /// The salt of its API key.
    Key(u64),
    /// Its address, if no keys are configured.
    Address(IpAddr),
    /// Neither a key nor a connection; only in tests.
    Anonymous,
}

/// The client that sent a request.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    id: ClientId,
    usage: Arc<ClientUsage>,
    /// When the request arrived. The time limit of the request counts from here.
    pub(crate) arrived: Instant,
    /// The salt of its cached prompt prefixes: a client with another salt cannot find them.
    pub(crate) salt: u64,
}

/// What one client is using.
#[derive(Debug)]
struct ClientUsage {
    reserved: Mutex<Reserved>,
    workers: Arc<Semaphore>,
    bodies: ClientBodyMemory,
    grammars: Arc<Places>,
}

#[derive(Debug, Default)]
struct Reserved {
    requests: usize,
    answers: usize,
}

/// All clients that currently use the server.
#[derive(Debug)]
pub struct Clients {
    /// Maximum number of concurrent requests, and of concurrent answers, per client.
    limit: usize,
    active: Mutex<HashMap<ClientId, Arc<ClientUsage>>>,
    preparing: Arc<Semaphore>,
    tokenizing: Arc<Semaphore>,
    bodies: Arc<BodyMemory>,
}

/// Kinds of work for the worker threads. Each kind has its own queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkKind {
    /// Preparing an answer.
    Answer,
    /// Converting text to tokens, or tokens to text.
    Tokens,
}

/// Permission to use a worker thread; dropping it lets the next one run.
#[derive(Debug)]
pub(crate) struct WorkerPermit {
    _permits: [Result<OwnedSemaphorePermit, tokio::sync::AcquireError>; 2],
}

/// Derives a salt from a key, so that the key itself is not stored. It is never 0, which stands for servers without
/// keys.
fn salt(key: &str) -> u64 {
    let bytes = digest(&SHA256, key.as_bytes());
    let first = bytes.as_ref().first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b));
    first.max(1)
}

impl Clients {
    /// Allows each client at most `limit` concurrent requests and `limit` concurrent answers.
    pub fn new(limit: usize) -> Clients {
        Clients {
            limit,
            active: Mutex::default(),
            preparing: Arc::new(Semaphore::new(PREPARING)),
            tokenizing: Arc::new(Semaphore::new(WORKERS - PREPARING)),
            bodies: BodyMemory::new(),
        }
    }

    /// Returns the client that sent a request; `key` is its valid API key, if any.
    pub(crate) fn client(&self, request: &Request, key: Option<&str>) -> Client {
        let address = request.extensions().get::<Peer>().map(|peer| peer.0.address);
        let id = match (key.map(salt), address) {
            (Some(salt), _) => ClientId::Key(salt),
            (None, Some(address)) => ClientId::Address(network(address)),
            (None, None) => ClientId::Anonymous,
        };
        let mut active = lock(&self.active);
        // Drop the entries of clients that use nothing any more.
        active.retain(|_, usage| Arc::strong_count(usage) > 1);
        let new = || {
            Arc::new(ClientUsage {
                reserved: Mutex::default(),
                workers: Arc::new(Semaphore::new(WORKERS_PER_CLIENT)),
                bodies: ClientBodyMemory::new(),
                grammars: Places::new(GRAMMARS_PER_CLIENT),
            })
        };
        let usage = active.entry(id).or_insert_with(new).clone();
        Client { id, usage, arrived: Instant::now(), salt: if let ClientId::Key(salt) = id { salt } else { 0 } }
    }

    /// Reserves requests and answers of a client's limit. `retry_after` gives the seconds for the error.
    pub(crate) fn reserve(
        &self,
        client: &Client,
        requests: usize,
        answers: usize,
        retry_after: impl FnOnce() -> u64,
    ) -> Result<Reservation, ApiError> {
        let mut reserved = lock(&client.usage.reserved);
        let limit = self.limit;
        // A single request may ask for more answers than the limit: the engine's queue has its own limit.
        let too_many = |reserved: usize, more: usize| more > 0 && reserved > 0 && reserved + more > limit;
        if too_many(reserved.requests, requests) || too_many(reserved.answers, answers) {
            return Err(ApiError::too_many(limit, retry_after(), matches!(client.id, ClientId::Key(_))));
        }
        reserved.requests += requests;
        reserved.answers += answers;
        Ok(Reservation { usage: client.usage.clone(), requests, answers })
    }

    /// Returns an empty reservation for one body of a client.
    pub(crate) fn body_reservation(&self, client: &Client) -> BodyReservation {
        self.bodies.reservation(&client.usage.bodies)
    }

    /// Waits until the client may use a worker thread, at most until `seconds` after its request arrived.
    pub(crate) async fn worker_permit(
        &self,
        client: &Client,
        kind: WorkKind,
        seconds: u64,
    ) -> Result<WorkerPermit, ApiError> {
        let workers = match kind {
            WorkKind::Answer => &self.preparing,
            WorkKind::Tokens => &self.tokenizing,
        };
        let permit = async {
            let own = client.usage.workers.clone().acquire_owned().await;
            WorkerPermit { _permits: [own, workers.clone().acquire_owned().await] }
        };
        let permit = tokio::time::timeout_at(client.arrived + Duration::from_secs(seconds), permit);
        permit.await.map_err(|_| ApiError::timeout(seconds))
    }
}

/// A part of a client's limit; dropping it releases it.
#[derive(Debug)]
pub(crate) struct Reservation {
    usage: Arc<ClientUsage>,
    requests: usize,
    answers: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = lock(&self.usage.reserved);
        reserved.requests -= self.requests;
        reserved.answers -= self.answers;
    }
}

impl Client {
    /// The places for the grammars of this client that are being compiled.
    pub(crate) fn grammar_places(&self) -> &Arc<Places> {
        &self.usage.grammars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salts_differ_and_are_not_zero() {
        assert_ne!(salt("one"), salt("two"));
        assert_eq!(salt("one"), salt("one"));
        assert_ne!(salt(""), 0);
    }
}
