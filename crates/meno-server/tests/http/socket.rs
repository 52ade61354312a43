//! Tests over a real socket: streams, clients that disconnect, TLS, and graceful shutdown.

use crate::concurrency::endless;
use crate::support::{Client, Small, chat_body};
use meno_server::listen;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A running server that can be stopped.
pub(crate) struct Running {
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) ended: JoinHandle<()>,
}

pub(crate) async fn start(small: Small, tls: bool) -> Running {
    let client = small.client();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let acceptor = || listen::acceptor(&fixtures.join("localhost.crt"), &fixtures.join("localhost.key")).unwrap();
    let tls = tls.then(acceptor);
    let (app, limits) = (client.app.clone(), client.server.options.connections);
    let ended = tokio::spawn(async move {
        let stopped = async { _ = stopped.await };
        listen::run(listener, tls, app, limits, stopped).await;
    });
    Running { client, address, stop: Some(stop), ended }
}

/// Returns the bytes of an HTTP request.
pub(crate) fn wire(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                content-type: application/json";
    format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Sends a request and reads the response to the end.
async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, body: &Value) -> String {
    stream.write_all(&wire(body)).await.unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

/// Returns the text of a streamed answer from the bytes of the response. Every event is in one chunk.
pub(crate) fn content(response: &str) -> String {
    let events = response.lines().filter_map(|l| l.strip_prefix("data: ")).filter(|d| *d != "[DONE]");
    let parsed = events.map(|d| serde_json::from_str::<Value>(d).unwrap());
    let delta = |e: Value| {
        let delta = &e["choices"][0]["delta"];
        let of = |key: &str| delta[key].as_str().unwrap_or_default().to_owned();
        of("reasoning_content") + &of("content")
    };
    parsed.map(delta).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_reach_plain_and_tls_clients_alike() {
    let body = chat_body(json!({"stream": true}));
    let plain = start(Small::default(), false).await;
    let stream = TcpStream::connect(plain.address).await.unwrap();
    let expected = talk(stream, &body).await;
    assert!(expected.starts_with("HTTP/1.1 200 OK\r\n"), "{expected}");
    assert!(content(&expected).len() > 10 && expected.contains("data: [DONE]"));

    let tls = start(Small::default(), true).await;
    let mut roots = RootCertStore::empty();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/localhost.crt");
    roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let stream = TcpStream::connect(tls.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await.unwrap();
    assert_eq!(content(&talk(stream, &body).await), content(&expected));
    // A client that does not speak TLS does not block others.
    let mut lost = TcpStream::connect(tls.address).await.unwrap();
    lost.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = lost.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_disconnects_frees_its_slot() {
    let server = start(Small { slots: 1, ..Default::default() }, false).await;
    let engine = server.client.server.engine.clone();
    for stream in [true, false] {
        let body = chat_body(endless(json!({"stream": stream, "n": 100})));
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        connection.write_all(&wire(&body)).await.unwrap();
        while engine.stats().running == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(connection);
        let mut patience = 6000;
        while engine.stats().running + engine.stats().waiting > 0 {
            patience -= 1;
            assert!(patience > 0, "the place is not freed (stream: {stream})");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(engine.stats().totals.tokens < 100 * 580, "the answers were written to their ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_waits_for_running_answers() {
    let mut server = start(Small::default(), false).await;
    let body = chat_body(json!({"stream": true, "max_tokens": 400, "loop_breaker": false}));
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    connection.write_all(&wire(&body)).await.unwrap();
    let mut first = [0; 64];
    connection.read_exact(&mut first).await.unwrap();
    server.stop.take().unwrap().send(()).unwrap();
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).await.unwrap();
    let text = String::from_utf8([first.to_vec(), rest].concat()).unwrap();
    assert!(text.contains("\"finish_reason\":\"") && text.contains("data: [DONE]"), "{text}");
    tokio::time::timeout(Duration::from_secs(60), server.ended).await.expect("the server ends").unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
