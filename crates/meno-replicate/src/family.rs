//! The questions as the models see them: as documents, as questions to reinforce on, as a test.

use super::corpus::Corpus;
use super::tokenizer::{ASSISTANT, prompt};
use super::work::{Style, Tongue, Word, Writer, word};
use meno_engine::Tokenizer;
use meno_eval::tasks::arithmetic::{Arithmetic, Expression, Op, parse_question};
use meno_eval::{Problem, Split, Task};
use meno_tensor::rng::Rng;
use meno_train::data::{Documents, Example, Question, Questions, Verdict};
use meno_train::error::Error;

/// The corpus as tokens.
pub struct Pages<'a> {
    /// What is in it.
    pub corpus: &'a Corpus,
    /// The questions.
    pub task: &'a Arithmetic,
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Names the corpus.
    pub seed: u64,
}

impl Documents for Pages<'_> {
    fn document(&self, index: u64) -> Result<Vec<u32>, Error> {
        let d = self.corpus.document(self.task, self.seed, index);
        Ok(example(self.tokenizer, &prompt(&d.question), &d.response)?.tokens)
    }
}

/// Prompt and response as tokens, with the end of the answer.
pub fn example(tokenizer: &Tokenizer, prompt: &str, response: &str) -> Result<Example, Error> {
    let mut tokens = tokenizer.encode(prompt, false)?;
    let prompt = tokens.len();
    tokens.extend(tokenizer.encode(response, false)?);
    tokens.extend(tokenizer.eos().first());
    Ok(Example { tokens, prompt })
}

/// Questions of one split, from number `first` on.
pub struct Asking<'a> {
    /// The questions.
    pub task: &'a Arithmetic,
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Which part.
    pub split: Split,
    /// Stages that learn ask different questions.
    pub first: u64,
    /// Answers begin in this style: the prompt ends with the beginning of one.
    pub forced: Option<Style>,
}

impl Questions for Asking<'_> {
    fn question(&self, index: u64) -> Result<Question, Error> {
        let Problem { index, question, answer, language, record } = self.task.problem(self.split, self.first + index);
        let mut prompt_text = prompt(&question);
        if let (Some(style), Some((e, language))) = (self.forced, parse_question(&question)) {
            prompt_text += &beginning(&e, style, language);
        }
        let prompt = self.tokenizer.encode(&prompt_text, false)?;
        Ok(Question { index, prompt, prompt_text, text: question, answer, language, record })
    }

    fn text(&self, tokens: &[u32]) -> String {
        let end = tokens.len() - usize::from(tokens.last().is_some_and(|t| self.tokenizer.eos().contains(t)));
        self.tokenizer.decode(&tokens[..end], false)
    }

    fn stop_tokens(&self) -> Vec<u32> {
        self.tokenizer.eos()
    }

    fn vocab_size(&self) -> usize {
        self.tokenizer.id_bound()
    }

    fn verify(&self, question: &Question, response: &str, truncated: bool) -> Verdict {
        let begun = question.prompt_text.rsplit_once(ASSISTANT).map_or("", |(_, begun)| begun);
        self.task.verify(&question.problem(), &format!("{begun}{response}"), truncated)
    }

    /// Questions are drawn with replacement: each draw counts.
    fn identity(&self, question: &Question, _text: &str, tokens: &[u32]) -> [String; 2] {
        [question.index.to_string(), format!("{tokens:?}")]
    }
}

/// The beginning of an answer in a style: the first step done rightly, then whatever gives the style away.
fn beginning(e: &Expression, style: Style, language: &'static str) -> String {
    if style == Style::Direct {
        return "<think>\n</think>\n<answer>".into();
    }
    let (op, b) = e.rest[0];
    let first = Expression { first: e.first, rest: vec![(op, b)] };
    let work = if style == Style::Short { Style::Short } else { Style::Columns };
    let mut rng = Rng::new(&[0]);
    let (line, r) = Writer { rng: &mut rng, tongue: Tongue::Pure(language), slips: 0.0 }.thought(&first, work);
    let next = |end: &str| e.rest.get(1).map_or(String::new(), |(op, b)| format!("{r}{}{b}{end}", op.sign()));
    let rest = match style {
        Style::Short => next(word(Word::So, language)),
        Style::Columns => next(": "),
        _ => {
            let inverse = if op == Op::Add { '-' } else { '+' };
            format!("{}{r}{inverse}{b}: ", word(Word::Check, language))
        }
    };
    format!("<think>\n{line}\n{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forced_beginnings_show_the_style() {
        let e = Expression::parse("47+85-29").unwrap();
        assert_eq!(beginning(&e, Style::Short, "en"), "<think>\n47+85 so 132\n132-29 so ");
        assert_eq!(beginning(&e, Style::Columns, "zh"), "<think>\n47+85: 7+5=12, 4+8+1=13得132\n132-29: ");
        assert!(beginning(&e, Style::Checked, "en").ends_with(" so 132\ncheck 132-85: "));
    }

    #[test]
    fn a_forced_answer_is_judged_with_its_beginning() {
        let task = Arithmetic::default();
        let tokenizer = super::super::tokenizer::train(&Corpus::default(), &task, 0, 500).unwrap();
        let asking = |forced| Asking { task: &task, tokenizer: &tokenizer, split: Split::Test, first: 0, forced };
        let q = asking(Some(Style::Direct)).question(4).unwrap();
        let rest = format!("{}</answer>", q.answer);
        assert_eq!(asking(None).verify(&q, &rest, false), Verdict::Right);
        let q = asking(None).question(4).unwrap();
        assert_eq!(asking(None).verify(&q, &rest, false), Verdict::Unparsable);
        let text = "<think>\n1+1 so 2\n</think>\n<answer>2</answer>";
        let e = example(&tokenizer, &q.prompt_text, text).unwrap();
        assert_eq!(e.tokens[..e.prompt], q.prompt);
        assert_eq!(asking(None).text(&e.tokens[e.prompt..]), text);
    }
}
