//! Converts a conversation to examples: for every trained answer, the prompt as in generation, and the answer as
//! rendered by the chat template.
//!
//! Templates of reasoning models drop the thoughts of earlier turns. Some (R1's) also drop the thought of the last turn
//! when it is rendered as history. A trained thought is never lost: if the template drops it, it is written in the
//! format in which the model generates it; if that format is unknown, the record is rejected.

use super::forms::Chat;
use super::messages::{THOUGHTS, reads, with_calls};
use crate::data::Example;
use meno_engine::reasoning::{CLOSE, OPEN};
use meno_engine::{ChatTemplate, Message, Tokenizer};
use serde_json::{Map, Value};

/// A placeholder for a thought, to test how a template treats it.
const PROBE: &str = "[[a thought]]";

/// Returns the examples of a conversation: one for each trained answer.
pub(super) fn examples(chat: &Chat, tokenizer: &Tokenizer, template: &ChatTemplate) -> Result<Vec<Example>, String> {
    let given: Vec<Message> = chat.turns.iter().map(|t| t.message.clone()).collect();
    let calls = given.iter().any(|m| m.extra.contains_key("tool_calls"));
    // Templates differ in the format of tool calls they accept. Most accept the first one, so its error is reported.
    let forms = [(true, true), (false, true), (true, false), (false, false)];
    let forms: Vec<Vec<Message>> = forms[..if calls { 4 } else { 1 }]
        .iter()
        .map(|(objects, nulls)| with_calls(&given, *objects, *nulls))
        .collect();
    let mut examples = Vec::new();
    for (i, _) in chat.turns.iter().enumerate().filter(|(_, t)| t.train && !t.is_empty()) {
        let texts = |messages: &Vec<Message>| Answer::new(&messages[..=i], &chat.extras, template).texts();
        let first = texts(&forms[0]);
        let texts = first.or_else(|e| forms[1..].iter().find_map(|f| texts(f).ok()).ok_or(e));
        // A template without support for tool calls fails with a specific message.
        let calls = if calls { " (the conversation has tool_calls: does the chat template know them?)" } else { "" };
        let (prompt, completion) = texts.map_err(|e| format!("message {}: {e}{calls}", i + 1))?;
        examples.push(example(tokenizer, &prompt, &completion)?);
    }
    Ok(examples)
}

/// An answer and the conversation before it.
struct Answer<'a> {
    template: &'a ChatTemplate,
    before: &'a [Message],
    message: Message,
    thought: Option<Thought>,
    extras: Map<String, Value>,
}

/// A thought and its location.
struct Thought {
    text: String,
    /// `None`: in a key of the message. Otherwise in the content: the text up to and including the closing tag.
    inline: Option<String>,
}

impl Thought {
    fn of(message: &Message) -> Option<Thought> {
        let key = THOUGHTS.iter().find_map(|key| message.extra.get(*key)?.as_str());
        if let Some(text) = key.filter(|t| !t.trim().is_empty()) {
            return Some(Thought { text: text.to_owned(), inline: None });
        }
        let content = message.content.as_str()?;
        let (inside, _) = content.rsplit_once(CLOSE)?;
        let text = inside.trim_start().strip_prefix(OPEN).unwrap_or(inside);
        let opened_later = text.len() == inside.len() && inside.contains(OPEN);
        (!opened_later && !text.trim().is_empty())
            .then(|| Thought { text: text.to_owned(), inline: Some(format!("{inside}{CLOSE}")) })
    }
}

impl<'a> Answer<'a> {
    fn new(messages: &'a [Message], extras: &Map<String, Value>, template: &'a ChatTemplate) -> Self {
        let before = &messages[..messages.len() - 1];
        let mut message = messages[messages.len() - 1].clone();
        let mut thought = Thought::of(&message);
        if THOUGHTS.iter().any(|key| reads(template, key))
            && let Some(Thought { text, inline: Some(inline) }) = &thought
        {
            // The template writes thoughts itself.
            let content = message.content.as_str().unwrap_or_default();
            message.content = content[inline.len()..].trim_start_matches('\n').into();
            message.extra.insert(THOUGHTS[0].into(), text.trim_matches('\n').into());
            thought = Thought::of(&message);
        }
        let mut extras = extras.clone();
        if thought.is_some() {
            // Templates that support both modes open a thought only on request.
            for key in ["enable_thinking", "thinking"] {
                extras.entry(key).or_insert(true.into());
            }
        }
        Answer { template, before, message, thought, extras }
    }

