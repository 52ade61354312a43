//! The arithmetic task in the forms that training takes: documents to pretrain on, and questions to answer.

use crate::corpus::Corpus;
use crate::tokenizer::{ASSISTANT, prompt};
use crate::worked_steps::{Marker, ReasoningStyle, WordLanguage, Writer};
use meno_engine::Tokenizer;
use meno_eval::tasks::arithmetic::{Arithmetic, Expression, Op, parse_question};
use meno_eval::{Problem, Split, Task};
use meno_tensor::rng::Rng;
use meno_train::Error;
use meno_train::data::{Documents, Example, Question, Questions, Verdict};

/// The corpus as tokens.
pub struct CorpusDocuments<'a> {
    /// The kinds of documents and their shares.
    pub corpus: &'a Corpus,
    /// The questions that the documents answer.
    pub task: &'a Arithmetic,
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The seed of the corpus.
    pub seed: u64,
}

impl Documents for CorpusDocuments<'_> {
    fn document(&self, index: u64) -> Result<Vec<u32>, Error> {
        let d = self.corpus.document(self.task, self.seed, index);
        Ok(example(self.tokenizer, &prompt(&d.question), &d.response)?.tokens)
    }
}

/// The tokens of a prompt and its response, followed by the token that ends an answer.
pub fn example(tokenizer: &Tokenizer, prompt: &str, response: &str) -> Result<Example, Error> {
    let mut tokens = tokenizer.encode(prompt, false)?;
    let prompt = tokens.len();
    tokens.extend(tokenizer.encode(response, false)?);
    tokens.extend(tokenizer.eos().first());
    Ok(Example { tokens, prompt })
}

/// The questions of one split, from number `first` on.
pub struct ArithmeticQuestions<'a> {
    /// The task.
    pub task: &'a Arithmetic,
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The split.
    pub split: Split,
    /// The number of the first question. Training stages start at different numbers, so that they ask different
    /// questions.
    pub first: u64,
    /// If set, the prompt ends with the beginning of an answer in this style.
    pub forced: Option<ReasoningStyle>,
}

impl Questions for ArithmeticQuestions<'_> {
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
        let forced = question.prompt_text.rsplit_once(ASSISTANT).map_or("", |(_, forced)| forced);
        self.task.verify(&question.problem(), &format!("{forced}{response}"), truncated)
    }

    /// The same question can be drawn more than once, and every draw counts as a question.
    fn identity(&self, question: &Question, _text: &str, tokens: &[u32]) -> [String; 2] {
        [question.index.to_string(), format!("{tokens:?}")]
    }
}

/// The beginning of an answer in `style`: the first step, done right, and the text after it that commits the answer to
/// the style.
fn beginning(e: &Expression, style: ReasoningStyle, language: &'static str) -> String {
    let (op, b) = e.rest[0];
    let first_step = match style {
        ReasoningStyle::Direct => return "<think>\n</think>\n<answer>".into(),
        ReasoningStyle::Short => ReasoningStyle::Short,
        ReasoningStyle::Columns | ReasoningStyle::Checked => ReasoningStyle::Columns,
    };
    let first = Expression { first: e.first, rest: vec![(op, b)] };
    let mut rng = Rng::new(&[0]);
    let mut writer = Writer { rng: &mut rng, language: WordLanguage::Pure(language), slips: 0.0 };
    let (line, r) = writer.thought(&first, first_step);
    let next = |end: &str| e.rest.get(1).map_or(String::new(), |(op, b)| format!("{r}{}{b}{end}", op.sign()));
    let rest = match style {
        ReasoningStyle::Direct => String::new(),
        ReasoningStyle::Short => next(Marker::So.text(language)),
        ReasoningStyle::Columns => next(": "),
        ReasoningStyle::Checked => {
            let inverse = if op == Op::Add { '-' } else { '+' };
            format!("{}{r}{inverse}{b}: ", Marker::Check.text(language))
        }
    };
    format!("<think>\n{line}\n{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::train;

    #[test]
    fn forced_beginnings_show_the_style() {
        let e = Expression::parse("47+85-29").unwrap();
        assert_eq!(beginning(&e, ReasoningStyle::Direct, "en"), "<think>\n</think>\n<answer>");
        assert_eq!(beginning(&e, ReasoningStyle::Short, "en"), "<think>\n47+85 so 132\n132-29 so ");
        let columns = beginning(&e, ReasoningStyle::Columns, "zh");
        assert_eq!(columns, "<think>\n47+85: 7+5=12, 4+8+1=13得132\n132-29: ");
        assert!(beginning(&e, ReasoningStyle::Checked, "en").ends_with(" so 132\ncheck 132-85: "));
    }

    #[test]
    fn a_forced_answer_is_judged_with_its_beginning() {
        let task = Arithmetic::default();
        let tokenizer = train(&Corpus::default(), &task, 0, 500).unwrap();
        let questions =
            |forced| ArithmeticQuestions { task: &task, tokenizer: &tokenizer, split: Split::Test, first: 0, forced };
        let q = questions(Some(ReasoningStyle::Direct)).question(4).unwrap();
        let rest = format!("{}</answer>", q.answer);
        assert_eq!(questions(None).verify(&q, &rest, false), Verdict::Right);
        let q = questions(None).question(4).unwrap();
        assert_eq!(questions(None).verify(&q, &rest, false), Verdict::Unparsable);
        let text = "<think>\n1+1 so 2\n</think>\n<answer>2</answer>";
        let e = example(&tokenizer, &q.prompt_text, text).unwrap();
        assert_eq!(e.tokens[..e.prompt], q.prompt);
        assert_eq!(questions(None).text(&e.tokens[e.prompt..]), text);
    }
}
