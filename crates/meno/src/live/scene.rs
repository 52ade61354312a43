//! The contents of the view: the state of a run.

use super::figures::{figure, is_curve};
use crate::progress::duration;
use meno_train::Metrics;
use meno_train::data::Verdict;
use meno_train::rollout::Rollout;
use std::time::{Duration, Instant};

/// The state of a stage.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum StageState {
    /// Not started yet.
    Waiting,
    /// Running since this time.
    Running(Instant),
    /// Its duration, and a short description of its result.
    Done(Duration, String),
}

/// One stage of a run.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    /// Its name.
    pub(super) name: String,
    /// Its state.
    pub(super) state: StageState,
}

/// A metric over the steps of the stage.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// An answer to show.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) question: String,
    pub(super) text: String,
    pub(super) verdict: Verdict,
    pub(super) reward: f32,
    pub(super) tokens: usize,
}

/// Progress within a step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Within {
    pub(super) what: String,
    pub(super) done: usize,
    pub(super) total: usize,
    /// Tokens sampled for it, and tokens per second.
    pub(super) sampled: Option<(usize, f64)>,
}

/// Everything that the view shows.
pub(super) struct Scene {
    pub(super) title: String,
    pub(super) stages: Vec<Stage>,
    pub(super) current: usize,
    pub(super) started: Instant,
    /// Estimated seconds of each stage; empty without an estimate.
    pub(super) plan: Vec<f64>,
    /// Steps done and total steps.
    pub(super) steps: (usize, usize),
    /// The step at which this process started counting, and the time.
    first: Option<(usize, Instant)>,
    /// The end of the latest step.
    latest_step: Instant,
    pub(super) within: Option<Within>,
    pub(super) latest: Option<Metrics>,
    pub(super) curves: Vec<Curve>,
    pub(super) sample: Option<Sample>,
}

impl Scene {
    pub(super) fn new(title: &str, stages: &[&str]) -> Scene {
        let stage = |name: &&str| Stage { name: name.to_string(), state: StageState::Waiting };
        let now = Instant::now();
        Scene {
            title: title.to_owned(),
            stages: stages.iter().map(stage).collect(),
            current: 0,
            started: now,
            plan: Vec::new(),
            steps: (0, 0),
            first: None,
            latest_step: now,
            within: None,
            latest: None,
            curves: Vec::new(),
            sample: None,
        }
    }

    /// Starts stage `index`.
    pub(super) fn begin(&mut self, index: usize) {
        self.current = index;
        self.steps = (0, 0);
        self.first = None;
        self.latest_step = Instant::now();
        self.within = None;
        self.latest = None;
        self.curves.clear();
        self.sample = None;
        if let Some(stage) = self.stages.get_mut(index) {
            stage.state = StageState::Running(Instant::now());
        }
    }

    /// Ends the running stage; returns false if none was running.
    pub(super) fn finish(&mut self, result: &str) -> bool {
        self.within = None;
        let Some(stage) = self.stages.get_mut(self.current) else { return false };
        let StageState::Running(since) = stage.state else { return false };
        stage.state = StageState::Done(since.elapsed(), result.to_owned());
        true
    }

    /// Marks a stage as finished before this process started.
    pub(super) fn skip(&mut self, index: usize, result: &str) {
        if let Some(stage) = self.stages.get_mut(index) {
            stage.state = StageState::Done(Duration::ZERO, result.to_owned());
        }
    }

