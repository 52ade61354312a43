//! Shutdown of a server, and the file that keeps prefixes from one run to the next.

use crate::process::{Server, model, question, wire};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const FILE: [&str; 2] = ["--prefix-cache", "kept"];

#[test]
fn idle_connections_do_not_delay_the_end_and_answers_that_run_are_finished() {
    let mut server = Server::start(&[]);
    let mut idle: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for half in &mut idle[5..10] {
        half.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: loc").unwrap();
    }
    for half in &mut idle[10..15] {
        half.write_all(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
              content-length: 999\r\n\r\n{",
        )
        .unwrap();
    }
    for kept in &mut idle[15..] {
        kept.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        assert!(kept.read(&mut [0; 1000]).unwrap() > 0);
    }
    let (_, alone) = server.stop();
    assert!(alone < Duration::from_secs(3), "the server took {alone:?} to end");

    let mut server = Server::start(&[]);
    let _idle: Vec<_> = (0..20).map(|_| server.connect()).collect();
    let mut body = question("a long answer");
    (body["max_tokens"], body["stream"]) = (900.into(), true.into());
    body["logit_bias"] = json!({"1": -100});
    let mut running = server.connect();
    running.write_all(&wire("/v1/chat/completions", "", &body)).unwrap();
    let mut text = vec![0; 300];
    running.read_exact(&mut text).unwrap();
    let (status, _) = server.stop();
    running.read_to_end(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("\"finish_reason\":\"length\"") && text.contains("data: [DONE]"), "{text}");
    assert!(status.success(), "{status}: {}", server.errors());
}

#[test]
fn a_file_of_prefixes_is_private_and_a_bad_one_is_set_aside() {
    let mut server = Server::start(&FILE);
    server.chat("what was asked before is a secret");
    assert!(server.stop().0.success(), "{}", server.errors());
    let path = server.path("kept");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let good = std::fs::read(&path).unwrap();
    let half = good[..good.len() / 2].to_vec();
    for (i, bad) in [Vec::new(), b"something else".to_vec(), half, vec![7; 100_000]].into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        model(&dir.path().join("model"));
        std::fs::write(dir.path().join("kept"), &bad).unwrap();
        let mut server = Server::start_in(dir, "", &FILE);
        server.chat("1 + 1");
        let aside = server.path("kept.unread-1");
        assert!(std::fs::read(&aside).unwrap() == bad, "file {i} is kept as it was");
        assert!(
            server.errors().contains("warning") && server.errors().contains("kept.unread-1"),
            "{}",
            server.errors()
        );
        assert!(server.stop().0.success());
        assert!(std::fs::metadata(server.path("kept")).unwrap().len() > 1000, "a new file is written");
    }
}

#[test]
fn a_full_disk_leaves_nothing_behind_and_does_not_fail_the_server() {
    let dir = tempfile::tempdir().unwrap();
    model(&dir.path().join("model"));
    // No file may grow beyond one block, and the process ignores the signal that an attempt causes.
    let mut server = Server::start_in(dir, "trap '' XFSZ; ulimit -f 1", &FILE);
    server.chat("a prompt whose keys and values take more than a block");
    let (status, _) = server.stop();
    assert!(status.success(), "{status}: {}", server.errors());
    assert!(server.errors().contains("cached prefixes are not saved"), "{}", server.errors());
    let names: Vec<_> = std::fs::read_dir(server.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|n| n.to_string_lossy().starts_with("kept")), "{names:?}");
}

#[test]
fn one_key_cannot_find_what_another_asked() {
    let server = Server::start(&["--api-key", "alice", "--api-key", "mallory"]);
    let cached = |key: &str, text: &str| {
        let reply =
            server.raw(&wire("/v1/chat/completions", &format!("authorization: Bearer {key}\r\n"), &question(text)));
        assert_eq!(reply.status(), 200, "{}", reply.0);
        reply.json()["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
    };
    let secret = "the secret is 4711 and nobody else shall know it, however often it is asked";
    assert_eq!(cached("alice", secret), 0);
    assert_eq!(cached("mallory", secret), 0, "another key finds nothing");
    assert!(cached("alice", secret) > 50, "the same key does");
    assert!(cached("mallory", secret) > 50, "and each finds its own");
}
