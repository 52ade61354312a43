//! Honest and malicious clients at the same time, for a while. Every honest request is accepted and gets the
//! answer that it would get alone, memory stays constant, and nothing panics.
//!
//! `cargo test -p meno --test serve` runs it for 20 s after a warm-up; `MENO_SOAK_SECONDS=600 cargo test -p
//! meno --test serve soak -- --nocapture` runs it for ten minutes.

use crate::grammars::attacks;
use crate::process::{Server, question, wire};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const HONEST: u8 = 16;
const HOSTILE: u8 = 64;
/// Malicious clients per address.
const PER_ADDRESS: u8 = 8;
const QUESTIONS: u64 = 24;
/// Maximum time of an honest answer.
const LONGEST: Duration = Duration::from_secs(60);

/// Chooses the next action of a client.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

#[derive(Default)]
struct Counts {
    honest: AtomicU64,
    hostile: AtomicU64,
    slowest_ms: AtomicU64,
    end: AtomicBool,
}

fn asked(i: u64) -> Value {
    let mut body = question(&format!("{i} and {}{}", i * i, "!".repeat((i % 4 * 40) as usize)));
    body["max_tokens"] = (10 + i % 5 * 10).into();
    body
}

fn honest(server: &Server, client: u8, alone: &[String], counts: &Counts) {
    let mut dice = Dice(client as u64);
    while !counts.end.load(Ordering::Relaxed) {
        let i = dice.below(QUESTIONS);
        let begin = Instant::now();
        let reply = server.raw_from([127, 0, 2, client + 1], &wire("/v1/chat/completions", "", &asked(i)));
        let reply = reply.unwrap_or_else(|e| panic!("question {i}: {e}"));
        assert_eq!(reply.status(), 200, "question {i}: {}", reply.0);
        assert_eq!(reply.text(), alone[i as usize], "question {i}");
        assert!(begin.elapsed() < LONGEST, "question {i} took {:?}", begin.elapsed());
        counts.slowest_ms.fetch_max(begin.elapsed().as_millis() as u64, Ordering::Relaxed);
        counts.honest.fetch_add(1, Ordering::Relaxed);
    }
}

/// Performs one malicious action.
fn attack(server: &Server, from: [u8; 4], dice: &mut Dice, grammars: &[(&'static str, Value)]) -> std::io::Result<()> {
    let chat = "/v1/chat/completions";
    let mut body = question("x");
    let bytes = match dice.below(16) {
        0 => (0..300).map(|_| dice.below(256) as u8).collect(),
        1 => {
            let good = wire(chat, "", &asked(1));
            good[..dice.below(good.len() as u64) as usize].to_vec()
        }
        2 => {
            let mut good = wire(chat, "", &asked(2));
            let at = dice.below(good.len() as u64) as usize;
            good[at] ^= 1 << dice.below(8);
            good
        }
        3 => wire("/tokenize", "", &json!({"prompt": "a b ".repeat(1 << dice.below(21))})),
        4 => wire("/detokenize", "", &json!({"tokens": vec![5; 1 << dice.below(20)]})),
        5 => wire("/v1/completions", "", &json!({"prompt": vec!["y ".repeat(400); 12], "max_tokens": 8})),
        6 => wire(chat, "", &json!({"messages": [{"role": "user", "content": "z".repeat(1 << dice.below(24))}]})),
        7 | 8 => {
            let format = &grammars[dice.below(grammars.len() as u64) as usize].1;
            body["response_format"] = format.clone();
            wire(chat, "", &body)
        }
        9 => wire(chat, "host: evil.example\r\n", &body),
        10 => [
            format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << dice.below(20))).into_bytes(),
            wire(chat, "", &body),
        ]
        .concat(),
        11 => wire(chat, "", &json!({"metadata": vec![0; 1 << dice.below(21)], "messages": []})),
        12 => format!("POST {chat} HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n{{").into_bytes(),
        13 => b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\nffffffffff\r\n"
            .to_vec(),
        _ => {
            (body["stream"], body["n"], body["max_tokens"]) = (true.into(), (1 + dice.below(6)).into(), 200.into());
            wire(chat, "", &body)
        }
    };
    let mut stream = server.connect_from(from)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let begin = dice.below(2) * dice.below(bytes.len() as u64 + 1);
    stream.write_all(&bytes[..begin as usize])?;
    if dice.below(8) == 0 {
        std::thread::sleep(Duration::from_millis(dice.below(3000)));
    }
    stream.write_all(&bytes[begin as usize..])?;
    match dice.below(4) {
        0 => return Ok(()), // disconnect immediately
        1 => std::thread::sleep(Duration::from_millis(dice.below(1000))),
        _ => {}
    }
    let mut reply = vec![0; 1 + dice.below(1 << 16) as usize];
    let _ = stream.read_exact(&mut reply);
    Ok(())
}

