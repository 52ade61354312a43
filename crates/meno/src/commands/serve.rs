//! `meno serve`: an OpenAI-compatible server for one model.

use crate::arguments::size;
use crate::exit;
use crate::open::{self, at_home};
use crate::output::{self, Inputs};
use crate::session::ModelArgs;
use anyhow::{Result, ensure};
use clap::builder::NonEmptyStringValueParser;
use meno_engine::Error;
use meno_engine::GeneratorConfig;
use meno_engine::engine::{Engine, EngineOptions};
use meno_model::Model;
use meno_server::{ConnectionLimits, Listen, Loading, ServedModel, Server, ServerOptions};
use std::cell::OnceCell;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The environment variable with the key that requests must present, equivalent to `--api-key`.
const KEY_VARIABLE: &str = "MENO_API_KEY";

/// Arguments of `meno serve`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Address to listen on; 0.0.0.0 lets other machines connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    port: u16,
    /// Name of the model in the API (repeatable: requests may use any of the names, answers use the first) [default:
    /// its file or directory name]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    name: Vec<String>,
    /// Concurrent sequences: how many answers are generated at the same time
    #[arg(long, value_name = "N", default_value_t = 8)]
    parallel: usize,
    /// Requests that may wait for a free sequence; further requests are rejected with status 429
    #[arg(long, value_name = "N", default_value_t = 128)]
    queue: usize,
    /// Maximum number of running and waiting answers per client (API key or address) [default: 3/4 of parallel + queue]
    #[arg(long, value_name = "N")]
    per_client: Option<usize>,
    /// Maximum number of open connections
    #[arg(long, value_name = "N", default_value_t = 1024)]
    connections: usize,
    /// Maximum number of open connections per address
    #[arg(long, value_name = "N", default_value_t = 256)]
    connections_per_address: usize,
    /// Size of the KV cache in tokens, cached prompt prefixes included, e.g. 64k [default: parallel × context]
    #[arg(long, value_name = "TOKENS", value_parser = size)]
    cache_tokens: Option<usize>,
    /// Save cached prompt prefixes to this file at exit and load them at startup
    #[arg(long, value_name = "FILE")]
    prefix_cache: Option<PathBuf>,
    /// Time limit of a request, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// API key that requests must carry (repeatable; also the environment variable MENO_API_KEY)
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    api_key: Vec<String>,
    /// Accept requests for this host name too, e.g. the one that a proxy passes on (repeatable)
    #[arg(long, value_name = "NAME")]
    host_name: Vec<String>,
    /// Allow web pages of this origin to use the server, or * for all (repeatable)
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    cors_origin: Vec<String>,
    /// Certificate chain for https, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Maximum number of thinking tokens for requests that set no budget
    #[arg(long, value_name = "TOKENS", value_parser = size)]
    thinking_budget: Option<usize>,
    /// Do not stop thinking that repeats itself
    #[arg(long)]
    no_loop_breaker: bool,
}

/// Runs `meno serve`.
pub(crate) fn run(args: Args) -> Result<()> {
    ensure!(args.parallel > 0, "--parallel 0: expected at least 1");
    ensure!(args.per_client != Some(0), "--per-client 0: expected at least 1");
    ensure!(args.connections > 0 && args.connections_per_address > 0, "--connections 0: expected at least 1");
    exit::survive_closed_connections();
    exit::return_large_blocks();
    let path = args.model.name.or_newest()?;
    args.check(&path)?;
    let tls = args.tls_cert.clone().zip(args.tls_key.clone());
    let listen = Listen { host: args.host.clone(), port: args.port, tls };
    let (options, https) = (args.options(), listen.tls.is_some());
    let (limits, open) = (options.connections, options.api_keys.is_empty());
    // The model's name is known only after loading.
    let name = OnceCell::new();
    let load = |address: SocketAddr, loading: &Loading| {
        eprintln!("loading {}; {}://{address} answers 503 until it is loaded", path.display(), scheme(https));
        let server = load(&args, options, &path, &mut |read, of| loading.progress(read, of))?;
        let _ = name.set(server.model.name.clone());
        Ok(server)
    };
    meno_server::serve(&listen, limits, load, |address| {
        greet(name.get().map_or("", String::as_str), address, https, open);
    })
}

/// Loads the model and starts its server.
fn load(
    args: &Args,
    options: ServerOptions,
    path: &Path,
    on_read: &mut dyn FnMut(usize, usize),
) -> Result<Arc<Server>> {
    let (text, context) = args.model.load(path, on_read)?;
    let mut names = args.name.iter().cloned();
    let generator = args.model.generator_config(&text, args.parallel, context).serving();
    let engine = EngineOptions {
        generator: GeneratorConfig { cache_tokens: args.cache_tokens, ..generator },
        threads: Some(args.model.threads.count).filter(|n| *n > 0),
        queue: args.queue,
        prefix_file: args.prefix_cache.clone(),
    };
    let (mut served, model) = ServedModel::split(text, context)?;
    if let Some(name) = names.next() {
        served.name = name;
    }
    served.aliases = names.collect();
    Ok(Server::new(served, start(model, engine)?, options))
}

fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

/// Starts the engine; an error about the cache size names the option that sets it.
fn start(model: Model, options: EngineOptions) -> Result<Engine> {
    let tokens = options.generator.cache_tokens;
    Engine::start(model, options).map_err(|error| match (error, tokens) {
        (error @ Error::CacheTooSmall { .. }, Some(tokens)) => anyhow::anyhow!("--cache-tokens {tokens}: {error}"),
        (error, _) => error.into(),
    })
}

/// Parses an origin of web pages: `*`, or scheme and host, plus the port if it is not the default.
fn origin(text: &str) -> Result<String, String> {
    let host = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let host = host.map(|host| host.trim_end_matches('/'));
    match host {
        _ if text == "*" => Ok(text.to_owned()),
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', ' ']) => Ok(text.to_owned()),
        _ => Err("expected *, or an origin such as https://example.org or http://localhost:3000".into()),
    }
}

impl Args {
    /// Fails early on problems that would cause a failure or a loss later: a model that cannot be opened, a
    /// prefix file that is the model itself or cannot be written.
    fn check(&self, path: &Path) -> Result<()> {
        // A model of the hub is downloaded after the server has bound its address.
        let local = at_home(path);
        if local.exists() {
            open::model(path)?;
        }
        if let Some(file) = &self.prefix_cache {
            output::file("--prefix-cache", file, true, &Inputs::default().with(&local))?;
        }
        Ok(())
    }

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
            "  page  {scheme}://{address}/\n  API   {scheme}://{address}/v1    (OpenAI's)\n  \
             stop  Ctrl-C; running answers are finished first"
        );
    }
    if open && !address.ip().is_loopback() {
        eprintln!("warning: anyone who can reach {address} can use this server; use --api-key to require a key");
    }
}
