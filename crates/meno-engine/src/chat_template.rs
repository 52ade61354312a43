//! Chat templates: Jinja as in Hugging Face's `apply_chat_template`, rendered by minijinja.
//!
//! A template comes with a checkpoint, so it is untrusted. It can read only its inputs, and its steps, output size and
//! recursion depth are bounded.

mod bounds;
mod guards;
mod jinja;

use crate::error::Error;
use crate::tokenizer::{Special, gguf, read_json};
use jinja::{describe, environment, syntax, without_generation_tags};
use meno_model::gguf::Gguf;
use meno_model::input;
use minijinja::value::Serde;
use minijinja::{Environment, Value};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::path::Path;

/// Maximum size of a rendered prompt, in bytes. Tokenizing it takes about a hundred times that memory. A context of a
/// million tokens is about this long.
const MAX_OUTPUT: usize = 4 << 20;
/// The name given to the single template in `chat_template` of `tokenizer_config.json`.
const DEFAULT: &str = "default";

/// One turn of a conversation: `role`, `content`, and any other keys that a template may read (`tool_calls`, …).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// The text of the turn, or another value that the template accepts; `null` if there is no content (a tool call).
    #[serde(default)]
    pub content: Json,
    /// Other keys.
    #[serde(flatten)]
    pub extra: Map<String, Json>,
}

impl Message {
    /// A turn of plain text.
    pub fn new(role: &str, content: impl Into<String>) -> Message {
        Message { role: role.to_owned(), content: Json::String(content.into()), extra: Map::new() }
    }
}

/// The compiled templates of one checkpoint.
pub struct ChatTemplate {
    env: Environment<'static>,
    names: Vec<String>,
    source: String,
    defaults: Map<String, Json>,
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").field("names", &self.names).finish()
    }
}

impl ChatTemplate {
    /// Creates a single template. `special` provides `bos_token`, `eos_token` and `pad_token`.
    pub fn new(source: &str, special: &Special) -> Result<ChatTemplate, Error> {
        ChatTemplate::named(vec![(DEFAULT.to_owned(), source.to_owned())], special)
    }

    /// Creates several named templates (`default`, `tool_use`, `rag`, …).
    pub fn named(sources: Vec<(String, String)>, special: &Special) -> Result<ChatTemplate, Error> {
        let mut env = environment();
        let mut names = Vec::new();
        let default = sources.iter().find(|s| s.0 == DEFAULT).or(sources.first());
        let text = default.map(|s| s.1.clone()).unwrap_or_default();
        for (name, source) in sources {
            let error = |e: minijinja::Error| Error::Template { name: name.clone(), message: describe(&e) };
            compile(&mut env, &name, &source).map_err(error)?;
            names.push(name);
        }
        let mut defaults = Map::new();
        let eos = special.eos.first().cloned();
        for (key, token) in [("bos_token", &special.bos), ("eos_token", &eos), ("pad_token", &special.pad)] {
            if let Some((text, _)) = token {
                defaults.insert(key.to_owned(), text.clone().into());
            }
        }
        Ok(ChatTemplate { env, names, source: text, defaults })
    }

    /// Loads the templates of a checkpoint; `None` if it has none. A Hugging Face directory stores them in
    /// `chat_template.jinja` (and `additional_chat_templates/`), or in `chat_template` of `tokenizer_config.json`: a
    /// text or a list of `{name, template}`. A GGUF file stores them in its metadata.
    pub fn load(dir: &Path, special: &Special) -> Result<Option<ChatTemplate>, Error> {
        if Gguf::is_gguf(dir) {
            let file = gguf::open(dir)?;
            return gguf::chat_template(&file)?.map(|source| ChatTemplate::new(source, special)).transpose();
        }
        let mut sources = template_files(dir)?;
        if sources.is_empty() {
            let path = dir.join("tokenizer_config.json");
            sources = template_keys(&read_json(&path)?["chat_template"]).map_err(|m| Error::file(&path, m))?;
        }
        if sources.is_empty() { Ok(None) } else { ChatTemplate::named(sources, special).map(Some) }
    }