    /// Returns the prompt and the text that the model should write after it.
    fn texts(&self) -> Result<(String, String), String> {
        let mut prompt = self.render(self.before, true)?;
        self.check_written(&prompt)?;
        self.check_tools(&prompt)?;
        let opened = prompt.trim_end().ends_with(OPEN);
        if opened && self.thought.is_none() {
            // The answer has no thought, so the prompt closes it immediately.
            prompt += &format!("\n{CLOSE}\n\n");
        }
        let written = self.written(self.message.clone())?;
        let rest = match after(&prompt, &written) {
            Some(rest) => Some(rest),
            None => self.after_generation_prompt(&prompt, &written)?,
        };
        let rest = rest.filter(|rest| self.holds_answer(rest));
        let whole = match &self.thought {
            Some(_) => rest.is_some() && self.keeps_thought()?,
            None => rest.is_some(),
        };
        let rest = rest.map_or_else(|| self.as_it_is(), |rest| Ok(rest.to_owned()))?;
        let completion = match &self.thought {
            Some(thought) if !whole => self.with_thought(thought, opened, &rest)?,
            _ => rest,
        };
        if self.thought.as_ref().is_some_and(|t| !completion.contains(t.text.trim())) {
            return Err("the chat template changes its thought (reasoning_content)".into());
        }
        self.check_calls(&completion)?;
        Ok((prompt, completion))
    }

    fn render(&self, messages: &[Message], ask: bool) -> Result<String, String> {
        self.template.render(messages, ask, &self.extras).map_err(|e| e.to_string())
    }

    /// Renders the conversation including the answer.
    fn written(&self, message: Message) -> Result<String, String> {
        self.render(&[self.before, &[message]].concat(), false)
    }

    /// Returns the answer with [`PROBE`] in place of its thought or, without a thought, of its content.
    fn probe(&self) -> Message {
        let mut probe = self.message.clone();
        match &self.thought {
            Some(Thought { text, inline: Some(_) }) => {
                let content = probe.content.as_str().unwrap_or_default();
                probe.content = content.replacen(text, PROBE, 1).into();
            }
            Some(_) => {
                for key in THOUGHTS.iter().filter(|key| self.message.extra.contains_key(**key)) {
                    probe.extra.insert((*key).to_owned(), PROBE.into());
                }
            }
            None => probe.content = PROBE.into(),
        }
        probe
    }

    /// Returns true if the template writes the thought into the answer. It is tested with another thought, because the
    /// same text may also occur elsewhere in the conversation.
    fn keeps_thought(&self) -> Result<bool, String> {
        Ok(self.written(self.probe())?.contains(PROBE))
    }

