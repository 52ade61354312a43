//! Training data: documents, examples and questions. Each is addressed by its index alone, so one integer in the
//! checkpoint describes the position in the data.

use crate::error::Error;
use meno_engine::{ChatTemplate, Message, Tokenizer};
use meno_eval::records::{Layout, open};
use meno_eval::{Problem, Split, Task};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

mod data_file;
pub mod fingerprint;
mod mixture;
mod shuffle;

pub use data_file::DataFile;
pub use meno_eval::Verdict;
pub use meno_eval::records::records;
pub use mixture::Mixture;
pub use shuffle::shuffled;

/// An endless sequence of documents for pretraining: any index is valid (later epochs reshuffle).
pub trait Documents: Sync {
    /// Returns the tokens of a document, including its end-of-text token.
    fn document(&self, index: u64) -> Result<Vec<u32>, Error>;
}

/// A prompt with its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// Prompt and answer, including the end-of-sequence token.
    pub tokens: Vec<u32>,
    /// Length of the prompt, which has no loss.
    pub prompt: usize,
}

/// A question for reinforcement learning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Its index in the task.
    pub index: u64,
    /// The tokens of the prompt.
    pub prompt: Vec<u32>,
    /// The prompt as text.
    pub prompt_text: String,
    /// The bare question, for display.
    pub text: String,
    /// The reference answer, in the format of the task's verifier.
    pub answer: String,
    /// ISO 639 code of the question's language.
    pub language: String,
    /// The record of the data file without nulls; empty for a generated question. Rewards can read it; checkpoints do
    /// not contain it.
    #[serde(skip)]
    pub record: Arc<Map<String, Value>>,
}

/// An endless sequence of questions with their verifier, as the model sees them.
pub trait Questions: Sync {
    /// Returns question number `index`; any index is valid (later epochs reshuffle).
    fn question(&self, index: u64) -> Result<Question, Error>;
    /// Returns a response as text, without the end-of-sequence token.
    fn text(&self, tokens: &[u32]) -> String;
    /// Returns the tokens that end a response.
    fn stop_tokens(&self) -> Vec<u32>;
    /// Returns the bound of token ids: rows of the network beyond it are never sampled.
    fn vocab_size(&self) -> usize {
        usize::MAX
    }
    /// Returns the verdict on a response.
    fn verify(&self, question: &Question, response: &str, truncated: bool) -> Verdict;
    /// Returns the error that prevented a response from being verified since the last call.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
    /// Returns the number of different questions; `None` if unlimited.
    fn len(&self) -> Option<u64> {
        None
    }
    /// Returns true if there are no questions.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
    /// Returns the key by which duplicate answers are detected: question and answer in normalized form. By default
    /// these are both texts, with the answer trimmed. A task with random questions may count each draw as different.
    fn identity(&self, question: &Question, text: &str, _tokens: &[u32]) -> [String; 2] {
        [question.text.clone(), text.trim().to_owned()]
    }
}

/// The questions of a `meno-eval` task, with prompts built by `prompt` and encoded by `tokenizer`.
pub struct TaskQuestions<'a> {
    /// The task.
    pub task: &'a dyn Task,
    /// The split: training, except in tests.
    pub split: Split,
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// True if the tokenizer adds its special tokens to the prompt; false for a rendered chat template, which has them.
    pub add_special: bool,
    /// Builds the prompt of a problem.
    pub prompt: &'a (dyn Fn(&Problem) -> Result<String, Error> + Sync),
    /// The seed that orders the problems of a finite task.
    pub seed: u64,
}

impl Questions for TaskQuestions<'_> {
    fn question(&self, index: u64) -> Result<Question, Error> {
        let index = match self.task.len(self.split) {
            Some(0) => return Err(Error::Empty(format!("task {}", self.task.name()))),
            Some(len) => shuffled(self.seed, len, index),
            None => index,
        };
        let problem = self.task.problem(self.split, index);
        let prompt_text = (self.prompt)(&problem)?;
        let prompt = self.tokenizer.encode(&prompt_text, self.add_special)?;
        let Problem { index, question: text, answer, language, record } = problem;
        Ok(Question { index, prompt, prompt_text, text, answer, language, record })
    }
    fn text(&self, tokens: &[u32]) -> String {
        response_text(self.tokenizer, tokens)
    }
    fn vocab_size(&self) -> usize {
        self.tokenizer.id_bound()
    }
    fn stop_tokens(&self) -> Vec<u32> {
        self.tokenizer.eos()
    }
    fn verify(&self, question: &Question, response: &str, truncated: bool) -> Verdict {
        self.task.verify(&question.problem(), response, truncated)
    }
    fn check(&self) -> Result<(), Error> {
        Ok(self.task.check()?)
    }
    fn len(&self) -> Option<u64> {
        self.task.len(self.split)
    }
}

