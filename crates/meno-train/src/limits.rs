//! Ranges of settings: one table per section, and one error for all.

use crate::error::Error;

/// A range of numbers, and its description.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    holds: fn(f64) -> bool,
    expected: &'static str,
}

/// 1 or above.
pub(crate) const AT_LEAST_ONE: Range = Range { holds: |v| v >= 1.0, expected: "expected 1 or above" };
/// 0 or above, and finite.
pub(crate) const NOT_NEGATIVE: Range =
    Range { holds: |v| v.is_finite() && v >= 0.0, expected: "expected a finite number, 0 or above" };
/// Above 0, and finite.
pub(crate) const POSITIVE: Range =
    Range { holds: |v| v.is_finite() && v > 0.0, expected: "expected a finite number above 0" };
/// 0 to 1, both included.
pub(crate) const FRACTION: Range = Range { holds: |v| (0.0..=1.0).contains(&v), expected: "expected 0 to 1" };
/// 0 to 1, excluding 1.
pub(crate) const BELOW_ONE: Range =
    Range { holds: |v| (0.0..1.0).contains(&v), expected: "expected a value from 0 to below 1" };
/// 0 to 1, excluding 0.
pub(crate) const PROBABILITY: Range =
    Range { holds: |v| v > 0.0 && v <= 1.0, expected: "expected a probability above 0, at most 1" };

/// Fails for the first setting outside the range.
pub(crate) fn within(range: Range, settings: &[(&'static str, f64)]) -> Result<(), Error> {
    match settings.iter().find(|(_, value)| !(range.holds)(*value)) {
        // Settings are f32 or counts; printed as f32, they appear as the user wrote them.
        Some((key, value)) => Err(refused(key, *value as f32, range.expected)),
        None => Ok(()),
    }
}

/// Returns the error of a setting that is invalid for another reason than its range.
pub(crate) fn refused(key: &'static str, value: impl ToString, expected: impl Into<String>) -> Error {
    Error::Setting { key, value: value.to_string(), expected: expected.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_refuse_what_lies_outside_and_what_is_no_number() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        for (range, inside, outside) in [
            (AT_LEAST_ONE, &[1.0, 9.0][..], &[0.0, -1.0, nan][..]),
            (NOT_NEGATIVE, &[0.0, 3.0], &[-1e-9, inf, nan]),
            (POSITIVE, &[1e-9], &[0.0, -1.0, inf, nan]),
            (FRACTION, &[0.0, 1.0], &[-0.1, 1.1, nan]),
            (BELOW_ONE, &[0.0, 0.99], &[1.0, -0.1, nan]),
            (PROBABILITY, &[0.1, 1.0], &[0.0, 1.01, nan]),
        ] {
            assert!(inside.iter().all(|v| within(range, &[("k", *v)]).is_ok()), "{}", range.expected);
            for value in outside {
                let error = within(range, &[("a", 1.0f64.min(inside[0])), ("b", *value)]).unwrap_err().to_string();
                assert!(error.starts_with("`b` = ") && error.contains("expected"), "{error}");
            }
        }
        assert_eq!(
            within(FRACTION, &[("train.min_lr_rate", f64::from(1.1f32))]).unwrap_err().to_string(),
            "`train.min_lr_rate` = 1.1: expected 0 to 1"
        );
    }
}