    /// True while a stage runs.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.stages.get(self.current).map(|s| &s.state), Some(StageState::Running(_)))
    }

    /// Records a completed step.
    pub(super) fn step(&mut self, metrics: &Metrics, max_steps: usize) {
        // The same stage now has another kind of step: sampling, then training.
        let other = self.steps.1 != max_steps || metrics.step <= self.steps.0;
        if other || self.first.is_none() {
            self.first = Some((metrics.step.saturating_sub(1), self.latest_step));
        }
        self.latest_step = Instant::now();
        self.steps = (metrics.step, max_steps);
        self.within = None;
        for (name, value) in &metrics.values {
            if !value.is_finite() || !is_curve(name) {
                continue;
            }
            let point = (metrics.step as f64, *value);
            match self.curves.iter_mut().find(|c| c.name == *name) {
                Some(curve) => curve.points.push(point),
                None => self.curves.push(Curve { name: name.to_string(), points: vec![point] }),
            }
        }
        self.latest = Some(metrics.clone());
    }

    /// Records progress within a step.
    pub(super) fn progress(&mut self, within: Within) {
        let sampled = self.within.take().filter(|w| w.what == within.what).and_then(|w| w.sampled);
        self.within = Some(Within { sampled, ..within });
    }

    /// Records the tokens sampled so far.
    pub(super) fn sampled(&mut self, tokens: usize, seconds: f64) {
        if let Some(within) = &mut self.within {
            within.sampled = Some((tokens, tokens as f64 / seconds.max(1e-3)));
        }
    }

    /// Chooses the response to show; returns false if there is none.
    pub(super) fn rollouts(&mut self, rollouts: &[Rollout]) -> bool {
        if rollouts.is_empty() {
            return false;
        }
        // Show a different rollout each time, right or wrong.
        let r = &rollouts[(self.steps.0 * 7) % rollouts.len()];
        let (question, text) = (r.question.text.clone(), r.text.clone());
        self.sample = Some(Sample { question, text, verdict: r.verdict, reward: r.reward, tokens: r.tokens.len() });
        true
    }

    /// Seconds until the stage's steps are done, from the rate of this process.
    pub(super) fn seconds_left(&self) -> Option<f64> {
        let (first, since) = self.first?;
        let made = self.steps.0.checked_sub(first).filter(|m| *m > 0)?;
        let rate = self.latest_step.duration_since(since).as_secs_f64() / made as f64;
        let left = rate * self.steps.1.saturating_sub(self.steps.0) as f64;
        // The current step is partly done.
        Some((left - self.latest_step.elapsed().as_secs_f64()).max(if left > 0.0 { 1.0 } else { 0.0 }))
    }

    /// Seconds until all stages are done: the estimate, corrected by its error so far.
    pub(super) fn whole_left(&self) -> Option<f64> {
        if self.plan.len() != self.stages.len() {
            return None;
        }
        let (mut thought, mut took, mut left) = (0.0, 0.0, 0.0);
        for (stage, seconds) in self.stages.iter().zip(&self.plan) {
            if let StageState::Done(time, _) = &stage.state
                && !time.is_zero()
            {
                thought += seconds;
                took += time.as_secs_f64();
            }
        }
        // Short stages say little about long ones.
        let all: f64 = self.plan.iter().sum();
        let known = (thought / (0.1 * all).max(1e-9)).min(1.0);
        let factor = if thought > 0.0 { 1.0 + known * ((took / thought).clamp(0.1, 10.0) - 1.0) } else { 1.0 };
        for (stage, seconds) in self.stages.iter().zip(&self.plan) {
            left += match stage.state {
                StageState::Waiting => factor * seconds,
                StageState::Running(since) => {
                    let rest = factor * seconds - since.elapsed().as_secs_f64();
                    rest.max(self.seconds_left().unwrap_or(0.0)).max(0.0)
                }
                StageState::Done(..) => 0.0,
            };
        }
        Some(left)
    }

    /// Formats the remaining time as `12 s left, 8 min 03 s in all`.
    pub(super) fn left(&self) -> Option<String> {
        let stage = self.seconds_left().filter(|_| self.steps.0 < self.steps.1).map(duration);
        match (stage, self.whole_left().filter(|_| self.stages.len() > 1).map(duration)) {
            (Some(stage), Some(all)) => Some(format!("{stage} left, {all} in all")),
            (Some(stage), None) => Some(format!("{stage} left")),
            (None, Some(all)) => Some(format!("{all} left in all")),
            (None, None) => None,
        }
    }
}

impl Within {
    /// Formats progress as `responses 12/32  5120 tokens  340 tokens/s`.
    pub(super) fn text(&self) -> String {
        let Within { what, done, total, sampled } = self;
        let sampled =
            sampled.map_or_else(String::new, |(tokens, rate)| format!("  {tokens} tokens  {} tokens/s", figure(rate)));
        format!("{what} {done}/{total}{sampled}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_of_all_is_the_plan_corrected_by_what_was_found() {
        let mut scene = Scene::new("run", &["a", "b", "c"]);
        assert_eq!(scene.whole_left(), None);
        scene.plan = vec![10.0, 20.0, 70.0];
        assert_eq!(scene.whole_left(), Some(100.0));
        // Everything takes twice the estimated time.
        scene.stages[0].state = StageState::Done(Duration::from_secs(20), String::new());
        assert_eq!(scene.whole_left(), Some(180.0));
        scene.current = 1;
        scene.stages[1].state = StageState::Running(Instant::now());
        let left = scene.whole_left().unwrap();
        assert!((179.0..=180.0).contains(&left), "{left}");
        // A stage that is behind its estimate still has the time that its steps imply.
        scene.steps = (1, 1001);
        scene.first = Some((0, Instant::now() - Duration::from_secs(1)));
        scene.latest_step = Instant::now();
        let left = scene.whole_left().unwrap();
        assert!(left > 1000.0, "{left}");
    }

    #[test]
    fn the_rate_is_that_of_the_steps_that_are_made_now() {
        let mut scene = Scene::new("run", &["one"]);
        let step = |scene: &mut Scene, step, of| scene.step(&Metrics::new(step), of);
        scene.latest_step -= Duration::from_secs(10);
        step(&mut scene, 1, 3);
        let left = scene.seconds_left().unwrap();
        assert!((19.0..21.0).contains(&left), "{left}");
        // Sampling is over; training has another rate.
        step(&mut scene, 3, 3);
        scene.latest_step -= Duration::from_secs(2);
        step(&mut scene, 1, 5);
        let left = scene.seconds_left().unwrap();
        assert!((7.0..9.0).contains(&left), "{left}");
    }

    #[test]
    fn what_goes_on_is_said() {
        let within = Within { what: "responses".into(), done: 12, total: 32, sampled: Some((5120, 341.2)) };
        assert_eq!(within.text(), "responses 12/32  5120 tokens  341 tokens/s");
    }
}
