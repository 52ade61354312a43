//! Learning-rate schedules, as a factor of the peak rate.
//!
//! V3 §4.2: linear warm-up, constant, cosine to a tenth, constant. The others are common alternatives.

use serde::{Deserialize, Serialize};

/// The shape of the learning rate over a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum LrSchedulerType {
    /// Warm-up, then the peak.
    Constant,
    /// Warm-up, then a straight line to `min_lr_rate`.
    Linear,
    /// Warm-up, then half a cosine to `min_lr_rate`.
    #[default]
    Cosine,
    /// DeepSeek-V3: warm-up, the peak until `decay_start`, half a cosine until `decay_end`, then `min_lr_rate`.
    V3,
    /// Warm-up, stable until `decay_start`, then a straight line to `min_lr_rate` at the end.
    Wsd,
}

/// A schedule over a run of known length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrSchedule {
    /// Its shape.
    pub kind: LrSchedulerType,
    /// Optimizer steps of linear warm-up from 0.
    pub warmup_steps: usize,
    /// Optimizer steps of the whole run.
    pub max_steps: usize,
    /// The final rate, as a fraction of the peak.
    pub min_lr_rate: f32,
    /// Fraction of the run at which the decay begins (V3, WSD).
    pub decay_start: f32,
    /// Fraction of the run at which the decay ends (V3).
    pub decay_end: f32,
}

impl LrSchedule {
    /// Returns the factor of the peak rate for optimizer step `step`, counted from 0.
    pub fn factor(&self, step: usize) -> f32 {
        if step < self.warmup_steps {
            return (step + 1) as f32 / self.warmup_steps as f32;
        }
        let begin = self.warmup_steps as f32;
        let max = self.max_steps as f32;
        let (first, last) = match self.kind {
            LrSchedulerType::Constant => return 1.0,
            LrSchedulerType::Linear | LrSchedulerType::Cosine => (begin, max),
            LrSchedulerType::V3 => ((self.decay_start * max).max(begin), self.decay_end * max),
            LrSchedulerType::Wsd => ((self.decay_start * max).max(begin), max),
        };
        let t = if last > first { ((step as f32 - first) / (last - first)).clamp(0.0, 1.0) } else { 1.0 };
        let shape = match self.kind {
            LrSchedulerType::Cosine | LrSchedulerType::V3 => 0.5 * (1.0 + (std::f32::consts::PI * t).cos()),
            _ => 1.0 - t,
        };
        self.min_lr_rate + (1.0 - self.min_lr_rate) * shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: LrSchedulerType) -> LrSchedule {
        LrSchedule { kind, warmup_steps: 10, max_steps: 110, min_lr_rate: 0.1, decay_start: 0.5, decay_end: 0.9 }
    }

    #[test]
    fn values_at_the_corners() {
        for kind in [
            LrSchedulerType::Constant,
            LrSchedulerType::Linear,
            LrSchedulerType::Cosine,
            LrSchedulerType::V3,
            LrSchedulerType::Wsd,
        ] {
            let s = schedule(kind);
            assert!((s.factor(0) - 0.1).abs() < 1e-6, "{kind:?}: the first step of ten has a tenth of the rate");
            assert!((s.factor(9) - 1.0).abs() < 1e-6, "{kind:?}");
            assert!((s.factor(10) - 1.0).abs() < 1e-6, "{kind:?}: the peak follows the warm-up");
        }
        // Half-way from 10 to 110.
        assert!((schedule(LrSchedulerType::Linear).factor(60) - 0.55).abs() < 1e-6);
        assert!((schedule(LrSchedulerType::Cosine).factor(60) - 0.55).abs() < 1e-6);
        // A quarter: cos(pi/4) = 0.7071, so 0.1 + 0.9 * 0.85355.
        assert!((schedule(LrSchedulerType::Cosine).factor(35) - 0.868_198).abs() < 1e-5);
        assert_eq!(schedule(LrSchedulerType::Constant).factor(109), 1.0);
    }

    #[test]
    fn v3_is_constant_then_cosine_then_constant() {
        let s = schedule(LrSchedulerType::V3);
        assert_eq!(s.factor(55), 1.0);
        // The decay runs from step 55 to step 99; half of it is at 77.
        assert!((s.factor(77) - 0.55).abs() < 1e-5, "{}", s.factor(77));
        assert!((s.factor(100) - 0.1).abs() < 1e-6);
        assert!((s.factor(109) - 0.1).abs() < 1e-6);
    }

    #[test]
    fn wsd_is_stable_then_falls_in_a_line() {
        let s = schedule(LrSchedulerType::Wsd);
        assert_eq!(s.factor(54), 1.0);
        assert!((s.factor(66) - (0.1 + 0.9 * 0.8)).abs() < 1e-5, "{}", s.factor(66));
    }
}
