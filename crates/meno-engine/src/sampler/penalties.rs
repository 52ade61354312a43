//! Modified logits: penalties for repeated tokens, and the caller's biases.

use super::Sampling;

/// Applies `sampling`'s penalties and then its biases to a row of logits. `seen` is scratch memory.
///
/// The repetition penalty comes first (prompt and answer), then the frequency and presence penalties (answer only), all
/// before the temperature, as in vLLM. Tokens outside the row are ignored.
pub fn adjust(logits: &mut [f32], sampling: &Sampling, prompt: &[u32], answer: &[u32], seen: &mut Vec<u64>) {
    let penalty = sampling.repetition_penalty;
    if penalty != 1.0 {
        once(prompt.iter().chain(answer), logits, seen, |x| if x > 0.0 { x / penalty } else { x * penalty });
    }
    if sampling.frequency_penalty != 0.0 {
        for &token in answer {
            if let Some(x) = logits.get_mut(token as usize) {
                *x -= sampling.frequency_penalty;
            }
        }
    }
    if sampling.presence_penalty != 0.0 {
        once(answer.iter(), logits, seen, |x| x - sampling.presence_penalty);
    }
    for &(token, bias) in &sampling.logit_bias {
        if let Some(x) = logits.get_mut(token as usize) {
            *x += bias;
        }
    }
}

/// Changes the logit of each distinct token in `tokens` once.
fn once<'a>(
    tokens: impl Iterator<Item = &'a u32>,
    logits: &mut [f32],
    seen: &mut Vec<u64>,
    change: impl Fn(f32) -> f32,
) {
    seen.clear();
    seen.resize(logits.len().div_ceil(64), 0);
    for &token in tokens {
        if let Some(x) = logits.get_mut(token as usize) {
            let (word, bit) = (&mut seen[token as usize / 64], 1 << (token % 64));
            if *word & bit == 0 {
                *word |= bit;
                *x = change(*x);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits 2 −2 1 0 −1 after the prompt 0 0 1 and the answer 2 2 1 (and a token outside the vocabulary).
    fn adjusted(sampling: Sampling) -> Vec<f32> {
        let mut logits = vec![2.0, -2.0, 1.0, 0.0, -1.0];
        adjust(&mut logits, &sampling, &[0, 0, 1], &[2, 2, 1, 9], &mut vec![7; 3]);
        logits
    }

    #[test]
    fn by_hand() {
        let s = Sampling::default;
        assert!(!s().adjusts());
        assert_eq!(adjusted(s()), [2.0, -2.0, 1.0, 0.0, -1.0]);
        assert_eq!(adjusted(Sampling { repetition_penalty: 2.0, ..s() }), [1.0, -4.0, 0.5, 0.0, -1.0]);
        assert_eq!(adjusted(Sampling { frequency_penalty: 0.5, ..s() }), [2.0, -2.5, 0.0, 0.0, -1.0]);
        assert_eq!(adjusted(Sampling { presence_penalty: 0.5, ..s() }), [2.0, -2.5, 0.5, 0.0, -1.0]);
        assert_eq!(
            adjusted(Sampling { logit_bias: vec![(3, 4.0), (4, f32::NEG_INFINITY), (77, 1.0)], ..s() }),
            [2.0, -2.0, 1.0, 4.0, f32::NEG_INFINITY]
        );
        // All together: token 2 is 1 / 2 − 2 · 0.25 − 0.5, token 1 is −2 · 2 − 0.25 − 0.5 + 1.
        let all = Sampling {
            repetition_penalty: 2.0,
            frequency_penalty: 0.25,
            presence_penalty: 0.5,
            logit_bias: vec![(1, 1.0)],
            ..s()
        };
        assert!(all.adjusts());
        assert_eq!(adjusted(all), [1.0, -3.75, -0.5, 0.0, -1.0]);
    }
}