/// Prompts without a verifier, for custom rewards ([`crate::rewards::from_fn`]). Later epochs reshuffle them.
pub struct Prompts<'a> {
    /// The prompts, as the model sees them.
    pub prompts: Vec<String>,
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// True if the tokenizer adds its special tokens to a prompt; false for a rendered chat template, which has them.
    pub add_special: bool,
    /// The seed of the order.
    pub seed: u64,
}

impl<'a> Prompts<'a> {
    /// Creates prompts of plain text, to which the tokenizer adds its special tokens (for example, bos).
    pub fn raw(tokenizer: &'a Tokenizer, prompts: Vec<String>, seed: u64) -> Prompts<'a> {
        Prompts { prompts, tokenizer, add_special: true, seed }
    }

    /// Creates prompts of conversations: rendered with the model's chat template, up to the assistant's turn. The
    /// template writes all special tokens itself. [`TextModel`](meno_engine::TextModel) has both the tokenizer and the
    /// template.
    ///
    /// # Errors
    /// Fails if the template cannot render a conversation.
    pub fn chat(
        tokenizer: &'a Tokenizer,
        template: &ChatTemplate,
        conversations: &[Vec<Message>],
        seed: u64,
    ) -> Result<Prompts<'a>, Error> {
        let render = |messages: &Vec<Message>| template.render(messages, true, &Map::new());
        let prompts = conversations.iter().map(render).collect::<Result<_, _>>()?;
        Ok(Prompts { prompts, tokenizer, add_special: false, seed })
    }
}

impl Questions for Prompts<'_> {
    fn question(&self, index: u64) -> Result<Question, Error> {
        let len = self.prompts.len() as u64;
        if len == 0 {
            return Err(Error::Empty("the prompts".into()));
        }
        let index = shuffled(self.seed, len, index);
        let text = self.prompts[index as usize].clone();
        let prompt = self.tokenizer.encode(&text, self.add_special)?;
        Ok(Question { index, prompt, prompt_text: text.clone(), text, ..Question::default() })
    }
    fn text(&self, tokens: &[u32]) -> String {
        response_text(self.tokenizer, tokens)
    }
    fn stop_tokens(&self) -> Vec<u32> {
        self.tokenizer.eos()
    }
    fn vocab_size(&self) -> usize {
        self.tokenizer.id_bound()
    }
    /// There is no reference answer: the rewards decide, on truncated responses too.
    fn verify(&self, _: &Question, _: &str, _: bool) -> Verdict {
        Verdict::Unverified
    }
    fn len(&self) -> Option<u64> {
        Some(self.prompts.len() as u64)
    }
}

/// Returns a response as text, without the end-of-sequence token.
fn response_text(tokenizer: &Tokenizer, tokens: &[u32]) -> String {
    let stop = tokenizer.eos();
    let end = tokens.len() - usize::from(tokens.last().is_some_and(|t| stop.contains(t)));
    tokenizer.decode(&tokens[..end], false)
}

impl Question {
    /// Returns the question as a problem of its task.
    pub fn problem(&self) -> Problem {
        let Question { index, text, answer, language, record, .. } = self;
        Problem {
            index: *index,
            question: text.clone(),
            answer: answer.clone(),
            language: language.clone(),
            record: record.clone(),
        }
    }
}

/// Documents in memory, shuffled every epoch.
pub struct InMemory {
    /// The documents.
    pub documents: Vec<Vec<u32>>,
    /// Seed of the order.
    pub seed: u64,
}

impl Documents for InMemory {
    fn document(&self, index: u64) -> Result<Vec<u32>, Error> {
        if self.documents.is_empty() {
            return Err(Error::Empty("documents".into()));
        }
        Ok(self.documents[shuffled(self.seed, self.documents.len() as u64, index) as usize].clone())
    }
}

/// Documents of several files with weights; the weight is how often each document occurs per epoch.
pub struct Mixed {
    /// The documents, file after file.
    pub documents: Vec<Vec<u32>>,
    /// Selects the documents of an epoch.
    pub mixture: Mixture,
    /// Seed of the order.
    pub seed: u64,
}

impl Documents for Mixed {
    fn document(&self, index: u64) -> Result<Vec<u32>, Error> {
        let index = self.mixture.index(self.seed, index).ok_or_else(|| Error::Empty("documents".into()))?;
        Ok(self.documents[index].clone())
    }
}

/// Returns the string at `key` of a record.
pub fn string<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value[key].as_str().ok_or_else(|| match value.get(key) {
        None => format!("there is no `{key}`; its keys are {}", keys(value)),
        Some(other) => format!("`{key}` is {other}, expected a string"),
    })
}

/// Returns the keys of an object, for an error message.
pub fn keys(value: &Value) -> String {
    let names = |o: &serde_json::Map<String, Value>| o.keys().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
    value.as_object().map_or("none: it is not an object".into(), names)
}

