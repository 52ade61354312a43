//! `meno serve`: an OpenAI-compatible server of one model.

use crate::exit;
use crate::session::{Loaded, ModelArgs, newest_run};
use anyhow::{Result, ensure};
use meno_engine::Capacity;
use meno_engine::engine::{Engine, EngineOptions};
use meno_engine::generator::Options;
use meno_server::{ConnectionLimits, Listen, Loading, Served, Server, ServerOptions};
use std::cell::OnceCell;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names a key that requests must show, as `--api-key` does.
const KEY_VARIABLE: &str = "MENO_API_KEY";

/// Arguments of `meno serve`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Address to listen on; other machines reach 0.0.0.0, not the default
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// What clients call the model (default: its own name)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Answers written at once
    #[arg(long, value_name = "N", default_value_t = 8)]
    parallel: usize,
    /// Answers that may wait; more are refused with status 429
    #[arg(long, value_name = "N", default_value_t = 128)]
    queue: usize,
    /// Answers that one client, by key or address, may have running or waiting (default: 3/4 of parallel + queue)
    #[arg(long, value_name = "N")]
    per_client: Option<usize>,
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 1024)]
    connections: usize,
    /// Connections of one address at once
    #[arg(long, value_name = "N", default_value_t = 256)]
    connections_per_address: usize,
    /// Tokens that the KV cache holds, kept beginnings included (default: parallel × context)
    #[arg(long, value_name = "TOKENS")]
    cache_tokens: Option<usize>,
    /// Keep the beginnings of prompts in this file from one run to the next
    #[arg(long, value_name = "FILE")]
    prefix_cache: Option<PathBuf>,
    /// Most seconds of a request
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Key that requests must show (repeatable; also MENO_API_KEY)
    #[arg(long, value_name = "KEY")]
    api_key: Vec<String>,
    /// Further name under which the server may be asked, as a proxy passes it on (repeatable)
    #[arg(long, value_name = "NAME")]
    host_name: Vec<String>,
    /// Origin of a web page that may use the server, or * (repeatable)
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<String>,
    /// Certificate chain in PEM, for https
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Most tokens of a thought where a request does not say
    #[arg(long, value_name = "TOKENS")]
    thinking_budget: Option<usize>,
    /// Let thoughts go in circles
    #[arg(long)]
    no_loop_breaker: bool,
}

/// Runs `meno serve`.
pub fn run(args: Args) -> Result<()> {
    ensure!(args.parallel > 0, "--parallel 0: at least one answer at once is needed");
    ensure!(args.per_client != Some(0), "--per-client 0: at least one answer at once is needed");
    ensure!(args.connections > 0 && args.connections_per_address > 0, "--connections 0: at least one is needed");
    ensure!(args.model.threads != Some(0), "--threads 0: at least one thread is needed");
    exit::survive_closed_connections();
    let path = args.model.model.clone().map_or_else(newest_run, Ok)?;
    let tls = args.tls_cert.clone().zip(args.tls_key.clone());
    let listen = Listen { host: args.host.clone(), port: args.port, tls };
    let (options, https) = (args.options(), listen.tls.is_some());
    let (limits, open) = (options.connections, options.api_keys.is_empty());
    // What the model is called is known when it is loaded.
    let name = OnceCell::new();
    let load = |address: SocketAddr, loading: &Loading| {
        eprintln!("loading {}; {}://{address} answers 503 until it is done", path.display(), scheme(https));
        let server = load(&args, options, &path, &mut |read, of| loading.progress(read, of))?;
        let _ = name.set(server.model.name.clone());
        Ok(server)
    };
    meno_server::serve(&listen, limits, load, |address| {
        greet(name.get().map_or("", String::as_str), address, https, open);
    })
}

/// Loads the model and makes it a server.
fn load(
    args: &Args,
    options: ServerOptions,
    path: &Path,
    on_read: &mut dyn FnMut(usize, usize),
) -> Result<Arc<Server>> {
    let loaded = Loaded::open_watched(path, &args.model, on_read)?;
    let name = args.name.clone().unwrap_or_else(|| loaded.name.clone());
    let Options { kv_type, speculative, .. } = args.model.generation();
    let engine = EngineOptions {
        capacity: loaded.capacity(args.parallel),
        options: Options { kv_type, speculative, cache_tokens: args.cache_tokens, ..Options::serving() },
        precision: loaded.precision,
        threads: args.model.threads,
        queue: args.queue,
        prefix_file: args.prefix_cache.clone(),
    };
    let Loaded { generation, model, tokenizer, template, taught, .. } = loaded;
    let Capacity { max_len, .. } = engine.capacity;
    let served = Served::new(name, tokenizer, template, max_len, model.config.vocab_size)?;
    let mut served = served.with_generation_config(&generation);
    served.taught = taught;
    Ok(Server::new(served, Engine::start(model, engine)?, options))
}

fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

impl Args {
    fn options(&self) -> ServerOptions {
        let from_environment = std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty());
        ServerOptions {
            api_keys: self.api_key.iter().cloned().chain(from_environment).collect(),
            cors_origins: self.cors_origin.clone(),
            host_names: self.host_name.clone(),
            connections: ConnectionLimits { all: self.connections, per_address: self.connections_per_address },
            per_client: self.per_client,
            request_seconds: self.timeout,
            thinking_budget: self.thinking_budget,
            loop_breaker: !self.no_loop_breaker,
            ..ServerOptions::default()
        }
    }
}

fn greet(name: &str, address: SocketAddr, tls: bool, open: bool) {
    let scheme = scheme(tls);
    println!("{name} is served at {scheme}://{address}");
    if std::io::stdout().is_terminal() {
        println!(
            "  page  {scheme}://{address}/\n  API   {scheme}://{address}/v1    (OpenAI's)\n  stop  Ctrl-C; answers that run are finished"
        );
    }
    if open && !address.ip().is_loopback() {
        eprintln!("warning: anybody who reaches {address} can use this server; --api-key asks for a key");
    }
}
