//! Optimizers: their settings, and gradient clipping. Backends implement the steps ([`crate::backend::Optimizer`]).
//!
//! DeepSeek-V3 and R1 train with AdamW (Loshchilov & Hutter, arXiv 1711.05101). Muon (Moonlight, arXiv 2502.16982,
//! §2.2) is an option: it updates the matrices; AdamW then updates embeddings, head and vectors.

use crate::tape::{ParamInfo, ParamLayout};
use std::ops::Range;

/// The kind of optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OptimizerKind {
    /// AdamW everywhere.
    #[default]
    AdamW,
    /// Muon for matrices, AdamW for embeddings, head and vectors.
    Muon,
}

/// The settings of an optimizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerConfig {
    /// The kind of optimizer.
    pub kind: OptimizerKind,
    /// AdamW's decay of the first moment.
    pub adam_beta1: f32,
    /// AdamW's decay of the second moment.
    pub adam_beta2: f32,
    /// AdamW's epsilon, added to the root of the second moment.
    pub adam_epsilon: f32,
    /// Decoupled weight decay per step: w −= lr · weight_decay · w. One-dimensional parameters are not decayed.
    pub weight_decay: f32,
    /// Muon's momentum.
    pub muon_momentum: f32,
}

impl Default for OptimizerConfig {
    /// DeepSeek-V3 §4.2: β₁ = 0.9, β₂ = 0.95, weight decay 0.1. Moonlight: momentum 0.95.
    fn default() -> Self {
        OptimizerConfig {
            kind: OptimizerKind::AdamW,
            adam_beta1: 0.9,
            adam_beta2: 0.95,
            adam_epsilon: 1e-8,
            weight_decay: 0.1,
            muon_momentum: 0.95,
        }
    }
}

/// The update rule of one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UpdateRule {
    /// The parameter is not updated.
    Frozen,
    /// AdamW.
    AdamW {
        /// The weight decay.
        weight_decay: f32,
    },
    /// Muon.
    Muon {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
    },
}

impl UpdateRule {
    /// Returns the rule for a parameter.
    pub fn of(config: &OptimizerConfig, info: &ParamInfo) -> UpdateRule {
        let matrix = info.shape.len() >= 2;
        let embedding = ["embed_tokens.weight", "lm_head.weight"].iter().any(|name| info.name.ends_with(name));
        match config.kind {
            _ if !info.trainable => UpdateRule::Frozen,
            OptimizerKind::Muon if matrix && !embedding => {
                let [rows, cols] = info.matrix_shape();
                UpdateRule::Muon { rows, cols }
            }
            _ => UpdateRule::AdamW { weight_decay: if matrix { config.weight_decay } else { 0.0 } },
        }
    }
}

/// Parameters that are divided between processes are cut at multiples of this number of values. Every backend sums
/// squares over blocks of a parameter that divide it, so that a gradient norm has the same bits for any division.
pub const CUT: usize = 1 << 15;

/// Divides `ranges` of the layout into `parts` parts of nearly equal length, in order, for optimizers that each update
/// one part (ZeRO stage 1, arXiv 1910.02054). A matrix that Muon updates stays whole, because its update needs all of
/// it.
pub fn divide(
    config: &OptimizerConfig,
    layout: &ParamLayout,
    ranges: &[Range<usize>],
    parts: usize,
) -> Vec<Vec<Range<usize>>> {
    let total: usize = ranges.iter().map(Range::len).sum();
    let mut divided = vec![Vec::new(); parts];
    // The part to fill, and the values that are dealt out.
    let (mut part, mut dealt) = (0, 0);
    for range in ranges {
        let mut start = range.start;
        for cut in cuts(config, layout, range).chain([range.end]) {
            // A part is full when it ends nearest to its share.
            let end = dealt + (cut - start);
            let share = total * (part + 1) / parts;
            if part + 1 < parts && end > share && end - share >= share.saturating_sub(dealt) {
                part += 1;
            }
            push(&mut divided[part], start..cut);
            (start, dealt) = (cut, end);
        }
    }
    divided
}

/// Returns the places strictly inside `range` at which it can be cut.
fn cuts<'a>(
    config: &'a OptimizerConfig,
    layout: &'a ParamLayout,
    range: &'a Range<usize>,
) -> impl Iterator<Item = usize> + 'a {
    let places = layout.iter().flat_map(|(_, info)| {
        let step = match UpdateRule::of(config, info) {
            UpdateRule::Muon { .. } => info.len().max(1),
            UpdateRule::AdamW { .. } | UpdateRule::Frozen => CUT,
        };
        info.range().step_by(step)
    });
    places.filter(move |at| range.start < *at && *at < range.end)
}

