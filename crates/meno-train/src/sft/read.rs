//! Reads data files as examples, and counts the skipped records.

use super::conversation;
use super::example::example;
use super::forms::{Form, Held, held};
use crate::data::{DataFile, Example, Mixture, records};
use crate::error::Error;
use meno_engine::{ChatTemplate, Tokenizer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Settings for converting records to examples.
#[derive(Clone, Copy, Debug)]
pub struct ExampleReader<'a> {
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The template for conversations.
    pub template: Option<&'a ChatTemplate>,
    /// `train.max_tokens`: longer examples are skipped.
    pub max_tokens: usize,
    /// `sft.max_length`: longer examples are truncated instead.
    pub max_length: Option<usize>,
}

/// Examples of one or several files.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The examples, file after file.
    pub examples: Vec<Example>,
    /// How often each occurs in an epoch.
    pub mixture: Mixture,
    /// Counts of skipped and truncated records.
    pub account: Account,
}

/// Counts of records that were skipped or truncated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// All examples of the files.
    pub total: usize,
    /// Too long, and skipped.
    pub too_long: Named,
    /// Too long, and truncated.
    pub cut: Named,
    /// Records whose answers are all masked.
    pub masked: Named,
    /// Records with an empty answer. It is skipped, because it would teach the model to answer nothing.
    pub empty: Named,
    /// Conversations whose last message has no answer.
    pub unanswered: Named,
    /// Unused columns, and the number of records with each.
    pub other: BTreeMap<String, usize>,
    records: usize,
    max_tokens: usize,
    max_length: Option<usize>,
}

/// A count with the locations of the first few, and the maximum length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The number of records.
    pub count: usize,
    /// File, line and number of tokens of the first few.
    pub first: Vec<(PathBuf, usize, usize)>,
    /// The largest number of tokens.
    pub longest: usize,
}

impl Named {
    fn add(&mut self, file: &DataFile, line: usize, tokens: usize) {
        self.count += 1;
        self.longest = self.longest.max(tokens);
        if self.first.len() < 3 {
            self.first.push((file.path.clone(), line, tokens));
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (file, line, tokens)) in self.first.iter().enumerate() {
            write!(f, "{}{}:{line}", if i > 0 { ", " } else { "" }, file.display())?;
            if *tokens > 0 {
                write!(f, " ({tokens} tokens)")?;
            }
        }
        if self.count > self.first.len() {
            write!(f, " and {} more", self.count - self.first.len())?;
        }
        if self.longest > 0 && self.count > 1 {
            write!(f, "; the longest has {}", self.longest)?;
        }
        Ok(())
    }
}

impl Account {
    /// Returns sentences about skipped and truncated records; empty if all examples are used unchanged.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.too_long.count > 0 {
            notes.push(self.too_long_note());
        }
        if self.cut.count > 0 {
            notes.push(format!(
                "{} of {} examples have more than sft.max_length = {} tokens and are cut off there: {}",
                self.cut.count,
                self.total,
                self.max_length.unwrap_or(0),
                self.cut
            ));
        }
        if self.masked.count > 0 {
            let Named { count, .. } = self.masked;
            notes.push(format!("{count} records have no answer to train on, by their masks: {}", self.masked));
        }
        if self.empty.count > 0 {
            let Named { count, .. } = self.empty;
            notes.push(format!("{count} records have an empty answer, which is left out: {}", self.empty));
        }
        if self.unanswered.count > 0 {
            let Named { count, .. } = self.unanswered;
            notes.push(format!(
                "{count} conversations end with messages that no answer follows; these messages are not trained on: {}",
                self.unanswered
            ));
        }
        if !self.other.is_empty() {
            notes.push(self.other_note());
        }
        notes
    }

    fn other_note(&self) -> String {
        let most = 12;
        let count = |(key, n): (&String, &usize)| match *n {
            n if n == self.records => format!("`{key}`"),
            n => format!("`{key}` (in {n} of {} records)", self.records),
        };
        let names: Vec<String> = self.other.iter().take(most).map(count).collect();
        let more = self.other.len().saturating_sub(most);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("columns that are not trained on: {}{more}", names.join(", "))
    }

    fn too_long_note(&self) -> String {
        let (Named { count, .. }, total) = (&self.too_long, self.total);
        match self.max_length {
            Some(max) => format!(
                "{count} of {total} examples have a prompt of sft.max_length = {max} tokens or more and are left out: \
                 {}. Raise sft.max_length to train on them",
                self.too_long
            ),
            None => format!(
                "{count} of {total} examples have more than train.max_tokens = {} tokens and are left out: {}. Raise \
                 train.max_tokens, or set sft.max_length to train on their beginnings",
                self.max_tokens, self.too_long
            ),
        }
    }
}