    /// Returns the names of the templates.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the source of the default template, as stored in a checkpoint.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders the prompt of a conversation with the default template. `extras` are further variables (`tools`,
    /// `enable_thinking`, …).
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        extras: &Map<String, Json>,
    ) -> Result<String, Error> {
        let has_tools = extras.get("tools").is_some_and(|t| !t.is_null());
        let wanted = if has_tools && self.names.iter().any(|n| n == "tool_use") { "tool_use" } else { DEFAULT };
        let name = self.names.iter().find(|n| *n == wanted).or(self.names.first()).map_or(DEFAULT, |n| n);
        self.render_named(name, messages, add_generation_prompt, extras)
    }

    /// Renders the prompt of a conversation with the template `name`.
    pub fn render_named(
        &self,
        name: &str,
        messages: &[Message],
        add_generation_prompt: bool,
        extras: &Map<String, Json>,
    ) -> Result<String, Error> {
        let error = |message: String| Error::Template { name: name.to_owned(), message };
        let template = self
            .env
            .get_template(name)
            .map_err(|_| error(format!("there is no such template; the checkpoint has: {}", self.names.join(", "))))?;
        let mut variables = self.defaults.clone();
        variables.insert("tools".to_owned(), Json::Null);
        variables.insert("documents".to_owned(), Json::Null);
        variables.extend(extras.clone());
        variables.insert("add_generation_prompt".to_owned(), add_generation_prompt.into());
        let mut run = |null_content: bool| {
            let turns = messages.iter().map(|m| as_the_template_sees(m, null_content)).collect();
            variables.insert("messages".to_owned(), turns);
            let mut out = Bounded(Vec::new());
            let render = || template.render_captured_to(Value::from(Serde(&variables)), &mut out).map(|_| ());
            let kind = minijinja::ErrorKind::InvalidOperation;
            let refused = || Err(minijinja::Error::new(kind, "it cannot be rendered in bounded memory"));
            deep(render).unwrap_or_else(refused).map(|()| out.0)
        };
        // R1's own template recognizes a tool call by a null content, and fails if the key is missing.
        let silent = messages.iter().any(|m| m.content.is_null());
        let out = run(false).or_else(|e| if silent { run(true).map_err(|_| e) } else { Err(e) });
        String::from_utf8(out.map_err(|e| error(describe(&e)))?).map_err(|e| error(e.to_string()))
    }
}

/// Maximum size of a template and of one of its blocks, in bytes; published ones are ten times smaller. Together with
/// [`STACK`], it keeps minijinja's recursive parser, which recurses on every operator or bracket, from overflowing the
/// stack.
const MAX_SOURCE: usize = 1 << 20;
const MAX_BLOCK: usize = 16 << 10;
/// Stack size in bytes, for the parser and for dropping deeply nested values that a template builds.
const STACK: usize = 256 << 20;

/// Adds a template to the environment.
fn compile(env: &mut Environment<'static>, name: &str, source: &str) -> Result<(), minijinja::Error> {
    let refuse = |what: String| Err(minijinja::Error::new(minijinja::ErrorKind::SyntaxError, what));
    if source.len() > MAX_SOURCE {
        return refuse(format!("{} bytes; at most {MAX_SOURCE} are allowed", source.len()));
    }
    let opened = source.match_indices('{').filter(|(i, _)| matches!(source.as_bytes().get(i + 1), Some(b'{' | b'%')));
    for (i, _) in opened {
        let close = if source.as_bytes()[i + 1] == b'%' { "%}" } else { "}}" };
        let length = source[i..].find(close).unwrap_or(source.len() - i);
        if length > MAX_BLOCK {
            return refuse(format!("a block has {length} bytes; at most {MAX_BLOCK} are allowed"));
        }
    }
    let source = without_generation_tags(source);
    let parse = || env.add_template_owned(name.to_owned(), bounds::with_checks(&source, syntax())?);
    deep(parse).unwrap_or_else(|| refuse("it cannot be parsed in bounded memory".to_owned()))
}

/// Runs `work`, which may recurse deeply, on a thread with a large stack.
fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        thread.ok().and_then(|thread| thread.join().ok())
    })
}

/// The keys under which a turn may carry its reasoning; templates read the first one.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Converts a turn to the form that transformers passes to a template (`_normalize_chat_messages`,
/// `_alias_reasoning_fields`). Keys that are `null` are dropped, except `content` if `null_content`. The reasoning is
/// stored under the key that templates read and under gpt-oss's key.
fn as_the_template_sees(message: &Message, null_content: bool) -> Json {
    let reasoning = REASONING.iter().find_map(|key| message.extra.get(*key).filter(|value| !value.is_null()));
    let mut turn = Map::new();
    if let Some(reasoning) = reasoning {
        turn.insert("thinking".to_owned(), reasoning.clone());
    }
    turn.insert("role".to_owned(), message.role.clone().into());
    turn.insert("content".to_owned(), message.content.clone());
    turn.extend(message.extra.clone());
    turn.retain(|key, value| !value.is_null() || null_content && key == "content");
    if let Some(reasoning) = reasoning {
        turn.insert("reasoning_content".to_owned(), reasoning.clone());
    }
    turn.into()
}

