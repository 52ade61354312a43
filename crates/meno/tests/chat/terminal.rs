//! `meno chat` in a terminal.

use super::pty::{PROMPT, Terminal};
use super::{model, model_of};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn chat(dir: &Path, state: &Path, more: &[&str]) -> Terminal {
    let args = ["chat", "-m", dir.to_str().unwrap(), "--threads", "1", "--seed", "1"];
    Terminal::start(&[&args[..], more].concat(), state)
}

#[test]
fn commands_do_what_help_says() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), false);
    let (state, saved) = (dir.path().join("state"), dir.path().join("talk.json"));
    let mut t = chat(dir.path(), &state, &["--max-tokens", "4"]);
    t.line("/help");
    t.wait_for("/save [--force] FILE");
    t.line("/what");
    t.wait_for("/what is not a command");
    t.line("/svae x");
    t.wait_for("did you mean `/save`");
    t.line("/set temperature -1");
    t.wait_for("expected a number, 0 or more");
    t.line("/set max_tokens 3");
    t.wait_for("max_tokens = 3");
    t.line("/set");
    t.wait_for("top_k");
    t.line("/system be brief");
    t.wait_for("from the next answer on");
    t.line("/copy");
    t.wait_for("There is no answer yet");
    t.line("1+1");
    t.wait_for("3 tokens");
    t.line("/copy");
    t.wait_for("\u{1b}]52;c;");
    t.wait_for("are sent to the terminal's clipboard");
    t.line("/retry");
    t.wait_for("3 tokens");
    t.line(&format!("/save {}", saved.display()));
    t.wait_for("1 turn written");
    t.line("/clear");
    t.wait_for("is cleared");
    t.line(&format!("/load {}", saved.display()));
    t.wait_for("1 turn read");
    t.line("//1");
    t.wait_for("3 tokens");
    t.line(&format!("/save {}", saved.display()));
    t.wait_for("2 turns written");
    t.line("/load nothing.json");
    t.wait_for("nothing.json: No such file");
    t.line("/exit");
    assert_eq!(t.end().0, Some(0));
    let messages: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(saved).unwrap()).unwrap();
    let said: Vec<_> = messages.iter().map(|m| (m["role"].as_str().unwrap(), m["content"].as_str().unwrap())).collect();
    assert_eq!((said[0], said[1], said[3]), (("system", "be brief"), ("user", "1+1"), ("user", "/1")));
}

#[test]
fn ctrl_c_clears_the_line_and_twice_leaves_offering_to_save() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), false);
    let (state, saved) = (dir.path().join("state"), dir.path().join("talk.md"));
    std::fs::write(&saved, "something else").unwrap();
    let mut t = chat(dir.path(), &state, &["--max-tokens", "4"]);
    t.line("1+1");
    t.wait_for("4 tokens");
    t.wait_for(PROMPT);
    t.keys("half a question\u{3}");
    t.wait_for("Ctrl-C again or Ctrl-D exits");
    t.line("2+2");
    t.wait_for("4 tokens");
    t.wait_for(PROMPT);
    // One Ctrl-C is not enough, and typing in between resets the count.
    t.keys("\u{3}");
    t.wait_for("Ctrl-C again or Ctrl-D exits");
    t.wait_for(PROMPT);
    t.keys("x\u{3}");
    t.wait_for("Ctrl-C again or Ctrl-D exits");
    t.wait_for(PROMPT);
    t.keys("\u{3}");
    t.wait_for("The conversation is not saved");
    t.line(saved.to_str().unwrap());
    t.wait_for("already exists");
    let other = dir.path().join("other.md");
    t.line(other.to_str().unwrap());
    t.wait_for("2 turns written");
    assert_eq!(t.end().0, Some(0));
    assert_eq!(std::fs::read_to_string(&saved).unwrap(), "something else");
    let text = std::fs::read_to_string(other).unwrap();
    assert!(text.contains("**You:** 1+1") && text.contains("**You:** 2+2") && !text.contains("half"), "{text}");
}