/// Appends a range, joined with the last one if they touch.
fn push(ranges: &mut Vec<Range<usize>>, range: Range<usize>) {
    match ranges.last_mut() {
        _ if range.is_empty() => {}
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

/// A piece of a parameter that an optimizer updates.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OwnedPiece {
    /// Its place in the layout.
    pub(crate) place: Range<usize>,
    /// Its first value in the optimizer's state.
    pub(crate) state: usize,
    /// Its rule.
    pub(crate) rule: UpdateRule,
}

/// Returns the pieces of parameters that lie in `owned`, in order. The state of an optimizer holds `owned`, one range
/// after the other.
///
/// # Panics
/// Panics if a matrix that Muon updates is cut, which is a bug of the caller.
pub(crate) fn owned_pieces(config: &OptimizerConfig, layout: &ParamLayout, owned: &[Range<usize>]) -> Vec<OwnedPiece> {
    let (mut pieces, mut state) = (Vec::new(), 0);
    for range in owned {
        for (_, info) in layout.iter() {
            let place = info.range().start.max(range.start)..info.range().end.min(range.end);
            if place.is_empty() {
                continue;
            }
            let rule = UpdateRule::of(config, info);
            let whole = place == info.range() || !matches!(rule, UpdateRule::Muon { .. });
            assert!(whole, "invariant: {} is not cut", info.name);
            pieces.push(OwnedPiece { state: state + (place.start - range.start), place, rule });
        }
        state += range.len();
    }
    pieces
}

/// Returns the number of values in `owned`: the length of each moment.
pub(crate) fn owned_len(owned: &[Range<usize>]) -> usize {
    owned.iter().map(Range::len).sum()
}

/// Returns the pieces of trainable parameters inside `range`, in order, each at most `block` values long and cut at
/// multiples of `block` in its parameter.
pub(crate) fn norm_blocks(
    layout: &ParamLayout,
    range: Range<usize>,
    block: usize,
) -> impl Iterator<Item = Range<usize>> {
    debug_assert!(CUT.is_multiple_of(block), "invariant: cuts fall between blocks");
    let trainable = layout.iter().filter(|(_, info)| info.trainable).map(|(_, info)| info.range());
    let inside = trainable.map(move |r| r.start.max(range.start)..r.end.min(range.end)).filter(|r| !r.is_empty());
    inside.flat_map(move |r| r.clone().step_by(block).map(move |at| at..r.end.min(at + block)))
}

/// Returns the factor that reduces gradients of norm `norm` to `max_norm`; 1 below it, and for `max_norm` ≤ 0 (off). A
/// norm that is not finite gives 0: the step then consists of weight decay and momentum only.
pub fn clip_scale(norm: f64, max_norm: f32) -> f32 {
    if !norm.is_finite() {
        0.0
    } else if max_norm > 0.0 && norm > max_norm as f64 {
        (max_norm as f64 / norm) as f32
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameters of 3.5 and 1 cuts, a small one, and a matrix for Muon.
    fn layout() -> ParamLayout {
        let mut layout = ParamLayout::default();
        layout.declare("model.embed_tokens.weight", &[7, CUT / 2]);
        layout.declare("norm.weight", &[40]);
        layout.declare("a.weight", &[2, CUT]);
        layout.declare("lm_head.weight", &[1, CUT]);
        layout
    }

    #[test]
    fn divided_parameters_are_complete_and_cut_where_it_is_allowed() {
        let layout = layout();
        for kind in [OptimizerKind::AdamW, OptimizerKind::Muon] {
            let config = OptimizerConfig { kind, ..OptimizerConfig::default() };
            for parts in [1, 2, 4, 8, 16] {
                let divided = divide(&config, &layout, &layout.whole(), parts);
                assert_eq!(divided.len(), parts);
                let mut joined = Vec::new();
                divided.iter().flatten().for_each(|range| push(&mut joined, range.clone()));
                assert_eq!(joined, layout.whole(), "{kind:?}, {parts} parts");
                // `owned_pieces` panics if a matrix of Muon is cut.
                divided.iter().for_each(|owned| _ = owned_pieces(&config, &layout, owned));
            }
            let halves = divide(&config, &layout, &layout.whole(), 2);
            let longest = halves.iter().map(|half| owned_len(half)).max();
            assert!(longest <= Some(layout.total() / 2 + CUT), "{halves:?}");
        }
        // Values between the ranges belong to no part.
        let ranges = [0..CUT, 2 * CUT..3 * CUT];
        let divided = divide(&OptimizerConfig::default(), &layout, &ranges, 2);
        assert_eq!(divided, ranges.map(|range| vec![range]));
    }

    #[test]
    fn blocks_of_the_norm_do_not_depend_on_the_division() {
        let layout = layout();
        let whole: Vec<_> = norm_blocks(&layout, 0..layout.total(), 4096).collect();
        let halves = divide(&OptimizerConfig::default(), &layout, &layout.whole(), 2);
        let parts =
            halves.into_iter().flatten().flat_map(|range| norm_blocks(&layout, range, 4096).collect::<Vec<_>>());
        assert_eq!(parts.collect::<Vec<_>>(), whole);
    }

    #[test]
    fn clips_above_the_limit_only() {
        assert_eq!(clip_scale(0.5, 1.0), 1.0);
        assert_eq!(clip_scale(4.0, 1.0), 0.25);
        assert_eq!(clip_scale(4.0, 0.0), 1.0);
        assert_eq!(clip_scale(f64::NAN, 1.0), 0.0);
    }
}
