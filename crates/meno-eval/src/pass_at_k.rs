//! pass@k: the chance that at least one of k samples is right.

/// The unbiased estimate of pass@k from `n` samples of which `c` are right (Chen et al. 2021, arXiv 2107.03374 eq. 1):
/// 1 − C(n−c, k) / C(n, k).
///
/// `k` above `n` cannot be estimated and gives `None`.
pub fn pass_at_k(n: usize, c: usize, k: usize) -> Option<f64> {
    if k == 0 || k > n || c > n {
        return None;
    }
    if n - c < k {
        return Some(1.0);
    }
    // Π_{i = n−c+1}^{n} (1 − k/i), the form that does not overflow.
    Some(1.0 - (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(pass_at_k(4, 1, 1), Some(0.25));
        // 1 − C(3,2)/C(4,2) = 1 − 3/6.
        assert!((pass_at_k(4, 1, 2).unwrap() - 0.5).abs() < 1e-12);
        // 1 − C(7,3)/C(10,3) = 1 − 35/120.
        assert!((pass_at_k(10, 3, 3).unwrap() - (1.0 - 35.0 / 120.0)).abs() < 1e-12);
        assert_eq!(pass_at_k(4, 4, 4), Some(1.0));
        assert_eq!(pass_at_k(4, 0, 4), Some(0.0));
        assert_eq!(pass_at_k(4, 1, 5), None);
    }
}
