//! A conversation of questions and answers, which can be saved to a file and loaded again.

use crate::output::{self, Inputs};
use anyhow::{Context, Result, bail, ensure};
use meno_engine::Message;
use meno_model::{input, temporary};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// One question and its answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Turn {
    pub(super) user: String,
    pub(super) thought: String,
    pub(super) answer: String,
}

/// The conversation so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Conversation {
    /// The system message, which precedes the turns.
    pub(super) system: Option<String>,
    pub(super) turns: Vec<Turn>,
    /// A question without an answer: one that failed, or the last message of a file.
    pub(super) unanswered: Option<String>,
    /// True if the conversation changed since it was saved.
    pub(super) unsaved: bool,
    /// The file that was last read or written.
    pub(super) file: Option<SavedFile>,
}

/// A file, and its contents when it was read or written.
#[derive(Clone, Debug)]
pub(super) struct SavedFile {
    path: PathBuf,
    text: String,
}

impl SavedFile {
    /// True if `path` is this file and its contents are unchanged.
    fn is(&self, path: &Path) -> bool {
        self.path == path && input::read_text(path, input::SMALL).is_ok_and(|text| text == self.text)
    }
}

impl Conversation {
    /// The messages plus the next question, in the form that a chat template or a server expects.
    pub(super) fn messages(&self, next: &str) -> Vec<Message> {
        let mut messages: Vec<Message> = self.system.iter().map(|s| Message::new("system", s.as_str())).collect();
        for turn in &self.turns {
            messages.push(Message::new("user", turn.user.as_str()));
            messages.push(Message::new("assistant", turn.answer.as_str()));
        }
        messages.push(Message::new("user", next));
        messages
    }

    /// Saves the conversation: as JSON messages if the name ends with `.json`, otherwise as Markdown.
    /// Overwrites an unrelated file only with `force`.
    pub(super) fn save(&mut self, file: &Path, force: bool, model: &str) -> Result<()> {
        let own = self.file.as_ref().is_some_and(|saved| saved.is(file));
        let target = output::file("", file, force || own, &Inputs::default())?;
        let text = if file.extension().is_some_and(|e| e == "json") { self.json()? } else { self.markdown(model) };
        temporary::replace(&target, |temporary| {
            let io = |source| meno_model::Error::Io { path: file.to_owned(), source };
            std::fs::write(temporary, &text).map_err(io)
        })?;
        (self.file, self.unsaved) = (Some(SavedFile { path: file.to_owned(), text }), false);
        Ok(())
    }

    /// The messages as JSON.
    pub(super) fn json(&self) -> Result<String> {
        let mut messages: Vec<Value> = self.system.iter().map(|s| json!({ "role": "system", "content": s })).collect();
        for turn in &self.turns {
            messages.push(json!({ "role": "user", "content": turn.user }));
            messages.push(json!({
                "role": "assistant", "content": turn.answer, "reasoning_content": turn.thought.trim()
            }));
        }
        messages.extend(self.unanswered.iter().map(|q| json!({ "role": "user", "content": q })));
        Ok(serde_json::to_string_pretty(&messages)? + "\n")
    }

    fn markdown(&self, model: &str) -> String {
        let mut text = format!("# {model}\n");
        if let Some(system) = &self.system {
            text += &format!("\n**Instructions:** {system}\n");
        }
        for turn in &self.turns {
            text += &format!("\n**You:** {}\n", turn.user);
            if !turn.thought.trim().is_empty() {
                let quoted: Vec<String> = turn.thought.trim().lines().map(|l| format!("> {l}")).collect();
                text += &format!("\n{}\n", quoted.join("\n"));
            }
            text += &format!("\n**Model:** {}\n", turn.answer);
        }
        text + &self.unanswered.iter().map(|q| format!("\n**You:** {q}\n")).collect::<String>()
    }

