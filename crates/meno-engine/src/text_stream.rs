//! The text of one answer as its tokens arrive: decoded, searched for stop strings, split into thought and answer.

use crate::reasoning::{Piece, Split, Splitter};
use crate::stop::{Seen, StopStrings};
use crate::tokenizer::{DecodeStream, Tokenizer};

/// Converts the tokens of one answer into pieces of thought and answer.
pub struct TextStream<'a> {
    decode: DecodeStream<&'a Tokenizer>,
    stops: StopStrings,
    splitter: Splitter,
    stopped: bool,
}

impl<'a> TextStream<'a> {
    /// Creates a stream for an answer to `prompt` that ends at any of `stops`.
    pub fn new(tokenizer: &'a Tokenizer, prompt: &str, stops: &[String]) -> TextStream<'a> {
        TextStream {
            decode: tokenizer.decode_stream(true),
            stops: StopStrings::new(stops),
            splitter: Splitter::after(prompt),
            stopped: false,
        }
    }

    /// Returns true while the thought is being written.
    pub fn thinking(&self) -> bool {
        self.splitter.thinking()
    }

    /// Returns true if a stop string was found: the answer is complete.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Adds a token and returns the pieces that are now certain.
    pub fn push(&mut self, token: u32) -> Vec<Piece> {
        let text = self.decode.push(token);
        self.text(&text)
    }

    fn text(&mut self, text: &str) -> Vec<Piece> {
        if self.stopped {
            return Vec::new();
        }
        match self.stops.push(text) {
            Seen::Text(text) => self.splitter.push(&text),
            Seen::Stop(text) => {
                self.stopped = true;
                self.splitter.push(&text)
            }
        }
    }

    /// Returns the text held back until the end, and the whole response.
    pub fn finish(self) -> (Vec<Piece>, Split) {
        let TextStream { decode, mut stops, mut splitter, stopped } = self;
        let mut pieces = Vec::new();
        if !stopped {
            match stops.push(&decode.finish()) {
                Seen::Text(text) => pieces.extend(splitter.push(&(text + &stops.finish()))),
                Seen::Stop(text) => pieces.extend(splitter.push(&text)),
            }
        }
        let (last, split) = splitter.finish();
        pieces.extend(last);
        (pieces, split)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::CharacterLevel;

    #[test]
    fn tokens_become_thought_and_answer_up_to_the_stop() {
        let t = Tokenizer::character_level(&CharacterLevel {
            special: &["<eos>"],
            tags: &["<think>", "</think>"],
            alphabet: "0123456789+= ;",
            eos: "<eos>",
            unk: "<eos>",
            ..Default::default()
        })
        .unwrap();
        let run = |text: &str, prompt: &str| {
            let mut s = TextStream::new(&t, prompt, &["; ;".to_owned()]);
            let mut pieces = Vec::new();
            for id in t.encode(text, false).unwrap() {
                pieces.extend(s.push(id));
                if s.stopped() {
                    break;
                }
            }
            let stopped = s.stopped();
            let (last, split) = s.finish();
            let mut answer = String::new();
            for piece in pieces.into_iter().chain(last) {
                match piece {
                    Piece::Answer(a) => answer.push_str(&a),
                    Piece::Retract => answer.clear(),
                    Piece::Thought(_) => {}
                }
            }
            assert_eq!(answer, split.answer);
            (split.thought, split.answer, stopped)
        };
        let s = |a: &str, b: &str, c| (a.to_owned(), b.to_owned(), c);
        assert_eq!(run("<think>1+1</think>2<eos>", "1+1="), s("1+1", "2", false));
        assert_eq!(run("1+1</think>2;; ;3", "1+1=<think>\n"), s("1+1", "2;", true));
        assert_eq!(run("1+1</think>2; ", "<think>"), s("1+1", "2; ", false));
    }
}
