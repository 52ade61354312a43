//! The state that every handler shares: the served model, its engine, the options, the metrics, the host names and the
//! clients.

use crate::body_memory::BodyReservation;
use crate::clients::{Client, Clients, Reservation, WorkKind};
use crate::connections::ConnectionLimits;
use crate::error::ApiError;
use crate::hosts::Hosts;
use crate::metrics::{Metrics, Outcome};
use crate::model::ServedModel;
use crate::structured::Compiler;
use axum::http::StatusCode;
use meno_engine::engine::{Engine, EngineOptions};
use meno_engine::{Error, TextModel};
use std::sync::Arc;

/// Answers that may wait for a free slot, by default.
const QUEUE: usize = 128;

/// Settings of the server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// API keys; a request must carry one of them. If empty, no key is required.
    pub api_keys: Vec<String>,
    /// Origins of web pages that may use the server; `*` for all.
    pub cors_origins: Vec<String>,
    /// Host names that requests may use, in addition to the server's own.
    pub host_names: Vec<String>,
    /// Limits on open connections.
    pub connections: ConnectionLimits,
    /// Maximum number of answers per client, running and queued; `None`: three quarters of slots plus queue.
    pub per_client: Option<usize>,
    /// Maximum size of a request body in bytes.
    pub body_bytes: usize,
    /// Maximum duration of a request in seconds, waiting included.
    pub request_seconds: u64,
    /// Thinking budget in tokens for requests that set none; `None`: no limit.
    pub thinking_budget: Option<usize>,
    /// True if thinking that repeats itself is ended.
    pub loop_breaker: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            api_keys: Vec::new(),
            cors_origins: Vec::new(),
            host_names: Vec::new(),
            connections: ConnectionLimits::default(),
            per_client: None,
            body_bytes: 8 << 20,
            request_seconds: 600,
            thinking_budget: None,
            loop_breaker: true,
        }
    }
}

/// The state of a server.
pub struct Server {
    /// The model's name, tokenizer and chat template.
    pub model: ServedModel,
    /// The engine that runs the model's network.
    pub engine: Engine,
    /// The settings.
    pub options: ServerOptions,
    /// The counters for `/metrics`.
    pub metrics: Metrics,
    /// The host names that the server answers to.
    pub hosts: Hosts,
    /// The clients and their limits.
    pub clients: Clients,
}

impl Server {
    /// Creates the state for a model and the engine that runs its network.
    pub fn new(model: ServedModel, engine: Engine, options: ServerOptions) -> Arc<Server> {
        let all = engine.options().generator.slots + engine.options().queue;
        let clients = Clients::new(options.per_client.unwrap_or((all * 3).div_ceil(4)));
        let hosts = Hosts::new(&options.host_names);
        Arc::new(Server { model, engine, options, metrics: Metrics::default(), hosts, clients })
    }

    /// Starts a model on a separate thread and serves it, `parallel` answers at the same time, with default settings
    /// for the rest. The [`crate::app()`] of the server can be nested into any axum app.
    pub fn start(text: TextModel, parallel: usize, options: ServerOptions) -> Result<Arc<Server>, Error> {
        let context = text.default_context();
        let engine = EngineOptions {
            generator: text.generator_config(parallel, context).serving(),
            threads: None,
            queue: QUEUE,
            prefix_file: None,
        };
        let (served, model) = ServedModel::split(text, context)?;
        Ok(Server::new(served, Engine::start(model, engine)?, options))
    }

    /// Counts a request that was rejected before it reached the engine.
    pub fn count_rejection(&self, error: &ApiError) {
        match error.status {
            StatusCode::TOO_MANY_REQUESTS => self.metrics.ended(Outcome::Busy),
            status if status.is_server_error() => self.metrics.ended(Outcome::Failed),
            _ => self.metrics.ended(Outcome::Invalid),
        }
    }

    /// Estimates the seconds until a slot is free: the mean duration of an answer times the number of rounds that the
    /// queue needs.
    pub fn retry_after(&self) -> u64 {
        let stats = self.engine.stats();
        let mean = self.metrics.request_times.mean().unwrap_or(1.0);
        let rounds = stats.waiting as f64 / self.engine.options().generator.slots.max(1) as f64;
        (mean * rounds).ceil().clamp(1.0, 60.0) as u64
    }

    /// Reserves one request of the client's limit.
    pub(crate) fn reserve_request(&self, client: &Client) -> Result<Reservation, ApiError> {
        self.clients.reserve(client, 1, 0, || self.retry_after())
    }

    /// Reserves `n` answers, running or queued, of the client's limit.
    pub(crate) fn reserve_answers(&self, client: &Client, n: usize) -> Result<Reservation, ApiError> {
        self.clients.reserve(client, 0, n, || self.retry_after())
    }

    /// Returns a compiler for the grammars of one request of a client.
    pub(crate) fn compiler(&self, client: &Client) -> Compiler<'_> {
        self.model.grammars.compiler(client.grammar_places())
    }

    /// Returns an empty reservation for one body of a client.
    pub(crate) fn body_reservation(&self, client: &Client) -> BodyReservation {
        self.clients.body_reservation(client)
    }

    /// Runs `work` on a worker thread when it is the client's turn.
    pub(crate) async fn run_blocking<T: Send + 'static>(
        self: &Arc<Self>,
        client: &Client,
        kind: WorkKind,
        work: impl FnOnce(&Arc<Server>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = self.clients.worker_permit(client, kind, self.options.request_seconds).await?;
        let shared = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit; // keep it even if the client disconnects: the work continues
            work(&shared)
        });
        task.await.unwrap_or_else(|e| Err(ApiError::internal(format!("preparing the request failed: {e}"))))
    }
}