/// An output buffer of at most [`MAX_OUTPUT`] bytes.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(std::io::Error::other(format!("the output grows beyond {} MiB", MAX_OUTPUT >> 20)));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn template_files(dir: &Path) -> Result<Vec<(String, String)>, Error> {
    let read = |path: &Path| input::read_text(path, input::SMALL).map_err(Error::io(path));
    let mut sources = Vec::new();
    let path = dir.join("chat_template.jinja");
    if path.exists() {
        sources.push((DEFAULT.to_owned(), read(&path)?));
    }
    let more = dir.join("additional_chat_templates");
    if let Ok(entries) = std::fs::read_dir(&more) {
        let mut paths: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        paths.sort();
        for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "jinja")) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            sources.push((name, read(path)?));
        }
    }
    Ok(sources)
}

fn template_keys(value: &Json) -> Result<Vec<(String, String)>, String> {
    match value {
        Json::Null => Ok(Vec::new()),
        Json::String(source) => Ok(vec![(DEFAULT.to_owned(), source.clone())]),
        Json::Array(items) => items
            .iter()
            .map(|item| match (item["name"].as_str(), item["template"].as_str()) {
                (Some(name), Some(source)) => Ok((name.to_owned(), source.to_owned())),
                _ => Err(format!("chat_template: expected {{\"name\": …, \"template\": …}}, found {item}")),
            })
            .collect(),
        other => Err(format!("chat_template: expected a string or a list of templates, found {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(source: &str, variables: Json) -> Result<String, Error> {
        let Json::Object(extras) = variables else { panic!("an object") };
        ChatTemplate::new(source, &Special::default())?.render(&[Message::new("user", "hi")], true, &extras)
    }

    #[test]
    fn python_prints_and_serializes() {
        assert_eq!(
            render("{{ a }}|{{ b }}|{{ c }}", json!({"a": true, "b": null, "c": [1.5, "x"]})).unwrap(),
            "True|None|[1.5, 'x']"
        );
        let v = json!({"a": {"z": "<b>&'中", "y": [1]}});
        assert_eq!(render("{{ a | tojson }}", v.clone()).unwrap(), r#"{"z": "<b>&'中", "y": [1]}"#);
        assert_eq!(render("{{ a | tojson(indent=1) }}", v).unwrap(), "{\n \"z\": \"<b>&'中\",\n \"y\": [\n  1\n ]\n}");
        assert_eq!(render("{{ '<b>' }}{{ x is defined }}", json!({})).unwrap(), "<b>False");
    }

    #[test]
    fn blocks_are_trimmed_and_generation_tags_ignored() {
        let source =
            "{% for m in messages %}\n  {% generation %}\n{{ m.content }}\n  {% endgeneration %}\n{% endfor %}\nx";
        assert_eq!(render(source, json!({})).unwrap(), "hi\nx");
        assert_eq!(
            render("{%- for i in range(9) %}{% if i > 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", json!({}))
                .unwrap(),
            "012"
        );
    }

    #[test]
    fn a_template_that_raises_says_its_message() {
        let error = render("{{ raise_exception('roles must alternate') }}", json!({})).unwrap_err().to_string();
        assert!(error.contains("roles must alternate"), "{error}");
    }

    #[test]
    fn a_template_that_loops_or_grows_is_stopped() {
        let nested = "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}";
        let error = render(nested, json!({})).unwrap_err().to_string();
        assert!(error.contains("it loops"), "{error}");
        let grows = "{% set s = 'x' * 99999 %}{% for i in range(9999) %}{{ s }}{% endfor %}";
        let error = render(grows, json!({})).unwrap_err().to_string();
        assert!(error.contains("4 MiB"), "{error}");
        let recursive = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
        let error = render(recursive, json!({})).unwrap_err().to_string();
        assert!(error.contains("recursion"), "{error}");
        assert!(render("{% for %}", json!({})).unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn several_named_templates() {
        let sources = vec![(DEFAULT.to_owned(), "d".to_owned()), ("tool_use".to_owned(), "t".to_owned())];
        let t = ChatTemplate::named(sources, &Special::default()).unwrap();
        let Json::Object(tools) = json!({"tools": [{}]}) else { unreachable!() };
        assert_eq!(t.render(&[], true, &tools).unwrap(), "t");
        assert_eq!(t.render(&[], true, &Map::new()).unwrap(), "d");
        let error = t.render_named("rag", &[], true, &Map::new()).unwrap_err().to_string();
        assert!(error.contains("default, tool_use"), "{error}");
    }
}