    /// Reads the JSON that [`Conversation::save`] writes, or any list of messages in the format of OpenAI's API.
    pub(super) fn load(file: &Path) -> Result<Conversation> {
        let name = file.display();
        let text = input::read_text(file, input::SMALL).with_context(|| name.to_string())?;
        let value: Value = serde_json::from_str(&text)
            .with_context(|| format!("{name}: is not JSON; /load reads messages as /save FILE.json writes them"))?;
        let messages = value.as_array().or_else(|| value["messages"].as_array());
        let messages = messages.with_context(|| format!("{name}: expected a list of messages, or `messages`"))?;
        let mut conversation = Conversation::default();
        for (i, message) in messages.iter().enumerate() {
            conversation.add(message).with_context(|| format!("{name}: message {}", i + 1))?;
        }
        conversation.file = Some(SavedFile { path: file.to_owned(), text });
        Ok(conversation)
    }

    fn add(&mut self, message: &Value) -> Result<()> {
        let content = text_of(&message["content"])?;
        let role = message["role"].as_str().context("there is no `role`")?;
        match role {
            "system" | "developer" => join(self.system.get_or_insert_default(), &content),
            "user" => join(self.unanswered.get_or_insert_default(), &content),
            "assistant" => {
                ensure!(message["tool_calls"].is_null(), "`tool_calls` are not supported here; only text is");
                let thought = ["reasoning_content", "reasoning"].iter().find_map(|key| message[key].as_str());
                let thought = thought.unwrap_or_default().to_owned();
                match (self.unanswered.take(), self.turns.last_mut()) {
                    (Some(user), _) => self.turns.push(Turn { user, thought, answer: content }),
                    (None, Some(turn)) => join(&mut turn.answer, &content),
                    (None, None) => bail!("is an answer, but nothing was asked before"),
                }
            }
            other => bail!("has the role `{other}`; expected system, user or assistant"),
        }
        Ok(())
    }
}

fn join(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push_str("\n\n");
    }
    text.push_str(more);
}

/// The text of a content: a string, or a list of parts.
fn text_of(content: &Value) -> Result<String> {
    match content {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        Value::Array(parts) => {
            let part = |p: &Value| p["text"].as_str().map(str::to_owned).context("`content` has a part without `text`");
            parts.iter().map(part).collect()
        }
        _ => bail!("`content` is neither a string nor a list of parts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("talk.json");
        let turn = |n: u32| Turn { user: format!("q{n}"), thought: format!("t{n}"), answer: format!("a{n}\nb") };
        let mut talk = Conversation {
            system: Some("be brief".into()),
            turns: vec![turn(1), turn(2)],
            unanswered: Some("q3".into()),
            unsaved: true,
            file: None,
        };
        talk.save(&file, false, "m").unwrap();
        assert!(!talk.unsaved);
        let mut read = Conversation::load(&file).unwrap();
        assert_eq!((&read.system, &read.turns, &read.unanswered), (&talk.system, &talk.turns, &talk.unanswered));
        // It overwrites its own file but not an unrelated one.
        talk.save(&file, false, "m").unwrap();
        read.save(&file, false, "m").unwrap();
        let error = Conversation::default().save(&file, false, "m").unwrap_err().to_string();
        assert!(error.contains("already exists"), "{error}");
        Conversation::default().save(&file, true, "m").unwrap();
        talk.save(&dir.path().join("talk.md"), false, "m").unwrap();
        let text = std::fs::read_to_string(dir.path().join("talk.md")).unwrap();
        assert!(text.contains("**Instructions:** be brief") && text.contains("> t2") && text.contains("**You:** q3"));
    }

    #[test]
    fn what_cannot_be_loaded_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("talk.json");
        for (text, expected) in [
            ("# m\n", "is not JSON; /load reads"),
            ("{}", "expected a list of messages"),
            (r#"[{"role":"assistant","content":"x"}]"#, "message 1: is an answer"),
            (r#"[{"role":"user","content":"x"},{"role":"tool","content":"y"}]"#, "message 2: has the role `tool`"),
            (r#"[{"role":"user","content":[{"type":"image_url"}]}]"#, "part without `text`"),
            (r#"[{"content":"x"}]"#, "there is no `role`"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = crate::exit::one_line(&Conversation::load(&file).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
        std::fs::write(&file, r#"{"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}"#).unwrap();
        assert_eq!(Conversation::load(&file).unwrap().unanswered.as_deref(), Some("x"));
    }
}
