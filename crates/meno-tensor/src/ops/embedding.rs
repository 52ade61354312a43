//! Token embedding: y\[t\] = W\[token\[t\]\], and the embedding of the next token for the MTP module.

use crate::tape::{Activation, Batch, Builder, Describe, Io, Param, ParamLayout};

/// Looks up a row of `weight` for every token.
pub struct Embedding {
    /// `[vocab, hidden]`.
    pub weight: Param,
    /// Output `[t, hidden]`.
    pub y: Activation,
    /// Width of a row.
    pub hidden: usize,
    /// If true, row i looks up token i + 1 of its sequence instead (MTP: `Emb(t_{i+1})`, DeepSeek-V3 eq. 21); the last
    /// row of a sequence is then zero.
    pub next: bool,
}

impl Embedding {
    /// Appends the look-up of every row's token; returns its output.
    pub fn push(b: &mut Builder<impl Describe + From<Embedding>>, params: &ParamLayout, weight: Param) -> Activation {
        Self::append(b, params, weight, false)
    }

    /// Appends the look-up of every row's next token; returns its output.
    pub fn push_next(
        b: &mut Builder<impl Describe + From<Embedding>>,
        params: &ParamLayout,
        weight: Param,
    ) -> Activation {
        Self::append(b, params, weight, true)
    }

    fn append(
        b: &mut Builder<impl Describe + From<Embedding>>,
        params: &ParamLayout,
        weight: Param,
        next: bool,
    ) -> Activation {
        let hidden = params.info(weight).shape[1];
        let y = b.activation(hidden);
        b.push(Embedding { weight, y, hidden, next });
        y
    }

    /// Calls `f(row, token)` for every row that looks up a token.
    pub(crate) fn for_tokens(&self, batch: &Batch, mut f: impl FnMut(usize, usize)) {
        let shift = self.next as usize;
        for segment in &batch.segments {
            for row in segment.rows.start..segment.rows.end.saturating_sub(shift) {
                f(row, batch.tokens[row + shift] as usize);
            }
        }
    }
}

impl Describe for Embedding {
    fn name(&self) -> &'static str {
        if self.next { "next_embedding" } else { "embedding" }
    }
    fn io(&self) -> Io {
        Io { writes: vec![self.y], grad_reads: vec![self.y], ..Io::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision::Precision;
    use crate::testing::{build, check_agreement};

    #[test]
    fn gradients() {
        for next in [false, true] {
            for mut net in build(true, 9, |b, p| {
                let weight = p.declare("model.embed_tokens.weight", &[crate::testing::VOCAB, 12]);
                Embedding::append(b, p, weight, next)
            }) {
                net.check_gradients(1e-3);
                net.check_bits();
            }
        }
    }

    #[test]
    fn the_last_row_of_a_sequence_has_no_next_token() {
        for mut net in build(true, 9, |b, p| {
            let weight = p.declare("model.embed_tokens.weight", &[crate::testing::VOCAB, 2]);
            Embedding::push_next(b, p, weight)
        }) {
            let y = net.output();
            let weight = net.value("model.embed_tokens.weight");
            for segment in &net.batch.segments {
                for row in segment.rows.clone() {
                    let expected = match row + 1 < segment.rows.end {
                        true => weight[net.batch.tokens[row + 1] as usize * 2..][..2].to_vec(),
                        false => vec![0.0, 0.0],
                    };
                    assert_eq!(y[row * 2..][..2], expected);
                }
            }
        }
    }

    /// Devices copy pieces of a row, and four elements at once where they can.
    #[test]
    fn rows_of_any_width() {
        for hidden in [37, 1030, 2052] {
            let nets = build(true, 60, |b, p| {
                let weight = p.declare("model.embed_tokens.weight", &[crate::testing::VOCAB, hidden]);
                Embedding::push_next(b, p, weight)
            });
            check_agreement(nets, Precision::F32, 2e-5);
        }
    }
}
