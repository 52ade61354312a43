//! Many clients for some time, some of them misbehaving. No request is lost, nothing leaks, and every answer with
//! temperature 0 equals the one without other requests. `cargo test --test http soak -- --ignored --nocapture`;
//! `MENO_SOAK_SECONDS` sets the duration (180).

use crate::socket::{content, start, wire};
use crate::support::{Small, chat_body};
use meno_server::metrics::Outcome;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CLIENTS: usize = 32;
const QUESTIONS: u64 = 24;

/// Returns the resident memory of this process in MiB, clients included.
fn resident_mib() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0 / (1 << 20) as f64
}

/// A simple random number generator that decides what a client does next.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

fn question(i: u64) -> Value {
    let text = format!("{i} and {}{}", i * i, "!".repeat((i % 4 * 40) as usize));
    chat_body(json!({
        "messages": [{"role": "user", "content": text}], "stream": true, "max_tokens": 20 + i % 5 * 30,
        "thinking_budget": if i.is_multiple_of(3) { 10 } else { -1 },
    }))
}

#[derive(Default)]
struct Counts {
    whole: AtomicU64,
    cancelled: AtomicU64,
    malformed: AtomicU64,
    slow: AtomicU64,
    busy: AtomicU64,
}

async fn ask(address: SocketAddr, bytes: &[u8], slow: bool) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut text = Vec::new();
    if slow {
        let mut piece = [0; 900];
        loop {
            let n = stream.read(&mut piece).await.unwrap();
            if n == 0 {
                break;
            }
            text.extend_from_slice(&piece[..n]);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    } else {
        stream.read_to_end(&mut text).await.unwrap();
    }
    String::from_utf8(text).unwrap()
}

/// Sends an invalid or incomplete request.
async fn malformed(address: SocketAddr, dice: &mut Dice) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let good = wire(&question(1));
    let bytes: Vec<u8> = match dice.below(6) {
        0 => (0..300).map(|_| dice.below(256) as u8).collect(),
        1 => good[..dice.below(good.len() as u64) as usize].to_vec(),
        2 => wire(&json!({"messages": "none"})),
        3 => wire(&json!([1, 2, 3])),
        4 => b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n{".to_vec(),
        _ => {
            let mut bytes = good;
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << dice.below(8);
            bytes
        }
    };
    // The server may close the connection at any point.
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
    let mut reply = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut reply)).await;
}

async fn cancelled(address: SocketAddr, dice: &mut Dice) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&wire(&question(dice.below(QUESTIONS)))).await.unwrap();
    let mut piece = vec![0; 1 + dice.below(4000) as usize];
    let _ = stream.read_exact(&mut piece).await;
}

async fn client(address: SocketAddr, seed: u64, alone: Arc<HashMap<u64, String>>, counts: Arc<Counts>, end: Instant) {
    let mut dice = Dice(seed * 7919 + 1);
    let count = |c: &AtomicU64| c.fetch_add(1, Ordering::Relaxed);
    while Instant::now() < end {
        match dice.below(10) {
            0 => {
                malformed(address, &mut dice).await;
                count(&counts.malformed);
            }
            1 | 2 => {
                cancelled(address, &mut dice).await;
                count(&counts.cancelled);
            }
            kind => {
                let i = dice.below(QUESTIONS);
                let reply = ask(address, &wire(&question(i)), kind == 3).await;
                if reply.starts_with("HTTP/1.1 429") {
                    count(&counts.busy);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
                assert!(reply.contains("data: [DONE]"), "cut off: {reply}");
                assert_eq!(content(&reply), alone[&i], "question {i}");
                count(if kind == 3 { &counts.slow } else { &counts.whole });
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn soak() {
    let seconds = std::env::var("MENO_SOAK_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(180);
    let server = start(Small { slots: 8, queue: 20, ..Default::default() }, false).await;
    let mut alone = HashMap::new();
    for i in 0..QUESTIONS {
        alone.insert(i, content(&ask(server.address, &wire(&question(i)), false).await));
    }
    let (alone, counts) = (Arc::new(alone), Arc::new(Counts::default()));
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let clients: Vec<_> = (0..CLIENTS as u64)
        .map(|seed| tokio::spawn(client(server.address, seed, alone.clone(), counts.clone(), end)))
        .collect();
    let mut memory = Vec::new();
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(seconds.div_ceil(12))).await;
        let stats = server.client.server.engine.stats();
        memory.push(resident_mib());
        println!(
            "{:4.0} s  {:7.1} MiB  {} running  {} waiting  {} tokens",
            begin.elapsed().as_secs_f64(),
            memory[memory.len() - 1],
            stats.running,
            stats.waiting,
            stats.totals.tokens
        );
    }
    for client in clients {
        client.await.expect("no client was wronged");
    }
    let engine = &server.client.server.engine;
    let deadline = Instant::now() + Duration::from_secs(30);
    while engine.stats().running + engine.stats().waiting > 0 {
        assert!(Instant::now() < deadline, "answers that nobody waits for: {:?}", engine.stats());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let of = |c: &AtomicU64| c.load(Ordering::Relaxed);
    println!(
        "{} whole answers, {} to slow readers, {} cancelled, {} malformed, {} rejected as busy",
        of(&counts.whole),
        of(&counts.slow),
        of(&counts.cancelled),
        of(&counts.malformed),
        of(&counts.busy)
    );
    assert!(of(&counts.whole) > 0);
    assert_eq!(server.client.server.metrics.count(Outcome::Failed), 0);
    // The first sample is taken when the caches are full, so a leak per request shows at the end.
    let (first, last) = (memory[1], memory[memory.len() - 1]);
    assert!(last < first * 1.1 + 8.0, "memory grew from {first:.1} to {last:.1} MiB");
}
