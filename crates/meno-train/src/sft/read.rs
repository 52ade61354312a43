//! Data files as examples, and an account of what was left out.

use super::forms::{Form, form};
use super::{conversation, example};
use crate::data::{DataFile, Example, Mixture, records};
use crate::error::Error;
use meno_engine::{ChatTemplate, Tokenizer};
use serde_json::Value;
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
    /// Conversations all of whose answers are masked.
    pub masked: Named,
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
            notes.push(format!("{count} conversations have no answer to train on, by their masks: {}", self.masked));
        }
        notes
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
            let before = (examples.len(), account.total + account.masked.count);
            records(&file.path, |line, value| {
                let all = self.examples(value)?;
                if all.is_empty() {
                    account.masked.add(file, line, 0);
                }
                for example in all {
                    account.total += 1;
                    examples.extend(self.fitted(example, file, line, &mut account));
                }
                Ok(())
            })?;
            if account.total + account.masked.count == before.1 {
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

    /// The examples of one record; none if all of its answers are masked.
    pub fn examples(&self, value: Value) -> Result<Vec<Example>, String> {
        match (form(value, self.template)?, self.template) {
            (Form::Text { prompt, completion }, _) => {
                let example = example(self.tokenizer, &prompt, &completion, true);
                Ok(vec![example.map_err(|e| e.to_string())?])
            }
            (Form::Chat(chat), Some(template)) => conversation::examples(&chat, self.tokenizer, template),
            (Form::Chat(chat), None) => {
                let (question, answer) = chat.plain.ok_or("is a conversation, but the model has no chat template")?;
                let example = example(self.tokenizer, &question, &answer, true);
                Ok(vec![example.map_err(|e| e.to_string())?])
            }
        }
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
