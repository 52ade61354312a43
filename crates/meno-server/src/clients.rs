//! Who asks, and how much of the server one client may take: by its key, or where no keys are asked for by its address.

use crate::app::Server;
use crate::bodies::{self, Bodies, Room};
use crate::connections::network;
use crate::error::ApiError;
use crate::listen::Peer;
use crate::lock::lock;
use crate::places::Places;
use crate::structured::Compiler;
use axum::extract::Request;
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Threads for what takes processor time: reading, templates, tokenizers, grammars.
pub(crate) const WORKERS: usize = 4;
/// The threads among them that prepare answers. The other one is for `/tokenize` and `/detokenize`, which wait only for
/// each other.
const PREPARING: usize = WORKERS - 1;
/// The threads among them that one client may hold.
const PER_CLIENT: usize = 2;
/// Grammars that are compiled at once for one client.
const GRAMMARS_PER_CLIENT: usize = 1;

/// A client, as limits see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Name {
    /// The salt of its key.
    Key(u64),
    /// Its address, where there are no keys.
    Address(IpAddr),
    /// There are neither keys nor connections: a test.
    Nobody,
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub struct Client {
    name: Name,
    share: Arc<Share>,
    /// When it sent the request: it has its time from then on.
    pub(crate) asked: Instant,
    /// What it sent and what is kept for it is found by nobody with another salt.
    pub(crate) salt: u64,
}

/// What one client has of the server.
#[derive(Debug)]
struct Share {
    taken: Mutex<Taken>,
    workers: Arc<Semaphore>,
    bodies: bodies::Share,
    grammars: Arc<Places>,
}

#[derive(Debug, Default)]
struct Taken {
    requests: usize,
    answers: usize,
}

/// All clients that have something of the server.
#[derive(Debug)]
pub struct Clients {
    /// Most requests, and most answers, of one client at once.
    limit: usize,
    known: Mutex<HashMap<Name, Arc<Share>>>,
    preparing: Arc<Semaphore>,
    tokenizing: Arc<Semaphore>,
    bodies: Arc<Bodies>,
}

/// Work of one kind waits for its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// An answer is prepared.
    Answer,
    /// Text is turned to tokens, or back.
    Tokens,
}

/// What a key stands for where the key itself should not: no key has zero, which is for servers without keys.
fn salt(key: &str) -> u64 {
    let bytes = digest(&SHA256, key.as_bytes());
    let first = bytes.as_ref().first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b));
    first.max(1)
}

impl Clients {
    /// With at most `limit` requests and answers of one client at once.
    pub fn new(limit: usize) -> Clients {
        Clients {
            limit,
            known: Mutex::default(),
            preparing: Arc::new(Semaphore::new(PREPARING)),
            tokenizing: Arc::new(Semaphore::new(WORKERS - PREPARING)),
            bodies: Bodies::new(),
        }
    }

    /// Who sent a request that showed `key`.
    pub(crate) fn of(&self, request: &Request, key: Option<&str>) -> Client {
        let address = request.extensions().get::<Peer>().map(|peer| peer.0.address);
        let name = match (key.map(salt), address) {
            (Some(salt), _) => Name::Key(salt),
            (None, Some(address)) => Name::Address(network(address)),
            (None, None) => Name::Nobody,
        };
        let mut known = lock(&self.known);
        // Who has nothing of the server needs no entry.
        known.retain(|_, share| Arc::strong_count(share) > 1);
        let new = || {
            Arc::new(Share {
                taken: Mutex::default(),
                workers: Arc::new(Semaphore::new(PER_CLIENT)),
                bodies: bodies::Share::new(),
                grammars: Places::new(GRAMMARS_PER_CLIENT),
            })
        };
        let share = known.entry(name).or_insert_with(new).clone();
        Client { name, share, asked: Instant::now(), salt: if let Name::Key(salt) = name { salt } else { 0 } }
    }
}

/// A part of a client's share; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Part {
    share: Arc<Share>,
    requests: usize,
    answers: usize,
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut taken = lock(&self.share.taken);
        taken.requests -= self.requests;
        taken.answers -= self.answers;
    }
}

impl Client {
    fn take(&self, server: &Server, requests: usize, answers: usize) -> Result<Part, ApiError> {
        let mut taken = lock(&self.share.taken);
        let limit = server.clients.limit;
        // A single request may ask for more answers than the limit: the engine's queue has the last word on it.
        let too_many = |taken: usize, more: usize| more > 0 && taken > 0 && taken + more > limit;
        if too_many(taken.requests, requests) || too_many(taken.answers, answers) {
            return Err(ApiError::too_many(limit, server.retry_after(), matches!(self.name, Name::Key(_))));
        }
        taken.requests += requests;
        taken.answers += answers;
        Ok(Part { share: self.share.clone(), requests, answers })
    }

    /// A place for one more request.
    pub(crate) fn request(&self, server: &Server) -> Result<Part, ApiError> {
        self.take(server, 1, 0)
    }

    /// Places for answers, running or waiting.
    pub(crate) fn answers(&self, server: &Server, n: usize) -> Result<Part, ApiError> {
        self.take(server, 0, n)
    }

    /// A compiler for the grammars of one of its requests.
    pub(crate) fn compiler<'a>(&self, server: &'a Server) -> Compiler<'a> {
        server.model.grammars.compiler(&self.share.grammars)
    }

    /// No room yet, for one of its bodies.
    pub(crate) fn room(&self, server: &Server) -> Room {
        server.clients.bodies.room(&self.share.bodies)
    }

    /// Runs `work` on a thread for such, when it is the client's turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        server: &Arc<Server>,
        kind: Work,
        work: impl FnOnce(&Arc<Server>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let kinds = match kind {
            Work::Answer => &server.clients.preparing,
            Work::Tokens => &server.clients.tokenizing,
        };
        let seconds = server.options.request_seconds;
        let turn = async {
            let own = self.share.workers.clone().acquire_owned().await;
            (own, kinds.clone().acquire_owned().await)
        };
        let turn = tokio::time::timeout_at(self.asked + Duration::from_secs(seconds), turn);
        let turn = turn.await.map_err(|_| ApiError::timeout(seconds))?;
        let shared = server.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _turn = turn; // also when the client is gone: the work goes on
            work(&shared)
        });
        task.await.unwrap_or_else(|e| Err(ApiError::internal(format!("preparing the request failed: {e}"))))
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
