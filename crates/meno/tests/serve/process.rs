//! A `meno serve` process with a small random model, and raw connections to it.

use meno_engine::Tokenizer;
use meno_engine::tokenizer::CharacterLevel;
use meno_model::{Config, Dtype, Model};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const TEMPLATE: &str = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}\
                        {% if add_generation_prompt %}a:{% endif %}";

/// Maximum wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn model(dir: &Path) {
    let alphabet: String = (' '..='~').chain(['\n', 'ä', '中']).collect();
    let tokenizer = Tokenizer::character_level(&CharacterLevel {
        special: &["<pad>", "<eos>", "<unk>"],
        alphabet: &alphabet,
        eos: "<eos>",
        pad: Some("<pad>"),
        unk: "<unk>",
        ..Default::default()
    })
    .unwrap();
    let config = json!({
        "model_type": "qwen2", "vocab_size": tokenizer.vocab_size(), "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true, "initializer_range": 0.3,
        "hidden_act": "silu"
    });
    Model::random(Config::from_value("config.json", config).unwrap(), 4).unwrap().save(dir, Dtype::F32).unwrap();
    tokenizer.save(dir, Some(TEMPLATE)).unwrap();
}

/// A server; dropping it ends the process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) child: Child,
    pub(crate) dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub(crate) fn start(args: &[&str]) -> Server {
        let dir = tempfile::tempdir().unwrap();
        model(&dir.path().join("model"));
        Server::start_in(dir, "", args)
    }

    /// Starts in a directory with a model; the shell runs the commands in `before` first.
    pub(crate) fn start_in(dir: tempfile::TempDir, before: &str, args: &[&str]) -> Server {
        let mut command = Command::new("sh");
        let program = env!("CARGO_BIN_EXE_meno");
        command.args(["-c", &format!("{before}\nexec \"$@\""), "sh", program, "serve", "-m", "model", "--port", "0"]);
        command.args(["--threads", "1"]).args(args).current_dir(dir.path()).env_remove("MENO_API_KEY");
        let errors = std::fs::File::create(dir.path().join("stderr")).unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("//").next().unwrap().parse();
        let address =
            address.unwrap_or_else(|_| panic!("{line}{}", std::fs::read_to_string(dir.path().join("stderr")).unwrap()));
        Server { address, child, dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn errors(&self) -> String {
        std::fs::read_to_string(self.path("stderr")).unwrap()
    }

    /// The CPU time that the server has used.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Memory in MiB: `VmRSS` is the current value, `VmHWM` the peak.
    pub(crate) fn memory(&self, which: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix(which)).unwrap();
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap() >> 10
    }

    /// Sends SIGTERM; returns the exit status and the time until the end.
    pub(crate) fn stop(&mut self) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, begin.elapsed());
            }
            assert!(begin.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Connects from an address of the loopback network.
    pub(crate) fn connect_from(&self, from: [u8; 4]) -> std::io::Result<TcpStream> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind((IpAddr::from(from), 0).into())?;
            socket.connect(self.address).await
        })?;
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        self.connect_from([127, 0, 0, 1]).unwrap()
    }

    /// Sends bytes and reads the response to its end.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Reply {
        self.raw_from([127, 0, 0, 1], bytes).unwrap()
    }

    pub(crate) fn raw_from(&self, from: [u8; 4], bytes: &[u8]) -> std::io::Result<Reply> {
        let mut stream = self.connect_from(from)?;
        // The server may answer and close the connection before it has read everything.
        let sent = stream.write_all(bytes);
        let mut reply = Vec::new();
        let read = stream.read_to_end(&mut reply);
        if reply.is_empty() {
            sent?;
            read?;
        }
        Ok(Reply(String::from_utf8_lossy(&reply).into_owned()))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.raw(&wire(path, "", body))
    }

    /// The answer of a chat request, which must succeed.
    #[track_caller]
    pub(crate) fn chat(&self, text: &str) -> String {
        let reply = self.post("/v1/chat/completions", &question(text));
        assert_eq!(reply.status(), 200, "{}", reply.0);
        reply.text()
    }
}

pub(crate) struct Reply(pub(crate) String);

impl Reply {
    #[track_caller]
    pub(crate) fn status(&self) -> u16 {
        let status = self.0.split(' ').nth(1).and_then(|s| s.parse().ok());
        status.unwrap_or_else(|| panic!("no status: {:?}", self.0.chars().take(300).collect::<String>()))
    }

    pub(crate) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |p| p.1)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.body()).unwrap_or_else(|e| panic!("{e}: {}", self.0))
    }

    /// The text of a chat response.
    #[track_caller]
    pub(crate) fn text(&self) -> String {
        self.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_else(|| panic!("{}", self.0)).to_owned()
    }
}

pub(crate) fn question(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 24})
}

/// A request in wire format; each header in `headers` ends with a line break.
pub(crate) fn wire(path: &str, headers: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let host = if headers.to_ascii_lowercase().contains("host:") { "" } else { "host: localhost\r\n" };
    format!(
        "POST {path} HTTP/1.1\r\n{host}{headers}connection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
