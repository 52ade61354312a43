//! Splits a response into thought and answer while it streams.
//!
//! A thought is enclosed in `<think>` and `</think>`. The opening tag may be missing, because a template may have put
//! it into the prompt. A truncated response lacks the closing tag, and a model may close a thought more than once. One
//! rule covers all cases, and R1's template uses the same rule for the history: **the answer is what follows the last
//! `</think>`**, and everything before is thought.

use crate::stop::overlap;

/// Opens a thought.
pub const OPEN: &str = "<think>";
/// Closes a thought.
pub const CLOSE: &str = "</think>";

/// A classified piece of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// More of the thought.
    Thought(String),
    /// More of the answer.
    Answer(String),
    /// All of the answer so far belongs to the thought, because a closing tag came after it.
    Retract,
}

/// A response split into thought and answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// The thought without its tags.
    pub thought: String,
    /// The answer.
    pub answer: String,
    /// True if the thought was opened and not closed: the response is truncated.
    pub unfinished: bool,
}

/// Splits a response incrementally. Pieces never contain part of a tag.
#[derive(Clone, Debug, Default)]
pub struct Splitter {
    split: Split,
    closed: bool,
    held: String,
}

impl Splitter {
    /// Creates a splitter; `opened` means that the prompt ends inside a thought.
    pub fn new(opened: bool) -> Splitter {
        Splitter { split: Split { unfinished: opened, ..Split::default() }, ..Splitter::default() }
    }

    /// Creates a splitter for a response to `prompt`.
    pub fn after(prompt: &str) -> Splitter {
        Splitter::new(prompt.trim_end().ends_with(OPEN))
    }

    /// Returns true while the thought is being written.
    pub fn thinking(&self) -> bool {
        self.split.unfinished
    }

    /// Adds text and returns the pieces that are now certain.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        self.held.push_str(text);
        let mut pieces = Vec::new();
        while let Some((at, tag)) =
            [OPEN, CLOSE].iter().filter_map(|tag| Some((self.held.find(tag)?, *tag))).min_by_key(|f| f.0)
        {
            let rest = self.held.split_off(at + tag.len());
            self.held.truncate(at);
            let before = std::mem::replace(&mut self.held, rest);
            self.text(before, &mut pieces);
            self.tag(tag, &mut pieces);
        }
        let keep = overlap(&self.held, OPEN).max(overlap(&self.held, CLOSE));
        let rest = self.held.split_off(self.held.len() - keep);
        let settled = std::mem::replace(&mut self.held, rest);
        self.text(settled, &mut pieces);
        pieces
    }

    /// Returns the text held back until the end, and the whole response.
    pub fn finish(mut self) -> (Vec<Piece>, Split) {
        let mut pieces = Vec::new();
        let held = std::mem::take(&mut self.held);
        self.text(held, &mut pieces);
        (pieces, self.split)
    }

    fn text(&mut self, text: String, pieces: &mut Vec<Piece>) {
        if text.is_empty() {
            return;
        }
        if self.split.unfinished {
            self.split.thought.push_str(&text);
            pieces.push(Piece::Thought(text));
        } else {
            self.split.answer.push_str(&text);
            pieces.push(Piece::Answer(text));
        }
    }

    fn tag(&mut self, tag: &str, pieces: &mut Vec<Piece>) {
        let Split { thought, answer, unfinished } = &mut self.split;
        let repeated = *unfinished && !thought.trim().is_empty();
        if tag == OPEN && (self.closed || repeated) {
            return self.text(OPEN.to_owned(), pieces); // the tag is mentioned in the answer
        }
        if !*unfinished && !answer.is_empty() {
            thought.push_str(answer);
            answer.clear();
            pieces.push(Piece::Retract);
        }
        *unfinished = tag == OPEN;
        self.closed |= tag == CLOSE;
    }
}

