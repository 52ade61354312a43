//! Exact arithmetic: fractions of i128.

/// A fraction in lowest terms, denominator positive. Operations give `None` on overflow and division by zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    pub(super) numerator: i128,
    pub(super) denominator: i128,
}

impl Fraction {
    /// `numerator / denominator`.
    pub fn new(numerator: i128, denominator: i128) -> Option<Fraction> {
        if denominator == 0 || numerator == i128::MIN || denominator == i128::MIN {
            return None;
        }
        let (mut a, mut b) = (numerator.unsigned_abs(), denominator.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let divisor = (a.max(1) as i128) * denominator.signum();
        Some(Fraction { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    /// The sum.
    pub fn checked_add(self, b: Fraction) -> Option<Fraction> {
        let left = self.numerator.checked_mul(b.denominator)?;
        let right = b.numerator.checked_mul(self.denominator)?;
        Fraction::new(left.checked_add(right)?, self.denominator.checked_mul(b.denominator)?)
    }

    /// The difference.
    pub fn checked_sub(self, b: Fraction) -> Option<Fraction> {
        self.checked_add(Fraction { numerator: -b.numerator, ..b })
    }

    /// The product.
    pub fn checked_mul(self, b: Fraction) -> Option<Fraction> {
        Fraction::new(self.numerator.checked_mul(b.numerator)?, self.denominator.checked_mul(b.denominator)?)
    }

    /// The quotient.
    pub fn checked_div(self, b: Fraction) -> Option<Fraction> {
        self.checked_mul(Fraction::new(b.denominator, b.numerator)?)
    }

    /// As f64.
    pub fn to_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }
}

impl std::fmt::Display for Fraction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.denominator {
            1 => write!(f, "{}", self.numerator),
            d => write!(f, "{}/{d}", self.numerator),
        }
    }
}
