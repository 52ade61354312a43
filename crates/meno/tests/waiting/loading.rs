//! A server that listens before its model is loaded.

use super::Place;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server whose model never arrives, because the hub does not respond.
fn stuck(place: &Place, hub: &TcpListener) -> (Child, SocketAddr) {
    let mut command = place.meno(&["serve", "-m", "org/never", "--port", "0"]);
    command.env("HF_ENDPOINT", format!("http://{}", hub.local_addr().unwrap())).env("HF_HOME", place.path("hub"));
    for key in ["HF_HUB_CACHE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env_remove(key);
    }
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    errors.read_line(&mut line).unwrap();
    std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
    let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    (child, address.unwrap_or_else(|| panic!("{line}")))
}

fn ask(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "{head} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply.to_lowercase()
}

#[test]
fn a_server_that_loads_says_so_and_ends_at_once() {
    let place = Place(tempfile::tempdir().unwrap());
    let hub = TcpListener::bind("127.0.0.1:0").unwrap();
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let (mut child, address) = stuck(&place, &hub);
        let health = ask(address, "GET /health");
        assert!(health.starts_with("http/1.1 503") && health.ends_with(r#"{"status":"loading"}"#), "{health}");
        assert!(health.contains("\r\nretry-after: "), "{health}");
        let chat = ask(address, "POST /v1/chat/completions");
        assert!(chat.starts_with("http/1.1 503") && chat.contains("\"code\":\"model_loading\""), "{chat}");
        assert!(chat.contains("\r\nretry-after: ") && chat.contains("\"error\":{"), "{chat}");
        let page = ask(address, "GET /");
        assert!(page.starts_with("http/1.1 503") && page.contains("http-equiv=\"refresh\""), "{page}");
        let begin = Instant::now();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(code));
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }
}

#[test]
fn a_port_that_is_taken_is_explained_before_anything_is_loaded() {
    let place = Place(tempfile::tempdir().unwrap());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output =
        place.meno(&["serve", "-m", "org/never", "--port", &port]).env("HF_ENDPOINT", "http://127.0.0.1:9").output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{port}: another program has port {port}")), "{said}");
    assert!(!said.contains("os error") && !said.contains("loading"), "{said}");
    // The suggested port is free.
    let free = said.trim().rsplit("--port ").next().unwrap().split(' ').next().unwrap().parse::<u16>().unwrap();
    assert!(free == 0 || TcpListener::bind(("127.0.0.1", free)).is_ok(), "{said}");
}
