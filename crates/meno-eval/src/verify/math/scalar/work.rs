//! The work budget of a comparison, and the reasons why an evaluation can fail.

/// The work budget of one comparison. Every operation is charged before it runs; a unit is about one nanosecond.
#[derive(Debug)]
pub struct Work {
    left: u64,
}

impl Work {
    /// Creates a budget of `units`.
    pub fn new(units: u64) -> Work {
        Work { left: units }
    }

    /// The remaining units.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Charges `units`; fails if fewer remain.
    pub(super) fn spend(&mut self, units: u64) -> Result<(), Failure> {
        if self.left < units {
            self.left = 0;
            return Err(Failure::Limit);
        }
        self.left -= units;
        Ok(())
    }

    /// Charges `count` multiplications of `bits`-bit numbers.
    pub(super) fn multiply(&mut self, bits: i64, count: u64) -> Result<(), Failure> {
        self.spend(multiplication(bits).saturating_mul(count))
    }
}

impl Default for Work {
    /// A budget of a few milliseconds.
    fn default() -> Work {
        Work::new(5_000_000)
    }
}

/// The approximate cost of one multiplication of `bits`-bit numbers, including overhead.
pub(super) fn multiplication(bits: i64) -> u64 {
    let limbs = bits.unsigned_abs() / 64 + 1;
    // From 32 limbs on, Karatsuba multiplication is used.
    100 + if limbs <= 32 { limbs * limbs } else { 32 * (limbs as f64).powf(1.585) as u64 / 8 }
}

/// The reason why an expression has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Certainly undefined: 1/0, ln 0.
    Undefined,
    /// Possibly undefined: a denominator cannot be distinguished from zero at this precision.
    Singular,
    /// A jump (floor, sign, branch cut) cannot be decided at this precision.
    Unclear,
    /// Too large, unsupported, or budget exhausted.
    Limit,
}
