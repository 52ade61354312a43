//! Any bytes on a connection, cut in two: an answer or a closed connection, and a server that still answers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meno_engine::engine::{Engine, EngineOptions};
use meno_engine::tokenizer::CharacterLevel;
use meno_engine::{GeneratorConfig, Tokenizer};
use meno_model::{Config, Model};
use meno_server::{ServedModel, Server, ServerOptions, app, listen};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

const CONTEXT: usize = 128;

static ADDRESS: LazyLock<SocketAddr> = LazyLock::new(|| {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            tell.send(listener.local_addr().expect("an address")).expect("somebody waits");
            let server = server();
            let limits = server.options.connections;
            listen::run(listener, None, app(server), limits, std::future::pending()).await;
        });
    });
    told.recv().expect("the server listens")
});

fn server() -> std::sync::Arc<Server> {
    let alphabet: String = (' '..='~').chain(['\n']).collect();
    let plan = CharacterLevel {
        special: &["<eos>", "<unk>"],
        alphabet: &alphabet,
        eos: "<eos>",
        unk: "<unk>",
        ..Default::default()
    };
    let tokenizer = Tokenizer::character_level(&plan).expect("a tokenizer of characters");
    let config = json!({
        "model_type": "qwen2", "vocab_size": tokenizer.vocab_size(), "hidden_size": 16, "intermediate_size": 16,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
        "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "tie_word_embeddings": true, "initializer_range": 0.3, "hidden_act": "silu"
    });
    let config = Config::from_value("config.json", config).expect("a sound config");
    let model = Model::random(config, 4).expect("a model");
    let served = ServedModel::new("small".into(), tokenizer, None, CONTEXT, model.config.vocab_size).expect("a model");
    let options = EngineOptions {
        generator: GeneratorConfig { step_rows: 32, ..GeneratorConfig::new(4, CONTEXT).serving() },
        threads: Some(1),
        queue: 16,
        prefix_file: None,
    };
    Server::new(served, Engine::start(model, options).expect("an engine"), ServerOptions::default())
}

/// What the server replies to these bytes. `ended`: nothing follows, which the server may take for a disconnect.
fn talk(parts: &[&[u8]], ended: bool) -> Vec<u8> {
    let mut reply = Vec::new();
    let Ok(mut stream) = TcpStream::connect(*ADDRESS) else { return reply };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    for part in parts {
        if stream.write_all(part).is_err() {
            break;
        }
    }
    if ended {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let _ = stream.read_to_end(&mut reply);
    reply
}

fuzz_target!(|data: &[u8]| {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let cut = cut as usize * bytes.len() / 256;
    talk(&[&bytes[..cut], &bytes[cut..]], true);
    // The same as a body, so that the code behind the HTTP framing is reached too.
    let path = ["chat/completions", "completions", "responses"][cut % 3];
    let head = format!(
        "POST /v1/{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        bytes.len()
    );
    assert!(talk(&[head.as_bytes(), bytes], false).starts_with(b"HTTP/1.1 "), "a whole request is answered");
    let health = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert!(talk(&[health], false).starts_with(b"HTTP/1.1 200"), "the server goes on");
});
