//! Connections: accepting them, TLS, bounds on what they may hold up, and an end that lets answers finish.

use crate::app::{Server, app};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
/// A connection that sends no request for so long is closed.
const HEADER_TIME: Duration = Duration::from_secs(60);
/// A TLS handshake takes no longer.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Requests prepared at once: templates, tokenizers and grammars take processor time.
const PREPARING: usize = 4;

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Address or host name.
    pub host: String,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// Certificate chain and key, as PEM files.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Serves until SIGTERM or SIGINT, then lets what runs finish. `ready` is told the address; a second signal ends the
/// process at once.
pub fn serve(server: Arc<Server>, listen: &Listen, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let tls = listen.tls.as_ref().map(|(cert, key)| acceptor(cert, key)).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(PREPARING)
        .thread_name("http")
        .enable_all()
        .build()?;
    let engine = server.engine.clone();
    runtime.block_on(async {
        let listener = TcpListener::bind((listen.host.as_str(), listen.port))
            .await
            .map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {}:{}: {e}", listen.host, listen.port)))?;
        let stop = signals()?;
        ready(listener.local_addr()?);
        run(listener, tls, app(server), stop).await;
        Ok::<_, io::Error>(())
    })?;
    engine.shutdown().map_err(io::Error::other)
}

/// Accepts connections until `stop`, then waits for those that are open.
pub async fn run(listener: TcpListener, tls: Option<TlsAcceptor>, app: Router, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::pin!(stop);
    loop {
        let place = places.clone().acquire_owned().await;
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    // Out of file handles, most likely: some will be free soon.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let (tls, app, watcher) = (tls.clone(), app.clone(), graceful.watcher());
        tokio::spawn(async move {
            connection(stream, tls, app, watcher).await;
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, app: Router, watcher: Watcher) {
    let _ = stream.set_nodelay(true); // tokens go out one by one; without it they only come later
    match tls {
        None => http(stream, app, watcher).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIME, tls.accept(stream)).await {
                http(stream, app, watcher).await;
            }
        }
    }
}

async fn http(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, app: Router, watcher: Watcher) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    // An error is a client that went away or does not speak HTTP: nobody is left to tell.
    let _ = watcher.watch(connection).await;
}

/// Completes with the first signal to end; the second ends the process.
fn signals() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(async move {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            tokio::spawn(async move {
                tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
                std::process::exit(130);
            });
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
        tokio::spawn(async {
            let _ = tokio::signal::ctrl_c().await;
            std::process::exit(130);
        });
    })
}

/// TLS with a certificate chain and its key.
pub fn acceptor(cert: &Path, key: &Path) -> io::Result<TlsAcceptor> {
    let bad = |path: &Path, what: &str, e: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{}: expected {what}: {e}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(|certs| certs.collect::<Result<Vec<_>, _>>())
        .map_err(|e| bad(cert, "certificates in PEM", &e))?;
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|e| bad(key, "a private key in PEM", &e))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .map_err(|e| bad(cert, "a chain that fits the key", &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
