//! Smooths a noisy curve: at each point, a straight line is fitted through the neighbouring points.

/// The 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom. Beyond 30 the normal quantile is close enough.
const T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// A point of a fitted curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fitted {
    pub(super) x: f64,
    /// The value of the fitted line here.
    pub(super) y: f64,
    /// The 95 % confidence interval; `None` with fewer than four points.
    pub(super) band: Option<(f64, f64)>,
}

/// The number of neighbouring points that a fit uses, on a curve of `n` points.
fn window(n: usize) -> usize {
    (n / 6).max(9).min(n)
}

/// Smooths the curve through `points`.
pub(super) fn fit(points: &[(f64, f64)]) -> Vec<Fitted> {
    let window = window(points.len());
    let at = |i: usize| {
        // At the ends of the curve the window keeps its width and is not centred.
        let from = i.saturating_sub(window / 2).min(points.len() - window);
        line(&points[from..from + window], points[i].0)
    };
    (0..points.len()).map(at).collect()
}

/// The value at `x` of the least-squares line through `points`.
fn line(points: &[(f64, f64)], x: f64) -> Fitted {
    let n = points.len() as f64;
    let mean = |f: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n;
    let (mx, my) = (mean(&|p| p.0), mean(&|p| p.1));
    let sxx: f64 = points.iter().map(|p| (p.0 - mx).powi(2)).sum();
    let sxy: f64 = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
    let slope = if sxx > 0.0 { sxy / sxx } else { 0.0 };
    let y = my + slope * (x - mx);
    let rest: f64 = points.iter().map(|p| (p.1 - my - slope * (p.0 - mx)).powi(2)).sum();
    // With two points the line has no error; with three the error means nothing.
    let band = (points.len() >= 4 && sxx > 0.0).then(|| {
        let freedom = points.len() - 2;
        let t = T.get(freedom - 1).copied().unwrap_or(1.96);
        let half = t * (rest / freedom as f64 * (1.0 / n + (x - mx).powi(2) / sxx)).sqrt();
        (y - half, y + half)
    });
    Fitted { x, y, band }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_and_its_band_agree_with_values_computed_by_hand() {
        let points = [(1.0, 1.1), (2.0, 1.9), (3.0, 3.2), (4.0, 3.9), (5.0, 5.1)];
        let at = line(&points, 3.0);
        assert!((at.y - 3.04).abs() < 1e-9);
        // Slope 1, residuals .06 −.14 .16 −.14 .06, their squares sum to .072: s² = .024, half = 3.182 √(.024 / 5).
        let (low, high) = at.band.unwrap();
        assert!(
            (high - at.y - 3.182 * (0.024f64 / 5.0).sqrt()).abs() < 1e-9 && (at.y - low - (high - at.y)).abs() < 1e-9
        );
        // The line is less certain at the edge.
        let edge = line(&points, 5.0).band.unwrap();
        assert!(edge.1 - edge.0 > high - low);
    }

    #[test]
    fn a_straight_line_stays_and_short_curves_have_no_band() {
        let straight: Vec<(f64, f64)> = (0..40).map(|i| (i as f64, 2.0 * i as f64)).collect();
        for (f, p) in fit(&straight).iter().zip(&straight) {
            assert!((f.y - p.1).abs() < 1e-9 && f.band.is_some_and(|b| b.1 - b.0 < 1e-6));
        }
        assert!(fit(&[(1.0, 1.0), (2.0, 3.0), (3.0, 2.0)]).iter().all(|f| f.band.is_none()));
        assert!(fit(&[]).is_empty());
        assert_eq!(fit(&[(4.0, 7.0)])[0], Fitted { x: 4.0, y: 7.0, band: None });
    }
}
