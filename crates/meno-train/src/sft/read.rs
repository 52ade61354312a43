//! Data files as examples, and an account of what was left out.

use super::forms::{Form, Held, held};
use super::{conversation, example};
use crate::data::{DataFile, Example, Mixture, records};
use crate::error::Error;
use meno_engine::{ChatTemplate, Tokenizer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// How records become examples.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// Text to tokens.
    pub tokenizer: &'a Tokenizer,
    /// The template of conversations.
    pub template: Option<&'a ChatTemplate>,
    /// `train.max_tokens`: longer examples are left out.
    pub max_tokens: usize,
    /// `sft.max_length`: longer examples are cut off instead.
    pub max_length: Option<usize>,
}

/// Examples of one or several files.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The examples, file after file.
    pub examples: Vec<Example>,
    /// How often each is seen in an epoch.
    pub mixture: Mixture,
    /// What was left out or cut off.
    pub account: Account,
}

/// Counts of the records that were left out or cut off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// All examples of the files.
    pub total: usize,
    /// Too long, and left out.
    pub too_long: Named,
    /// Too long, and cut off.
    pub cut: Named,
    /// Records all of whose answers are masked.
    pub masked: Named,
    /// Records with an answer that is empty, which is left out: it would teach to say nothing.
    pub empty: Named,
    /// Conversations that end with a message that no answer follows.
    pub unanswered: Named,
    /// Columns that nothing is done with, and in how many records they stand.
    pub other: BTreeMap<String, usize>,
    records: usize,
    max_tokens: usize,
    max_length: Option<usize>,
}

/// A count with the first few places, and the most tokens of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// How many.
    pub count: usize,
    /// File, line and tokens of the first few.
    pub first: Vec<(PathBuf, usize, usize)>,
    /// The most tokens.
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
    /// Sentences about what was left out or cut off; none if all examples are trained on as they are.
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
                "{count} conversations end with messages that no answer follows and that nothing is learned of: {}",
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

/// What a record gives.
#[derive(Default)]
struct Found {
    examples: Vec<Example>,
    /// It has an empty answer, which is no example.
    empty: bool,
    /// It ends with a message that is no answer.
    unanswered: bool,
    other: Vec<String>,
}

impl Reading<'_> {
    /// The examples of all files.
    ///
    /// Each answer of a conversation is an example of its own, with its history as generation would render it.
    /// Examples that are too long are left out, or cut off at `max_length`, and counted.
    ///
    /// # Errors
    /// If a file or a record cannot be read, or no example is left.
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

    /// The examples of one record; none if all of its answers are masked or empty.
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

    /// The example as it is trained on, if it fits.
    fn fitted(&self, mut example: Example, file: &DataFile, line: usize, account: &mut Account) -> Option<Example> {
        let tokens = example.tokens.len();
        let max = self.max_length.unwrap_or(self.max_tokens).min(self.max_tokens);
        if tokens <= max {
            return Some(example);
        }
        // Without a token of the answer there is nothing to learn.
        if self.max_length.is_none() || example.prompt >= max {
            account.too_long.add(file, line, tokens);
            return None;
        }
        account.cut.add(file, line, tokens);
        example.tokens.truncate(max);
        Some(example)
    }
}
