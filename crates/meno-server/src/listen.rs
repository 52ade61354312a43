//! Listening: accepts connections, optionally with TLS, enforces timeouts, and shuts down after running answers are
//! complete.

use crate::app::app;
use crate::clients;
use crate::connections::{Connection, ConnectionLimits, Connections, Peer, Phase};
use crate::loading::Loading;
use crate::socket::Socket;
use crate::state::Server;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use meno_model::input;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tower::ServiceExt;

/// Maximum time to receive the complete head of a request; afterwards the connection is closed.
const HEADER_TIME: Duration = Duration::from_secs(15);
/// Maximum size of a request's head in bytes.
const HEADER_BYTES: usize = 64 << 10;
/// Maximum time for a TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long to wait before the next `accept` when the process has no file handles left.
const NO_HANDLE_TIME: Duration = Duration::from_millis(10);

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Address or host name to bind.
    pub host: String,
    /// Port; 0 picks a free one.
    pub port: u16,
    /// Paths of the certificate chain and the private key, in PEM; `None`: no TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Listens, loads the server with `load`, and serves until SIGTERM or SIGINT; then finishes running answers and
/// returns. It also returns when the engine ends, with the engine's error.
///
/// Until the server is loaded, every request gets status 503 ([`Loading`]) and a signal ends the process immediately.
/// Once it is loaded, `ready` is called with the address. From then on the first signal starts the shutdown and a
/// second one ends the process.
pub fn serve<E: From<io::Error>>(
    listen: &Listen,
    limits: ConnectionLimits,
    load: impl FnOnce(SocketAddr, &Loading) -> Result<Arc<Server>, E>,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), E> {
    let tls = listen.tls.as_ref().map(|(cert, key)| acceptor(cert, key)).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(clients::WORKERS)
        .thread_name("http")
        .enable_all()
        .build()?;
    let loading = Loading::default();
    let (listener, stop) = runtime.block_on(async {
        let listener = TcpListener::bind((listen.host.as_str(), listen.port)).await;
        Ok::<_, io::Error>((listener.map_err(|e| cannot_listen(listen, &e))?, signals(&loading)?))
    })?;
    let address = listener.local_addr()?;
    let (ended, engine_ended) = tokio::sync::oneshot::channel();
    // Without the sender, the engine has not been started: only a signal counts.
    let stop = async {
        tokio::select! { () = stop => {}, Ok(()) = engine_ended => {} }
    };
    let accepting = runtime.spawn(run(listener, tls, loading.routes(), limits, stop));
    let server = load(address, &loading)?;
    server.hosts.bound(&listen.host, address.ip());
    let engine = server.engine.clone();
    loading.ready(app(server));
    ready(address);
    let waiting = engine.clone();
    std::thread::spawn(move || {
        waiting.wait();
        // Without a receiver, the server has stopped already.
        _ = ended.send(());
    });
    runtime.block_on(accepting).map_err(io::Error::other)?;
    engine.shutdown().map_err(io::Error::other)?;
    Ok(())
}

/// Explains why binding failed and what to do.
fn cannot_listen(listen: &Listen, error: &io::Error) -> io::Error {
    let Listen { host, port, .. } = listen;
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let free = (1..=100).filter_map(|more| port.checked_add(more)).find(|&p| is_free(host, p));
            let free = free.map_or("--port 0 picks a free one".to_owned(), |p| format!("{p} is free: --port {p}"));
            format!("another program has port {port}; {free}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("port {port} is reserved for the system; use one from 1024 up: --port 8000")
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; --host takes 127.0.0.1 (this machine only), 0.0.0.0 (all addresses) or \
             one of its addresses"
                .to_owned()
        }
        _ if error.to_string().contains("lookup address") => {
            "the host name has no address; --host takes an address of this machine, such as 127.0.0.1 or 0.0.0.0"
                .to_owned()
        }
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("cannot listen on {host}:{port}: {why}"))
}

fn is_free(host: &str, port: u16) -> bool {
    std::net::TcpListener::bind((host, port)).is_ok()
}