#[test]
fn ctrl_d_leaves_at_once_where_nothing_was_said() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), false);
    let mut t = chat(dir.path(), dir.path(), &[]);
    t.wait_for(PROMPT);
    t.keys("\u{4}");
    let (code, rest) = t.end();
    assert!(code == Some(0) && !rest.contains("not saved"), "{rest}");
}

#[test]
fn lines_are_kept_for_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), false);
    let state = dir.path().join("state");
    let mut t = chat(dir.path(), &state, &["--max-tokens", "4"]);
    t.line("1+1");
    t.wait_for("4 tokens");
    t.line(" 7+7");
    t.wait_for("4 tokens");
    t.line("\"\"\"2+2\r3\"\"\"");
    t.wait_for("4 tokens");
    t.line("4\\\r+4");
    t.wait_for("4 tokens");
    // The process is killed; the typed lines are kept.
    drop(t);
    let file = state.join("meno/chat_history");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(state.join("meno")).unwrap().permissions().mode() & 0o777, 0o700);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("1+1") && !text.contains("7+7"), "{text}");
    let saved = dir.path().join("talk.json");
    let mut t = chat(dir.path(), &state, &["--max-tokens", "4"]);
    // Move up to the last entry, whose two lines take two steps, and then to the entry before it.
    t.wait_for(PROMPT);
    t.keys("\u{1b}[A\u{1b}[A\u{1b}[A\r");
    t.wait_for("4 tokens");
    t.line(&format!("/sav\t{}", saved.display()));
    t.wait_for("1 turn written");
    t.line("/exit");
    assert_eq!(t.end().0, Some(0));
    let messages: serde_json::Value = serde_json::from_slice(&std::fs::read(saved).unwrap()).unwrap();
    assert_eq!(messages[0]["content"], "2+2\n3");
    // Without a history, nothing is read and nothing is written.
    let before = std::fs::read(&file).unwrap();
    let mut t = chat(dir.path(), &state, &["--no-history"]);
    t.line("/set");
    t.wait_for("seed");
    t.line("/exit");
    assert_eq!(t.end().0, Some(0));
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn ctrl_c_stops_an_answer_and_the_conversation_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    model_of(dir.path(), false, 100_000);
    let args = ["--context", "100000", "--temperature", "0", "--think"];
    let mut t = chat(dir.path(), dir.path(), &args);
    t.line("1+1");
    // Wait for a part of the answer.
    t.wait_for("\n");
    t.wait_for("\u{1b}[");
    std::thread::sleep(std::time::Duration::from_millis(300));
    t.keys("\u{3}");
    t.wait_for("stopped");
    t.line("/think");
    t.line("/set seed 3");
    t.wait_for("seed = 3");
    t.wait_for(PROMPT);
    t.keys("\u{4}");
    t.wait_for("not saved");
    t.line("");
    assert_eq!(t.end().0, Some(0));
}

#[test]
fn a_terminal_that_closes_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), false);
    let state = dir.path().join("state");
    let mut t = chat(dir.path(), &state, &["--max-tokens", "4"]);
    t.line("1+1");
    t.wait_for("4 tokens");
    t.wait_for(PROMPT);
    let id = t.id();
    super::kill("-HUP", id);
    assert_eq!(t.end().0, Some(129));
    let mut t = chat(dir.path(), &state, &["--max-tokens", "4"]);
    t.wait_for("A conversation was interrupted; continue it with /load ");
    let file = t.wait_for("\r\n");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    t.line(&format!("/load {file}"));
    t.wait_for("1 turn read");
    t.wait_for(PROMPT);
    t.keys("\u{4}");
    t.wait_for("not saved");
    t.line(dir.path().join("talk.json").to_str().unwrap());
    t.wait_for("1 turn written");
    assert_eq!(t.end().0, Some(0));
    assert!(!Path::new(&file).exists());
}