/// The result of reading a record.
#[derive(Default)]
struct Found {
    examples: Vec<Example>,
    /// True if it has an empty answer, which gives no example.
    empty: bool,
    /// True if its last message is not an answer.
    unanswered: bool,
    other: Vec<String>,
}

impl ExampleReader<'_> {
    /// Reads the examples of all files.
    ///
    /// Each answer of a conversation becomes a separate example, with its history as rendered for generation. Examples
    /// that are too long are skipped, or truncated to `max_length`, and counted.
    ///
    /// # Errors
    /// Fails if a file or a record cannot be read, or if no example is left.
    pub fn read(&self, files: &[DataFile]) -> Result<Dataset, Error> {
        let mut examples = Vec::new();
        let (max_tokens, max_length) = (self.max_tokens, self.max_length);
        let mut account = Account { max_tokens, max_length, ..Account::default() };
        let mut parts = Vec::new();
        for file in files {
            let before = (examples.len(), account.records);
            records(&file.path, |line, value| {
                let Found { examples: all, empty, unanswered, other } = self.found(value)?;
                account.records += 1;
                other.into_iter().for_each(|key| *account.other.entry(key).or_default() += 1);
                for (named, wanted) in [
                    (&mut account.empty, empty),
                    (&mut account.unanswered, unanswered),
                    (&mut account.masked, all.is_empty() && !empty),
                ] {
                    if wanted {
                        named.add(file, line, 0);
                    }
                }
                for example in all {
                    account.total += 1;
                    examples.extend(self.fitted(example, file, line, &mut account));
                }
                Ok(())
            })?;
            if account.records == before.1 {
                return Err(Error::Empty(file.path.display().to_string()));
            }
            parts.push((examples.len() - before.0, file.weight));
        }
        if examples.is_empty() {
            let why = account.notes().join("; ");
            return Err(Error::Empty(if why.is_empty() { "[data] files".into() } else { why }));
        }
        Ok(Dataset { examples, mixture: Mixture::new(&parts), account })
    }

    /// Returns the examples of one record; empty if all of its answers are masked or empty.
    pub fn examples(&self, value: Value) -> Result<Vec<Example>, String> {
        Ok(self.found(value)?.examples)
    }

    fn found(&self, value: Value) -> Result<Found, String> {
        let Held { form, masked, other } = held(value, self.template)?;
        let mut found = Found { other, ..Found::default() };
        if masked {
            return Ok(found);
        }
        let plain = |question: &str, answer: &str| {
            example(self.tokenizer, question, answer, true).map_err(|e| e.to_string()).map(|example| vec![example])
        };
        match (form, self.template) {
            (Form::Text { completion, .. }, _) if completion.trim().is_empty() => found.empty = true,
            (Form::Text { prompt, completion }, _) => found.examples = plain(&prompt, &completion)?,
            (Form::Chat(chat), template) => {
                found.empty = chat.turns.iter().any(|t| t.train && t.is_empty());
                found.unanswered = chat.turns.last().is_some_and(|t| t.message.role != "assistant");
                found.examples = match (template, &chat.plain) {
                    (Some(template), _) => conversation::examples(&chat, self.tokenizer, template)?,
                    (None, Some(_)) if found.empty => Vec::new(),
                    (None, Some((question, answer))) => plain(question, answer)?,
                    (None, None) => return Err("is a conversation, but the model has no chat template".into()),
                };
            }
        }
        Ok(found)
    }

    /// Returns the example, truncated if necessary; `None` if it does not fit.
    fn fitted(&self, mut example: Example, file: &DataFile, line: usize, account: &mut Account) -> Option<Example> {
        let tokens = example.tokens.len();
        let max = self.max_length.unwrap_or(self.max_tokens).min(self.max_tokens);
        if tokens <= max {
            return Some(example);
        }
        // An example without answer tokens has nothing to learn.
        if self.max_length.is_none() || example.prompt >= max {
            account.too_long.add(file, line, tokens);
            return None;
        }
        account.cut.add(file, line, tokens);
        example.tokens.truncate(max);
        Some(example)
    }
}
