//! What is imposed on an answer while it is written: the end of its thought, then its grammar.

use crate::structured::{Grammar, GrammarFlag};
use crate::thinking::{CutFlag, Place, ThoughtWatch};
use meno_engine::constraint::{Choice, Constraint, TokenMask};

/// Watches the thought, and holds the answer after it to a grammar.
#[derive(Debug)]
pub struct Steering {
    watch: Option<ThoughtWatch>,
    grammar: Option<Grammar>,
    /// The tag that may open a thought before the grammar begins.
    open: Option<u32>,
    /// How many tokens must yet come before one of `ends` may.
    owed: usize,
    ends: Vec<u32>,
}

/// Where a response reads what the steering did.
#[derive(Clone, Debug, Default)]
pub struct Steered {
    /// How the thought was cut.
    pub cut: CutFlag,
    /// How the grammar failed.
    pub grammar: GrammarFlag,
}

impl Steering {
    /// Of a watch over the thought and a grammar of the answer, as there are; `open` is the token that opens a thought.
    pub fn new(watch: Option<ThoughtWatch>, grammar: Option<Grammar>, open: Option<u32>) -> Steering {
        Steering { watch, grammar, open, owed: 0, ends: Vec::new() }
    }

    /// The same, and none of the tokens `ends` comes before `least` others. An answer that its grammar ends is complete
    /// all the same.
    #[must_use]
    pub fn with_least(self, least: usize, ends: Vec<u32>) -> Steering {
        Steering { owed: least, ends, ..self }
    }

    /// Whether there is anything to impose.
    pub fn is_idle(&self) -> bool {
        self.watch.is_none() && self.grammar.is_none() && self.owed == 0
    }

    /// Where the response can read what was done.
    pub fn steered(&self) -> Steered {
        Steered {
            cut: self.watch.as_ref().map(ThoughtWatch::cut_flag).unwrap_or_default(),
            grammar: self.grammar.as_ref().map(Grammar::flag).unwrap_or_default(),
        }
    }

    fn place(&self) -> Place {
        self.watch.as_ref().map_or(Place::Answer, ThoughtWatch::place)
    }
}

impl Constraint for Steering {
    fn choose(&mut self, mask: &mut TokenMask) -> Choice {
        let choice = self.form(mask);
        if self.owed == 0 || !matches!(choice, Choice::Any | Choice::Masked) {
            return choice;
        }
        if choice == Choice::Any {
            mask.allow_all();
        }
        self.ends.iter().for_each(|&end| mask.forbid(end));
        if mask.forbids_all() { Choice::End } else { Choice::Masked }
    }

    fn accept(&mut self, token: u32) {
        self.owed = self.owed.saturating_sub(1);
        let before = self.place();
        let forced = self.watch.as_ref().and_then(ThoughtWatch::forced).is_some();
        if let Some(watch) = &mut self.watch {
            watch.accept(token);
        }
        let written = before != Place::Thought && self.place() != Place::Thought && !forced;
        if let Some(grammar) = self.grammar.as_mut().filter(|_| written) {
            grammar.accept(token);
        }
    }
}

impl Steering {
    /// What thought and grammar let come next.
    fn form(&mut self, mask: &mut TokenMask) -> Choice {
        if let Some(token) = self.watch.as_ref().and_then(ThoughtWatch::forced) {
            return Choice::Token(token);
        }
        let place = self.place();
        let Some(grammar) = &mut self.grammar else { return Choice::Any };
        if place == Place::Thought {
            return grammar.before(mask);
        }
        let choice = grammar.choose(mask);
        if let (Place::Start, Choice::Masked, Some(open)) = (place, choice, self.open) {
            mask.allow(open);
        }
        choice
    }
}

#[cfg(test)]
#[path = "steering/tests.rs"]
mod tests;
