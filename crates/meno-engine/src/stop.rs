//! Stop strings in streamed text.

/// Searches streamed text for any of several strings. Text that may be the beginning of one is held back.
#[derive(Clone, Debug)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
    met: Option<String>,
}

/// The result of adding text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Text that is certainly not part of a stop string.
    Text(String),
    /// A stop string was found; this is the text before it. Everything after it is discarded.
    Stop(String),
}

impl StopStrings {
    /// Creates a search for `stops`; empty strings are ignored.
    pub fn new(stops: &[String]) -> StopStrings {
        let stops = stops.iter().filter(|s| !s.is_empty()).cloned().collect();
        StopStrings { stops, held: String::new(), met: None }
    }

    /// Adds text.
    pub fn push(&mut self, text: &str) -> Seen {
        self.held.push_str(text);
        // The first string to be complete wins, as if the text came byte by byte; of several, the longest.
        let found = self.stops.iter().filter_map(|s| self.held.find(s.as_str()).map(|at| (at + s.len(), at))).min();
        if let Some((end, at)) = found {
            self.met = Some(self.held[at..end].to_owned());
            self.held.truncate(at);
            return Seen::Stop(std::mem::take(&mut self.held));
        }
        let keep = self.stops.iter().map(|s| overlap(&self.held, s)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        Seen::Text(std::mem::replace(&mut self.held, rest))
    }

    /// Returns the stop string that was found.
    pub fn met(&self) -> Option<&str> {
        self.met.as_deref()
    }

    /// Returns the text held back, at the end of the input.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Returns the length in bytes of the longest suffix of `text` that is a proper prefix of `stop`.
pub fn overlap(text: &str, stop: &str) -> usize {
    (1..stop.len().min(text.len() + 1))
        .rev()
        .find(|&n| stop.is_char_boundary(n) && text.as_bytes().ends_with(&stop.as_bytes()[..n]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `pieces`; returns the output and whether a stop string was found.
    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut s = StopStrings::new(&stops.iter().map(|s| s.to_string()).collect::<Vec<_>>());
        let mut out = String::new();
        for piece in pieces {
            match s.push(piece) {
                Seen::Text(t) => out.push_str(&t),
                Seen::Stop(t) => return (out + &t, true),
            }
        }
        (out + &s.finish(), false)
    }

    #[test]
    fn by_hand() {
        assert_eq!(run(&["END"], &["abE", "N", "Dxyz"]), ("ab".into(), true));
        assert_eq!(run(&["END"], &["abE", "N"]), ("abEN".into(), false));
        assert_eq!(run(&["\n\n", "好的"], &["一好", "的"]), ("一".into(), true));
        assert_eq!(run(&[""], &["a"]), ("a".into(), false));
    }

    proptest! {
        #[test]
        fn the_same_for_every_split(
            text in "[ab]{0,12}",
            cut in 0usize..12,
            stop in "[ab]{1,4}",
            other in "[ab]{1,4}",
        ) {
            let cut = cut.min(text.len());
            let chars: Vec<String> = text.chars().map(String::from).collect();
            let chars: Vec<&str> = chars.iter().map(String::as_str).collect();
            let stops = [stop.as_str(), other.as_str()];
            prop_assert_eq!(run(&stops, &chars), run(&stops, &[&text[..cut], &text[cut..]]));
        }
    }
}