/// Accepts connections until `stop` completes. Then closes idle connections and waits for the others.
pub async fn run(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let open = Connections::new(limits);
    tokio::pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(_) => {
                    // Most likely out of file handles: close an idle connection.
                    open.close_oldest();
                    tokio::time::sleep(NO_HANDLE_TIME).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let Some(admission) = open.admit(peer.ip()) else { continue };
        let (tls, app, watcher, open) = (tls.clone(), app.clone(), graceful.watcher(), open.clone());
        tokio::spawn(async move {
            let connection = admission.connection.clone();
            tokio::select! {
                () = serve_connection(stream, tls, app, watcher, (connection.clone(), open)) => {}
                () = connection.closed() => {}
            }
            drop(admission);
        });
    }
    drop(listener);
    open.stop();
    graceful.shutdown().await;
}

async fn serve_connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    app: Router,
    watcher: Watcher,
    (connection, open): (Arc<Connection>, Arc<Connections>),
) {
    let _ = stream.set_nodelay(true); // tokens are sent one by one; Nagle's algorithm would delay them
    let wrap = (connection.clone(), open);
    match tls {
        None => http(Socket::new(stream, wrap.0, wrap.1), app, watcher, connection).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIME, tls.accept(stream)).await {
                http(Socket::new(stream, wrap.0, wrap.1), app, watcher, connection).await;
            }
        }
    }
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    app: Router,
    watcher: Watcher,
    connection: Arc<Connection>,
) {
    let service = service_fn(move |request| respond(app.clone(), connection.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // An error means that the client disconnected or does not speak HTTP: there is no client to report it to.
    let _ = watcher.watch(connection).await;
}

/// Answers a request and keeps the phase of the connection up to date.
async fn respond(
    app: Router,
    connection: Arc<Connection>,
    mut request: Request<Incoming>,
) -> Result<Response<TrackedBody>, Infallible> {
    let whole = request.body().is_end_stream();
    connection.enter(if whole { Phase::Answering } else { Phase::Reading });
    request.extensions_mut().insert(Peer(connection.clone()));
    let Ok(response) = app.oneshot(request.map(Body::new)).await;
    connection.enter(Phase::Answering);
    Ok(response.map(|body| TrackedBody { body, connection }))
}

/// The body of an answer; when it is dropped the answer is complete.
struct TrackedBody {
    body: Body,
    connection: Arc<Connection>,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        self.connection.enter(Phase::Flushing);
    }
}

/// Completes on the first SIGTERM or SIGINT. A second signal, or any signal while the model loads, ends the process.
fn signals(loading: &Loading) -> io::Result<impl Future<Output = ()> + use<>> {
    let loading = loading.clone();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(async move {
            let code = tokio::select! { _ = term.recv() => 143, _ = int.recv() => 130 };
            if !loading.is_ready() {
                std::process::exit(code);
            }
            tokio::spawn(async move {
                tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
                std::process::exit(130);
            });
        })
    }
    #[cfg(not(unix))]
    Ok(async move {
        let _ = tokio::signal::ctrl_c().await;
        if !loading.is_ready() {
            std::process::exit(130);
        }
        tokio::spawn(async {
            let _ = tokio::signal::ctrl_c().await;
            std::process::exit(130);
        });
    })
}

/// Maximum size of a PEM file in bytes.
const MAX_PEM: u64 = 1 << 20;

/// Returns a TLS acceptor for a certificate chain and its private key.
pub fn acceptor(cert: &Path, key: &Path) -> io::Result<TlsAcceptor> {
    let bad = |path: &Path, what: &str, e: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{}: expected {what}: {e}", path.display()))
    };
    let read = |path: &Path, what: &str| input::read(path, MAX_PEM).map_err(|e| bad(path, what, &e));
    let chain = CertificateDer::pem_slice_iter(&read(cert, "certificates in PEM")?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| bad(cert, "certificates in PEM", &e))?;
    let key_der = PrivateKeyDer::from_pem_slice(&read(key, "a private key in PEM")?)
        .map_err(|e| bad(key, "a private key in PEM", &e))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .map_err(|e| bad(cert, "a chain that fits the key", &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