fn hostile(server: &Server, client: u8, counts: &Counts) {
    let (mut dice, grammars) = (Dice(1000 + client as u64), attacks());
    let grammars: Vec<_> = grammars.into_iter().filter(|g| g.1.is_object()).collect();
    while !counts.end.load(Ordering::Relaxed) {
        let _ = attack(server, [127, 0, 3, 1 + client / PER_ADDRESS], &mut dice, &grammars);
        counts.hostile.fetch_add(1, Ordering::Relaxed);
    }
}

/// Number of attacks before memory is measured.
const WARM_UP: u64 = 1500;

#[test]
fn soak() {
    let seconds = std::env::var("MENO_SOAK_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(20);
    let mut server = Server::start(&["--parallel", "8", "--queue", "128", "--per-client", "12"]);
    let alone: Vec<String> = (0..QUESTIONS).map(|i| server.post("/v1/chat/completions", &asked(i)).text()).collect();
    let (counts, shared) = (Counts::default(), &server);
    let mut memory = vec![shared.memory("VmRSS:")];
    std::thread::scope(|scope| {
        let mut honest_clients = Vec::new();
        for client in 0..HONEST {
            let (counts, alone) = (&counts, &alone);
            honest_clients.push(scope.spawn(move || honest(shared, client, alone, counts)));
        }
        for client in 0..HOSTILE {
            let counts = &counts;
            scope.spawn(move || hostile(shared, client, counts));
        }
        // On a busy machine, the tables and caches of the first attacks may take longer to fill than a
        // quarter of the time.
        let failed = || honest_clients.iter().any(|client| client.is_finished());
        while counts.hostile.load(Ordering::Relaxed) < WARM_UP && !failed() {
            std::thread::sleep(Duration::from_millis(100));
        }
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(seconds) && !failed() {
            std::thread::sleep(Duration::from_millis(seconds * 1000 / 20));
            memory.push(shared.memory("VmRSS:"));
            println!(
                "{:4} s  {:5} MiB  {} honest answers, {} attacks, slowest {} ms",
                begin.elapsed().as_secs(),
                memory[memory.len() - 1],
                counts.honest.load(Ordering::Relaxed),
                counts.hostile.load(Ordering::Relaxed),
                counts.slowest_ms.load(Ordering::Relaxed)
            );
        }
        counts.end.store(true, Ordering::Relaxed);
        honest_clients.into_iter().for_each(|client| client.join().expect("no honest client is wronged"));
    });
    assert!(counts.honest.load(Ordering::Relaxed) > 0 && counts.hostile.load(Ordering::Relaxed) > 0);
    // The first quarter fills everything that is allocated on first use: tables, caches, the allocator's reserves.
    let quarter = memory.len() / 4;
    let highest = |part: &[u64]| part.iter().copied().max().unwrap_or(0);
    let (second, last) = (highest(&memory[quarter..2 * quarter]), highest(&memory[3 * quarter..]));
    println!(
        "peak {} MiB; at the start {} MiB, highest {second} MiB in the second quarter, {last} MiB in the last",
        server.memory("VmHWM:"),
        memory[0]
    );
    assert!(last < second * 5 / 4 + 100, "memory grows: {memory:?}");
    assert!(highest(&memory) < 1500, "{memory:?}");
    assert_eq!(server.chat("1 + 1"), server.chat("1 + 1"));
    let (status, _) = server.stop();
    let errors = server.errors();
    assert!(status.success() && !errors.contains("panicked"), "{status}: {errors}");
}