/// Splits a complete response.
pub fn split(response: &str, opened: bool) -> Split {
    let mut splitter = Splitter::new(opened);
    splitter.push(response);
    splitter.finish().1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(response: &str, opened: bool) -> (String, String, bool) {
        let Split { thought, answer, unfinished } = split(response, opened);
        (thought, answer, unfinished)
    }

    #[test]
    fn by_hand() {
        let s = |t: &str, a: &str, u: bool| (t.to_owned(), a.to_owned(), u);
        assert_eq!(parts("<think>2+2</think>4", false), s("2+2", "4", false));
        assert_eq!(parts("2+2</think>4", true), s("2+2", "4", false));
        assert_eq!(parts("2+2</think>4", false), s("2+2", "4", false)); // the opening tag is missing
        assert_eq!(parts("<think>2+2</think>4", true), s("2+2", "4", false)); // and here it is repeated
        assert_eq!(parts("<think>2+", false), s("2+", "", true)); // cut off
        assert_eq!(parts("4", false), s("", "4", false)); // no thought at all
        assert_eq!(parts("a</think>b</think>c", true), s("ab", "c", false)); // closed twice
        assert_eq!(parts("<think></think>4", false), s("", "4", false));
        assert_eq!(parts("<think>the <think> tag</think>x", false), s("the <think> tag", "x", false));
        assert_eq!(parts("<think>a</think>use <think> so", false), s("a", "use <think> so", false));
        assert_eq!(parts("a < b </thin", true), s("a < b </thin", "", true));
    }

    /// A reference implementation of the rule over the whole text.
    fn reference(response: &str, opened: bool) -> Split {
        let Some((before, answer)) = response.rsplit_once(CLOSE) else {
            if opened {
                let trimmed = drop_repeated(response, "");
                return Split { thought: trimmed, answer: String::new(), unfinished: true };
            }
            return match response.split_once(OPEN) {
                None => Split { thought: String::new(), answer: response.into(), unfinished: false },
                Some((a, b)) => {
                    let thought = format!("{a}{}", drop_repeated(b, a));
                    Split { thought, answer: String::new(), unfinished: true }
                }
            };
        };
        let (first, later) = before.split_once(CLOSE).unwrap_or((before, ""));
        let first = if opened {
            drop_repeated(first, "")
        } else {
            match first.split_once(OPEN) {
                Some((a, b)) => format!("{a}{}", drop_repeated(b, a)),
                None => first.to_owned(),
            }
        };
        let thought = first + &later.replace(CLOSE, "");
        Split { thought, answer: answer.into(), unfinished: false }
    }

    /// Removes opening tags repeated before the first word of a thought.
    fn drop_repeated(text: &str, so_far: &str) -> String {
        match text.split_once(OPEN) {
            Some((a, b)) if a.trim().is_empty() && so_far.trim().is_empty() => {
                format!("{a}{}", drop_repeated(b, ""))
            }
            _ => text.to_owned(),
        }
    }

    proptest! {
        #[test]
        fn every_chunking_gives_the_same(
            parts in proptest::collection::vec(
                prop_oneof![
                    "[ab<>/ ]{0,3}",
                    Just("<think>".to_owned()),
                    Just("</think>".to_owned()),
                    Just("想".to_owned()),
                ],
                0..7,
            ),
            cuts in proptest::collection::vec(0usize..60, 0..6),
            opened: bool,
        ) {
            let text = parts.concat();
            let whole = split(&text, opened);
            prop_assert_eq!(&whole, &reference(&text, opened));
            // Every boundary once, then random ones.
            let boundaries: Vec<usize> = (0..=text.len()).filter(|&i| text.is_char_boundary(i)).collect();
            let random: Vec<usize> = cuts.into_iter().map(|c| boundaries[c % boundaries.len()]).collect();
            for mut at in boundaries.iter().map(|&b| vec![b]).chain([random, boundaries.clone()]) {
                at.sort();
                let mut splitter = Splitter::new(opened);
                let (mut pieces, mut from) = (Vec::new(), 0);
                for to in at.into_iter().chain([text.len()]) {
                    pieces.extend(splitter.push(&text[from..to]));
                    from = to;
                }
                let (last, result) = splitter.finish();
                pieces.extend(last);
                prop_assert_eq!(&result, &whole);
                let (mut thought, mut answer) = (String::new(), String::new());
                for piece in pieces {
                    match piece {
                        Piece::Thought(t) => thought.push_str(&t),
                        Piece::Answer(t) => answer.push_str(&t),
                        Piece::Retract => thought.push_str(&std::mem::take(&mut answer)),
                    }
                }
                prop_assert_eq!((thought, answer), (whole.thought.clone(), whole.answer.clone()));
            }
        }
    }
}
