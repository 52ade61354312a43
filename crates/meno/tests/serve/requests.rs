//! Requests that are too large, use wrong host names, or ask for a lot of work in few bytes.

use crate::process::{PATIENCE, Server, question, wire};
use serde_json::json;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const MANY: usize = 9 << 20;

#[test]
fn a_body_over_the_limit_is_answered_before_the_connection_is_closed() {
    let server = Server::start(&[]);
    let large = json!({"messages": [{"role": "user", "content": "x".repeat(MANY)}]});
    // Send everything before reading the answer, as simple clients do.
    let mut stream = server.connect();
    stream.write_all(&wire("/v1/chat/completions", "", &large)).expect("the server reads what it rejects");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
    // The same in chunks, without a length that would reveal the size.
    let mut stream = server.connect();
    stream
        .write_all(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
              transfer-encoding: chunked\r\n\r\n",
        )
        .unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    for _ in 0..MANY / 0x10000 {
        stream.write_all(&chunk).expect("the server reads what it rejects");
    }
    let mut reply = vec![0; 12];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(reply, b"HTTP/1.1 413");
    // A missing key is reported too.
    let server = Server::start(&["--api-key", "k"]);
    assert_eq!(server.post("/v1/chat/completions", &large).status(), 401);
}

#[test]
fn huge_values_are_not_repeated_in_errors() {
    let server = Server::start(&[]);
    let huge = "äx".repeat(300_000);
    for (path, body) in [
        ("/v1/chat/completions", json!({"model": huge, "messages": []})),
        ("/v1/chat/completions", json!({"messages": [{"role": huge, "content": "x"}]})),
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": [{"type": huge}]}]})),
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": "x"}], "reasoning_effort": huge})),
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": "x"}], "tool_choice": huge})),
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": "x"}], "logit_bias": {(huge.clone()): 1}}),
        ),
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": "x"}],
                   "response_format": {"type": "grammar", "grammar": format!("start: {}", &huge[..90_000])}}),
        ),
        ("/v1/chat/completions", json!({"messages": huge})),
        ("/v1/chat/completions", json!({"n": huge})),
        ("/v1/completions", json!({"model": huge, "prompt": "x"})),
        ("/v1/responses", json!({"input": [{"type": huge}]})),
        ("/tokenize", json!({"model": huge, "prompt": "x"})),
        ("/detokenize", json!({"tokens": huge})),
    ] {
        let reply = server.post(path, &body);
        assert!(
            (400..500).contains(&reply.status()) && reply.0.len() < 2500,
            "{} bytes: {:.900}",
            reply.0.len(),
            reply.0
        );
        reply.message();
    }
    let reply = server.raw(
        format!("GET /{} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", "a".repeat(20_000)).as_bytes(),
    );
    assert!(reply.status() == 404 && reply.0.len() < 1500, "{}", reply.0);
}

#[test]
fn foreign_names_and_origins_are_refused() {
    let server = Server::start(&["--host-name", "chat.example", "--cors-origin", "https://page.example"]);
    let port = server.address.port();
    let ask = |headers: &str| server.raw(&wire("/v1/chat/completions", headers, &question("x"))).status();
    for host in ["localhost", "127.0.0.1", "[::1]", "127.0.0.9", "chat.example", "LOCALHOST"] {
        assert_eq!(ask(&format!("host: {host}:{port}\r\n")), 200, "{host}");
        assert_eq!(ask(&format!("host: {host}\r\n")), 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.nip.io", "169.254.169.254"] {
        assert_eq!(ask(&format!("host: {host}:{port}\r\n")), 403, "{host}");
    }
    assert_eq!(ask("host: localhost\r\nhost: evil.example\r\n"), 403);
    for origin in ["http://localhost:3000", "http://127.0.0.1", "https://page.example", "http://chat.example"] {
        assert_eq!(ask(&format!("origin: {origin}\r\n")), 200, "{origin}");
    }
    for origin in [
        "http://evil.example",
        "null",
        "https://page.example.evil.example",
        "http://localhost.evil.example",
        "file://localhost",
        "chrome-extension://localhost",
    ] {
        assert_eq!(ask(&format!("origin: {origin}\r\n")), 403, "{origin}");
    }
    // This applies to every path: metrics and pages are no more public than answers.
    for path in ["/", "/health", "/metrics", "/v1/models"] {
        let get = |host: &str| format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(server.raw(get("localhost").as_bytes()).status(), 200, "{path}");
        assert_eq!(server.raw(get("evil.example").as_bytes()).status(), 403, "{path}");
    }
}

#[test]
fn large_texts_to_tokenize_do_not_starve_chats() {
    let server = Server::start(&[]);
    let alone = server.chat("1 + 1");
    let before = server.memory("VmHWM:");
    let attacks = [
        ("/tokenize", json!({"prompt": "a b ".repeat(2 << 20 >> 1)})),
        ("/tokenize", json!({"prompt": "a b ".repeat(15_000)})),
        ("/tokenize", json!({"messages": [{"role": "user", "content": "x ".repeat(3 << 20)}]})),
        ("/detokenize", json!({"tokens": vec![5; 2 << 20 >> 1]})),
        ("/detokenize", json!({"tokens": vec![5; 60_000]})),
        ("/v1/completions", json!({"prompt": vec!["y ".repeat(30_000); 100]})),
        ("/v1/completions", json!({"prompt": vec![vec![5; 1000]; 1000]})),
        ("/v1/chat/completions", json!({"messages": vec![json!({"role": "user"}); 200_000]})),
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": "z".repeat(8_000_000)}]})),
        ("/v1/embeddings", json!({"input": "x ".repeat(3 << 20)})),
    ];
    std::thread::scope(|scope| {
        for (path, body) in &attacks {
            for i in 0..4 {
                let (server, bytes) = (&server, wire(path, "", body));
                scope.spawn(move || {
                    let end = Instant::now() + Duration::from_secs(6);
                    while Instant::now() < end {
                        let _ = server.raw_from([127, 0, 1, i], &bytes);
                    }
                });
            }
        }
        std::thread::sleep(Duration::from_secs(1));
        for _ in 0..5 {
            let begin = Instant::now();
            assert_eq!(server.chat("1 + 1"), alone);
            assert!(begin.elapsed() < PATIENCE / 3, "a chat took {:?}", begin.elapsed());
        }
    });
    let grown = server.memory("VmHWM:") - before;
    assert!(grown < 1200, "{grown} MiB more");
    println!("at most {grown} MiB more");
}

#[test]
fn many_values_in_few_bytes_are_refused() {
    let server = Server::start(&[]);
    let before = server.memory("VmHWM:");
    for body in [
        format!("{{\"metadata\": [{}0]}}", "0,".repeat(4_000_000)),
        format!("{{\"response_format\": [{}[]]}}", "[],".repeat(2_500_000)),
        format!("{{\"tools\": {}", "[".repeat(8_000_000)),
        format!("{{\"logit_bias\": {{{}\"0\": 0}}}}", "\"0\":0,".repeat(1_300_000)),
    ] {
        let head = "host: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n";
        for path in ["/v1/chat/completions", "/v1/responses"] {
            let bytes = format!("POST {path} HTTP/1.1\r\n{head}content-length: {}\r\n\r\n{body}", body.len());
            assert_eq!(server.raw(bytes.as_bytes()).status(), 400);
        }
    }
    let grown = server.memory("VmHWM:") - before;
    assert!(grown < 400, "{grown} MiB more");
}
