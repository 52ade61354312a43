//! Packs sequences into passes of at most `max_tokens` rows, with boundaries and without padding.
//!
//! A pass computes only its rows, so packing reduces the number of passes, not padding. Sequences never attend to each
//! other (`Batch::segments`), and the results of a token do not depend on other sequences (the numerics contract).

/// Best-fit decreasing: returns groups of sequence indices whose lengths sum to at most `max_tokens`.
///
/// Deterministic: equal lengths keep their order; each group is in ascending order of index.
///
/// # Panics
/// If a sequence is longer than `max_tokens`. Callers check this and tell the user which setting to increase.
pub fn best_fit(lens: &[usize], max_tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lens.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lens[i]), i));
    let mut passes: Vec<(usize, Vec<usize>)> = Vec::new();
    for i in order {
        assert!(lens[i] <= max_tokens, "invariant: {} tokens fit a pass of {max_tokens}", lens[i]);
        let fit = passes.iter_mut().filter(|(free, _)| *free >= lens[i]).min_by_key(|(free, _)| *free);
        match fit {
            Some((free, members)) => {
                *free -= lens[i];
                members.push(i);
            }
            None => passes.push((max_tokens - lens[i], vec![i])),
        }
    }
    let mut passes: Vec<Vec<usize>> = passes.into_iter().map(|(_, members)| members).collect();
    passes.iter_mut().for_each(|p| p.sort_unstable());
    passes.sort_by_key(|p| p[0]);
    passes
}

#[cfg(test)]
mod tests {
    use super::*;
    use meno_tensor::rng::Rng;

    #[test]
    fn fills_the_tightest_place() {
        // 7 opens a pass of 10, 6 another; 4 joins 6 (exact fit), 3 joins 7 (exact fit).
        assert_eq!(best_fit(&[3, 7, 4, 6], 10), vec![vec![0, 1], vec![2, 3]]);
    }

    #[test]
    fn every_sequence_once_and_no_pass_too_full() {
        let mut rng = Rng::new(&[3]);
        for _ in 0..50 {
            let lens: Vec<usize> = (0..rng.below(60)).map(|_| 1 + rng.below(64)).collect();
            let passes = best_fit(&lens, 64);
            let mut seen: Vec<usize> = passes.concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..lens.len()).collect::<Vec<_>>());
            for pass in &passes {
                assert!(pass.iter().map(|&i| lens[i]).sum::<usize>() <= 64);
            }
            // Best-fit decreasing: no two passes can be joined.
            let fill: Vec<usize> = passes.iter().map(|p| p.iter().map(|&i| lens[i]).sum()).collect();
            for (i, a) in fill.iter().enumerate() {
                assert!(fill[..i].iter().all(|b| a + b > 64));
            }
        }
    }
}
