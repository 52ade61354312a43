//! Connections that cost their clients nothing, and clients that try to take all slots.

use crate::process::{PATIENCE, Server, question, wire};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const HEAD: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

/// Opens as many connections as the system permits, and sends `bytes` on each.
fn flood(server: &Server, from: [u8; 4], n: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = server.connect_from(from).ok()?;
        let _ = stream.write_all(bytes); // the server may have closed it already
        Some(stream)
    };
    (0..n).filter_map(open).collect()
}

#[test]
fn half_open_connections_hold_nobody_up() {
    let server = Server::start(&["--connections", "200", "--connections-per-address", "60"]);
    let alone = server.chat("1 + 1");
    let half = [HEAD, b"content-length: 900\r\n\r\n{\"messages\""].concat();
    // From one address, then from enough addresses to take all slots.
    let addresses = [[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 4], [127, 0, 0, 5], [127, 0, 0, 6]];
    let mut held = Vec::new();
    let health = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for bytes in [b"".as_slice(), b"POST /v1/cha", HEAD, health] {
        for from in addresses {
            held.extend(flood(&server, from, 100, bytes));
        }
        let begin = Instant::now();
        assert_eq!(server.chat("1 + 1"), alone);
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?} beside {} connections", begin.elapsed(), held.len());
        held.clear();
    }
    // Connections whose body never arrives are closed after two seconds.
    for from in addresses {
        held.extend(flood(&server, from, 50, &half));
    }
    std::thread::sleep(Duration::from_secs(4));
    let begin = Instant::now();
    assert_eq!(server.chat("1 + 1"), alone);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[test]
fn slow_heads_and_bodies_are_cut_off() {
    let server = Server::start(&[]);
    let mut head = server.connect();
    head.write_all(&HEAD[..40]).unwrap();
    let mut body = server.connect();
    body.write_all(&[HEAD, b"content-length: 900\r\n\r\n{"].concat()).unwrap();
    let begin = Instant::now();
    let mut reply = Vec::new();
    let _ = head.read_to_end(&mut reply);
    assert!(begin.elapsed() < Duration::from_secs(20), "a head may take 15 s: {:?}", begin.elapsed());
    let mut reply = String::new();
    body.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 408"), "{reply}");
    assert!(begin.elapsed() < Duration::from_secs(40), "a body may take 30 s: {:?}", begin.elapsed());
}

#[test]
fn one_key_cannot_take_all_places() {
    let server = Server::start(&["--api-key", "greedy", "--api-key", "modest", "--queue", "8", "--parallel", "4"]);
    let ask = |key: &str, n: usize| {
        let mut body = question("a long answer");
        (body["max_tokens"], body["n"], body["logit_bias"]) = (900.into(), n.into(), json!({"1": -100}));
        wire("/v1/chat/completions", &format!("authorization: Bearer {key}\r\n"), &body)
    };
    let mut greedy: Vec<TcpStream> = Vec::new();
    for _ in 0..30 {
        let mut stream = server.connect();
        stream.write_all(&ask("greedy", 1)).unwrap();
        greedy.push(stream);
    }
    // One client may have at most nine of the twelve slots: its other requests are rejected immediately.
    let mut refused = 0;
    for stream in &mut greedy {
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut start = [0; 12];
        if stream.read_exact(&mut start).is_ok() && start.ends_with(b"429") {
            refused += 1;
        }
    }
    assert!(refused >= 15, "{refused} of 30 were rejected");
    let mut body = question("1 + 1");
    body["max_tokens"] = 4.into();
    let modest = server.raw(&wire("/v1/chat/completions", "authorization: Bearer modest\r\n", &body));
    assert_eq!(modest.status(), 200, "{}", modest.0);
}

#[test]
fn a_client_that_does_not_read_its_answer_is_given_up() {
    let mut server = Server::start(&[]);
    let mut body = question("x");
    // Log-probabilities make the answer megabytes long, more than the system buffers for a client.
    (body["max_tokens"], body["n"], body["logprobs"], body["top_logprobs"]) =
        (900.into(), 16.into(), true.into(), 20.into());
    (body["stream"], body["logit_bias"]) = (true.into(), json!({"1": -100}));
    let mut stream = server.connect();
    stream.write_all(&wire("/v1/chat/completions", "", &body)).unwrap();
    stream.read_exact(&mut [0; 100]).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let (status, time) = server.stop();
    assert!(status.success() && time < PATIENCE, "{status} after {time:?}");
    drop(stream);
}
