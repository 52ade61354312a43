//! The tokenizer: a byte-level BPE trained on the corpus, with DeepSeek's special tokens.
//!
//! Every digit is one token, words include their spaces, and the tags around thought and answer are single tokens, as
//! `<think>` is in R1's tokenizer. Any text can be encoded, because the vocabulary contains all 256 bytes.

use crate::corpus::{Corpus, summary};
use meno_engine::Tokenizer;
use meno_engine::tokenizer::Special;
use meno_eval::tasks::arithmetic::Arithmetic;
use meno_train::error::Error;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper};
use tokenizers::{SplitDelimiterBehavior, TokenizerBuilder};

/// Begins every text.
pub const BOS: &str = "<｜begin▁of▁sentence｜>";
/// Ends every answer.
pub const EOS: &str = "<｜end▁of▁sentence｜>";
/// Padding.
pub const PAD: &str = "<｜▁pad▁｜>";
/// Precedes a question.
pub const USER: &str = "<｜User｜>";
/// Precedes an answer.
pub const ASSISTANT: &str = "<｜Assistant｜>";

/// Tags that are single tokens but not special: they remain visible in decoded text, as in R1's tokenizer.
pub const TAGS: [&str; 4] = ["<think>", "</think>", "<answer>", "</answer>"];

/// The chat template, in R1's form: earlier answers appear without their thoughts.
pub const CHAT_TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}\
{{ '<｜User｜>' + message['content'] }}{% elif message['role'] == 'assistant' %}\
{{ '<｜Assistant｜>' + message['content'].split('</think>')[-1] + eos_token }}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}";

/// How text is split before BPE: single digits; words with a space on either side; signs with the space after them;
/// other whitespace.
const PATTERN: &str = r"\p{N}| ?\p{L}+ ?|[^\s\p{L}\p{N}]+ ?|\s+";

/// The prompt of a question.
pub fn prompt(question: &str) -> String {
    format!("{BOS}{USER}{question}{ASSISTANT}")
}

/// Trains the tokenizer on the first `documents` documents of the corpus with the given seed, and on summaries.
pub fn train(corpus: &Corpus, task: &Arithmetic, seed: u64, documents: u64) -> Result<Tokenizer, Error> {
    let broken = |e: tokenizers::Error| Error::Tokenizer(e.to_string());
    let split =
        Split::new(SplitPattern::Regex(PATTERN.into()), SplitDelimiterBehavior::Isolated, false).map_err(broken)?;
    let bytes = ByteLevel::new(false, false, false);
    let pre = Sequence::new(vec![PreTokenizerWrapper::Split(split), PreTokenizerWrapper::ByteLevel(bytes)]);
    let mut tokenizer =
        TokenizerBuilder::<BPE, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>::new()
            .with_model(BPE::default())
            .with_normalizer(None)
            .with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(pre)))
            .with_post_processor(None)
            .with_decoder(Some(DecoderWrapper::ByteLevel(bytes)))
            .build()
            .map_err(broken)?;
    let special = [BOS, EOS, PAD, USER, ASSISTANT].map(|t| AddedToken::from(t, true));
    let tags = TAGS.map(|t| AddedToken::from(t, false).normalized(false));
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(1024)
        .min_frequency(documents / 20)
        .show_progress(false)
        .special_tokens(special.iter().chain(&tags).cloned().collect())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let texts = (0..documents).flat_map(|i| {
        let d = corpus.document(task, seed, i);
        let plain = TAGS.iter().fold(d.response, |t, tag| t.replace(tag, "\n"));
        [d.question, plain, summary(1, "en"), summary(1, "zh")]
    });
    tokenizer.train(&mut trainer, texts).map_err(broken)?;
    // The trainer marks the tags as special too, which would remove them from decoded text.
    let json = tokenizer.to_string(false).map_err(broken)?;
    let mut json: serde_json::Value = serde_json::from_str(&json).expect("invariant: the library writes JSON");
    for token in json["added_tokens"].as_array_mut().into_iter().flatten() {
        if token["content"].as_str().is_some_and(|c| TAGS.contains(&c)) {
            token["special"] = false.into();
        }
    }
    let id = |t: &str| tokenizer.token_to_id(t).map(|id| (t.to_owned(), id));
    let special = Special { bos: id(BOS), eos: id(EOS).into_iter().collect(), pad: id(PAD), add_bos: false };
    Ok(Tokenizer::from_json(&json.to_string(), special)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_tags_are_single_tokens_and_any_text_round_trips() {
        let (corpus, task) = (Corpus::default(), Arithmetic::default());
        let t = train(&corpus, &task, 0, 2000).unwrap();
        assert!(t.vocab_size() < 400, "{}", t.vocab_size());
        let tokens = |s: &str| t.encode(s, false).unwrap().len();
        assert_eq!(tokens("<think>"), 1);
        assert_eq!(tokens(&prompt("What is 47+85?")), 3 + 2 + 5 + 1);
        assert_eq!(tokens(&prompt("47+85等于多少？")), 3 + 5 + 2);
        assert_eq!(tokens("47+85: 7+5=12, 4+8+1=13 so 132"), 5 + 1 + 6 + 1 + 8 + 1 + 3);
        assert_eq!(tokens("查132-85: 12-5=7~7等"), 1 + 6 + 1 + 6 + 2 + 1);
        for text in ["<think>\n47+85 so 132 wait\n</think>\n<answer>132</answer>", "héllo 🙂\t所以", "a  b\n\n c"]
        {
            assert_eq!(t.decode(&t.encode(text, false).unwrap(), true), text);
        }
        let ids = t.encode(&prompt("What is 1+1?"), false).unwrap();
        assert_eq!(t.decode(&ids, true), "What is 1+1?");
        // Training is deterministic.
        let again = train(&corpus, &task, 0, 2000).unwrap();
        let text = "47+85: 7+5=13, 4+8+1=13 so 133\ncheck 133-85: 13-5=8~7 wait";
        assert_eq!(again.encode(text, false).unwrap(), t.encode(text, false).unwrap());
    }
}