/// Reads documents: records with `text` or `input_ids` (JSONL, JSON, CSV, TSV, Parquet), or a text file with documents
/// separated by empty lines; plain or compressed. `encode` converts text to tokens; `end` is appended to every
/// document.
pub fn read_documents(
    path: &Path,
    encode: &dyn Fn(&str) -> Result<Vec<u32>, Error>,
    end: Option<u32>,
    vocab_size: usize,
) -> Result<Vec<Vec<u32>>, Error> {
    let mut documents = Vec::new();
    let mut add = |mut tokens: Vec<u32>| {
        tokens.extend(end.filter(|e| tokens.last() != Some(e)));
        if tokens.len() > 1 {
            documents.push(tokens);
        }
    };
    if Layout::of(path) == Layout::Text {
        let mut text = String::new();
        open(path)?.read_to_string(&mut text).map_err(Error::io(path))?;
        for part in text.split("\n\n").filter(|p| !p.trim().is_empty()) {
            add(encode(part.trim_matches('\n'))?);
        }
    } else {
        records(path, |_, value| {
            let tokens = match &value["input_ids"] {
                Value::Null => encode(string(&value, "text")?).map_err(|e| e.to_string())?,
                ids => token_ids(ids, vocab_size)?,
            };
            add(tokens);
            Ok(())
        })?;
    }
    if documents.is_empty() {
        return Err(Error::Empty(path.display().to_string()));
    }
    Ok(documents)
}

fn token_ids(ids: &Value, vocab_size: usize) -> Result<Vec<u32>, String> {
    let ids = ids.as_array().ok_or("`input_ids` is not an array of token ids")?;
    let token = |v: &Value| match v.as_u64() {
        Some(t) if (t as usize) < vocab_size => Ok(t as u32),
        _ => Err(format!("`input_ids` holds {v}, expected an integer below vocab_size = {vocab_size}")),
    };
    ids.iter().map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meno_engine::tokenizer::Special;

    /// A tokenizer whose template for single texts writes bos.
    fn with_bos() -> Tokenizer {
        let added: Vec<Value> = [(0, "<bos>"), (1, "<eos>")]
            .map(|(id, content)| {
                serde_json::json!({ "id": id, "content": content, "single_word": false, "lstrip": false,
                                    "rstrip": false, "normalized": false, "special": true })
            })
            .into();
        let json = serde_json::json!({
            "version": "1.0", "added_tokens": added,
            "pre_tokenizer": { "type": "Split", "pattern": { "Regex": "[\\s\\S]" }, "behavior": "Isolated",
                               "invert": false },
            "post_processor": { "type": "TemplateProcessing", "pair": [],
                                "single": [{ "SpecialToken": { "id": "<bos>", "type_id": 0 } },
                                           { "Sequence": { "id": "A", "type_id": 0 } }],
                                "special_tokens": { "<bos>": { "id": "<bos>", "ids": [0], "tokens": ["<bos>"] } } },
            "model": { "type": "WordLevel", "vocab": { "<bos>": 0, "<eos>": 1, "a": 2, "b": 3 }, "unk_token": "b" },
        });
        let (bos, eos) = (Some(("<bos>".to_owned(), 0)), vec![("<eos>".to_owned(), 1)]);
        Tokenizer::from_json(&json.to_string(), Special { bos, eos, pad: None, add_bos: true }).unwrap()
    }

    #[test]
    fn a_prompt_begins_with_one_bos() {
        let tokenizer = with_bos();
        let template = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}";
        let template = ChatTemplate::new(template, tokenizer.special()).unwrap();
        let conversation = vec![Message::new("user", "a"), Message::new("assistant", "b")];
        let chat = Prompts::chat(&tokenizer, &template, &[conversation], 0).unwrap().question(0).unwrap();
        assert_eq!((&chat.prompt[..], &chat.prompt_text[..]), (&[0, 2, 3][..], "<bos>ab"));
        let raw = Prompts::raw(&tokenizer, vec!["ab".into()], 0).question(0).unwrap();
        assert_eq!((&raw.prompt[..], &raw.prompt_text[..]), (&[0, 2, 3][..], "ab"));
    }

    #[test]
    fn a_bad_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.jsonl");
        let encode = |t: &str| Ok(t.bytes().map(u32::from).collect());
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_documents(&path, &encode, Some(0), 256).map_err(|e| e.to_string())
        };
        assert_eq!(read("{\"text\":\"ab\"}\n\n{\"input_ids\":[7,8]}\n").unwrap(), [vec![97, 98, 0], vec![7, 8, 0]]);
        assert!(read("{\"text\":\"ab\"}\nnope\n").unwrap_err().contains("d.jsonl:2: not JSON"));
        assert!(read("{\"txt\":\"ab\"}").unwrap_err().contains("d.jsonl:1: there is no `text`; its keys are `txt`"));
        assert!(read("{\"input_ids\":[300]}").unwrap_err().contains("300, expected an integer below vocab_size = 256"));
        assert!(read("").unwrap_err().contains("nothing to train on"));
    }
}
