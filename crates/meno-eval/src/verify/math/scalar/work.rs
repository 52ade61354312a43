//! The budget of a comparison, and why an evaluation can fail.

/// Work that one comparison may do. Every operation is charged before it runs; a unit is about a nanosecond.
#[derive(Debug)]
pub struct Work {
    left: u64,
}

impl Work {
    /// A budget of `units`.
    pub fn new(units: u64) -> Work {
        Work { left: units }
    }

    /// What is left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Charges `units`, or fails if they are not left.
    pub(super) fn spend(&mut self, units: u64) -> Result<(), Failure> {
        if self.left < units {
            self.left = 0;
            return Err(Failure::Limit);
        }
        self.left -= units;
        Ok(())
    }

    /// Charges arithmetic on numbers of `bits` bits: `count` multiplications.
    pub(super) fn multiply(&mut self, bits: i64, count: u64) -> Result<(), Failure> {
        self.spend(multiplication(bits).saturating_mul(count))
    }
}

impl Default for Work {
    /// A few milliseconds.
    fn default() -> Work {
        Work::new(5_000_000)
    }
}

/// About the time of one multiplication of `bits`-bit numbers, with its overhead.
pub(super) fn multiplication(bits: i64) -> u64 {
    let limbs = bits.unsigned_abs() / 64 + 1;
    // Karatsuba takes over at 32 limbs.
    100 + if limbs <= 32 { limbs * limbs } else { 32 * (limbs as f64).powf(1.585) as u64 / 8 }
}

/// Why an expression has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It is certainly undefined: 1/0, ln 0.
    Undefined,
    /// It may be undefined: a denominator cannot be told from zero at this precision.
    Singular,
    /// A jump (floor, sign, branch cut) cannot be decided at this precision.
    Unclear,
    /// Too large, unsupported, or out of budget.
    Limit,
}