    /// Finds the answer if the template renders earlier turns differently once it follows (gpt-oss drops their
    /// thoughts). It is the text after the last generation prompt before it.
    fn after_generation_prompt<'w>(&self, prompt: &str, written: &'w str) -> Result<Option<&'w str>, String> {
        let before = self.render(self.before, false)?;
        let Some(ask) = prompt.strip_prefix(before.as_str()).filter(|ask| !ask.trim().is_empty()) else {
            return Ok(None);
        };
        let probed = self.written(self.probe())?;
        let start = probed.find(PROBE).and_then(|at| Some(probed[..at].rfind(ask)? + ask.len()));
        Ok(start.and_then(|start| written.strip_prefix(&probed[..start])))
    }

    /// Returns the content without an inline thought.
    fn content(&self) -> &str {
        let content = self.message.content.as_str().unwrap_or_default();
        let inline = self.thought.as_ref().and_then(|t| t.inline.as_ref());
        inline.map_or(content, |inline| &content[inline.len()..])
    }

    fn holds_answer(&self, rest: &str) -> bool {
        rest.contains(self.content().trim())
    }

    /// Returns the content alone, if the template renders the answer in a way that no generation prompt leads to.
    fn as_it_is(&self) -> Result<String, String> {
        if self.message.extra.contains_key("tool_calls") {
            return Err("the chat template renders earlier turns differently when this tool call follows".into());
        }
        Ok(self.content().to_owned())
    }

    /// Returns `rest` preceded by the thought that the template dropped, in the format of models that think within
    /// `<think>` tags.
    fn with_thought(&self, thought: &Thought, opened: bool, rest: &str) -> Result<String, String> {
        let closed = rest.trim_start().strip_prefix(CLOSE);
        if let Some(inline) = &thought.inline {
            let mut head = inline.as_str();
            if opened {
                let trimmed = head.trim_start().strip_prefix(OPEN);
                head = trimmed.map_or(head, |h| h.trim_start_matches('\n'));
            }
            let space = &self.content()[..self.content().len() - self.content().trim_start().len()];
            let rest = closed.unwrap_or(rest);
            let space = if rest.starts_with(char::is_whitespace) { "" } else { space };
            return Ok(format!("{head}{space}{rest}"));
        }
        if !opened && !self.template.source().contains(CLOSE) {
            return Err(
                "the chat template drops its thought (reasoning_content) and has no format for thoughts: write the \
                 thought into `content`, in the format that the model should learn"
                    .into(),
            );
        }
        let text = thought.text.trim_matches('\n');
        let open = if opened { String::new() } else { format!("{OPEN}\n") };
        Ok(match closed {
            Some(_) => format!("{open}{text}{}", rest.trim_start()),
            None => format!("{open}{text}\n{CLOSE}\n\n{rest}"),
        })
    }

    /// Fails if the template drops a message before the answer. A long text is searched in the prompt. A short text, or
    /// one that the template modifies, is tested by rendering with a marker in its place.
    fn check_written(&self, prompt: &str) -> Result<(), String> {
        for (i, message) in self.before.iter().enumerate().filter(|(_, m)| m.role != "assistant") {
            let text = message.content.as_str().unwrap_or_default().trim();
            if text.is_empty() || text.len() >= 12 && prompt.contains(text) {
                continue;
            }
            let mut marked = self.before.to_vec();
            marked[i].content = PROBE.into();
            if !self.render(&marked, true)?.contains(PROBE) {
                return Err(format!(
                    "the chat template does not write the message of role {:?} before it: put its text into a user \
                     message",
                    message.role
                ));
            }
        }
        Ok(())
    }

    /// Fails if the template does not write the tools.
    fn check_tools(&self, prompt: &str) -> Result<(), String> {
        let tools = self.extras.get("tools").and_then(Value::as_array);
        let name = |tool: &Value| tool.get("function").unwrap_or(tool)["name"].as_str().map(str::to_owned);
        match tools.into_iter().flatten().filter_map(name).find(|name| !names(prompt, name)) {
            Some(name) => Err(format!(
                "the chat template does not write `tools` ({name:?}) into the prompt: describe them in a system message"
            )),
            None => Ok(()),
        }
    }

    /// Fails if the template does not write the calls.
    fn check_calls(&self, completion: &str) -> Result<(), String> {
        let calls = self.message.extra.get("tool_calls").and_then(Value::as_array);
        let mut names = calls.into_iter().flatten().filter_map(|c| c["function"]["name"].as_str());
        match names.find(|name| !self::names(completion, name)) {
            Some(name) => Err(format!("the chat template does not write the call of {name:?} (tool_calls)")),
            None => Ok(()),
        }
    }
}

/// Returns true if a text contains the name as a whole word.
fn names(text: &str, name: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(name)
        .any(|(at, _)| !part(text[..at].chars().next_back()) && !part(text[at + name.len()..].chars().next()))
}

/// Returns the text after the prompt in the rendered conversation. If the prompt opens a thought (and possibly closes
/// it) that the answer lacks or writes differently, these tags are ignored.
fn after<'a>(prompt: &str, written: &'a str) -> Option<&'a str> {
    written.strip_prefix(prompt).or_else(|| {
        let prompt = prompt.trim_end();
        let open = prompt.strip_suffix(CLOSE);
        let before = open.unwrap_or(prompt).trim_end().strip_suffix(OPEN)?;
        let rest = written.strip_prefix(before)?;
        let rest = rest.trim_start().strip_prefix(OPEN).map_or(rest, |r| r.trim_start_matches('\n'));
        Some(open.and_then(|_| rest.trim_start().strip_prefix(CLOSE)).unwrap_or(rest))
    })
}

/// Encodes prompt and completion. The completion ends as in generation: at the first of its trailing end tokens (only
/// space may follow), or at an added one.
fn example(tokenizer: &Tokenizer, prompt: &str, completion: &str) -> Result<Example, String> {
    let encode = |text: &str| tokenizer.encode(text, false).map_err(|e| e.to_string());
    let (mut tokens, whole) = (encode(prompt)?, encode(&format!("{prompt}{completion}"))?);
    let prompt = tokens.len();
    // Encode both as one text unless a token spans the boundary: generation starts from the tokens of the prompt.
    if whole.starts_with(&tokens) {
        tokens = whole;
    } else {
        tokens.extend(encode(completion)?);
    }
    let ends = tokenizer.eos();
    let end = (prompt..tokens.len())
        .rev()
        .take_while(|&i| ends.contains(&tokens[i]) || tokenizer.decode(&tokens[i..=i], false).trim().is_empty());
    let end = end.filter(|&i| ends.contains(&tokens[i])).last();
    match (end, ends.first()) {
        (Some(end), _) => tokens.truncate(end + 1),
        (None, Some(eos)) => tokens.push(*eos),
        (None, None) => {}
    }
    Ok(Example { tokens, prompt })
}
