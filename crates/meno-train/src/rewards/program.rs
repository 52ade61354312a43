//! A program as a reward: it reads answers as JSON lines and writes one number for each.
//!
//! One process serves the whole run. For every answer of a rollout it receives one line on its standard input,
//!
//! ```json
//! {"id": 0, "question": "What is 1+1?", "prompt": "…", "completion": "<think>…", "answer": "2", "language": "en",
//!  "index": 0, "tokens": 14, "truncated": false, "verdict": "right",
//!  "record": {"question": "What is 1+1?", "answer": "2"}}
//! ```
//!
//! where `record` is the whole record of the data file, without nulls (`{}` for a task that generates its questions).
//! It writes one line for each, in order: `{"reward": 0.5}` or `0.5`. `id` counts the answers of a rollout from 0. A
//! reply may repeat it (`{"reward": 0.5, "id": 0}`); a wrong id is an error. An extra line is also an error, because
//! the earlier rewards may then belong to other answers; it is checked after each rollout.
//!
//! All lines of a rollout are sent at once, so a program may read several before it answers. It must not wait for the
//! end of its input, which comes only at the end of the run. Its standard error is shown. If the program exits or
//! exceeds the timeout on an answer, it is restarted and asked again, a limited number of times per answer. A line that
//! is not a number is an error immediately.
//!
//! It runs in the working directory of the run, with its environment (and `PYTHONUNBUFFERED=1`, so that Python's output
//! arrives immediately) and the user's permissions: it is trusted like the recipe that names it.

mod process;

use super::{BatchReward, Input};
use crate::error::Error;
use crate::observer::Observer;
use process::{Event, Process};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Minimum and maximum time to wait for an extra line; in between, it is the longest wait for a line so far.
const AFTER: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// A program that scores answers.
pub struct Program {
    path: PathBuf,
    name: String,
    timeout: Duration,
    max_restarts: usize,
    process: Mutex<Option<Process>>,
}

/// The result of one attempt.
enum Attempt {
    Done,
    Stopped,
    /// It exited or timed out; contains the reason.
    Failed(String),
}

impl Program {
    /// Starts the program at `path`, with `timeout` per answer and at most `max_restarts` failures on one answer.
    pub fn start(path: &Path, timeout: Duration, max_restarts: usize) -> Result<Program, Error> {
        let name = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        let (path, process) = (path.to_owned(), Mutex::new(None));
        let program = Program { path, name, timeout, max_restarts, process };
        let process = program.spawn()?;
        *program.lock() = Some(process);
        Ok(program)
    }

    fn spawn(&self) -> Result<Process, Error> {
        Process::spawn(&self.path).map_err(|message| self.error(message))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        // A panic while the lock was held leaves the process out of step; the next check detects that.
        self.process.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn error(&self, message: String) -> Error {
        Error::Reward { name: self.path.display().to_string(), message }
    }

    /// Sends `lines` and adds the replies to `scores`.
    fn ask(
        &self,
        process: &mut Process,
        lines: &[String],
        scores: &mut Vec<f32>,
        observer: &mut dyn Observer,
    ) -> Result<Attempt, Error> {
        if let Some(line) = process.unasked() {
            let line = shortened(&line);
            return Err(self.error(format!(
                "wrote {line:?} when no answer was waiting: expected one line for each answer and no others"
            )));
        }
        let all = scores.len() + lines.len();
        let (mut last, mut slowest) = (Instant::now(), AFTER[0]);
        let progress = process.exchange(lines, self.timeout, |event| {
            Ok(match event {
                Event::Line(line) => {
                    slowest = slowest.max(last.elapsed());
                    last = Instant::now();
                    let id = scores.len();
                    let score = number_of(&line, id).map_err(|wrong| {
                        self.error(format!(
                            "wrote {wrong} for answer {} of {all} (id {id}), expected a number or {{\"reward\": \
                             number}}",
                            id + 1
                        ))
                    })?;
                    scores.push(score);
                    observer.on_progress(&self.name, scores.len(), all);
                    (scores.len() == all).then_some(Attempt::Done)
                }
                Event::Said(line) => {
                    observer.on_note(&format!("{}: {line}", self.name));
                    None
                }
                Event::Waiting => observer.should_stop().then_some(Attempt::Stopped),
                Event::TimedOut => {
                    let seconds = self.timeout.as_secs_f32();
                    Some(Attempt::Failed(format!(
                        "wrote nothing for {seconds} s (check that it flushes its output and does not wait for the end \
                         of its input) for"
                    )))
                }
                Event::Ended(how) => Some(Attempt::Failed(format!("ended ({how}) before it scored"))),
            })
        })?;
        match progress {
            // A program that writes two lines per answer is still writing the earlier ones when the last reply arrives.
            Attempt::Done => match process.unasked_within(slowest.min(AFTER[1])) {
                Some(line) => Err(self.error(format!(
                    "wrote {:?} after the {all} lines for {all} answers: expected one line for each answer and no \
                     others",
                    shortened(&line)
                ))),
                None => Ok(Attempt::Done),
            },
            other => Ok(other),
        }
    }
}

impl BatchReward for Program {
    fn name(&self) -> &str {
        &self.name
    }

    fn score_all(&self, inputs: &[Input], observer: &mut dyn Observer) -> Result<Option<Vec<f32>>, Error> {
        let lines: Vec<String> = inputs.iter().enumerate().map(line).collect();
        let mut scores = Vec::with_capacity(lines.len());
        let mut slot = self.lock();
        // Number of failures on the next answer.
        let mut failures = 0;
        while scores.len() < lines.len() {
            let before = scores.len();
            let mut process = match slot.take() {
                Some(process) => process,
                None => self.spawn()?,
            };
            // Unless the result is `Done`, the process is dropped and thereby killed, because its replies are out of
            // step.
            let reason = match self.ask(&mut process, &lines[before..], &mut scores, observer)? {
                Attempt::Done => {
                    *slot = Some(process);
                    break;
                }
                Attempt::Stopped => return Ok(None),
                Attempt::Failed(reason) => reason,
            };
            failures = if scores.len() > before { 1 } else { failures + 1 };
            let at = scores.len();
            let what =
                format!("{reason} answer {} of {} (question {})", at + 1, lines.len(), inputs[at].question.index);
            let said = process.last_said();
            if failures > self.max_restarts {
                let tries = failures;
                let message = format!("{what}, {tries} times; raise `grpo.reward_timeout` if it needs longer{said}");
                return Err(self.error(message));
            }
            observer
                .on_note(&format!("warning: the reward `{}` {what}; it is started again{said}", self.path.display()));
        }
        Ok(Some(scores))
    }
}

/// Formats an answer for the program, with its number in the rollout.
fn line((id, input): (usize, &Input)) -> String {
    let q = input.question;
    let line = json!({
        "id": id, "question": q.text, "prompt": q.prompt_text, "completion": input.text, "answer": q.answer,
        "language": q.language, "index": q.index, "tokens": input.tokens, "truncated": input.truncated,
        "verdict": input.verdict, "record": *q.record,
    });
    format!("{line}\n")
}

/// Returns the beginning of a line, for a message.
fn shortened(line: &str) -> String {
    line.chars().take(200).collect()
}

/// Parses the number of the reply to answer `id`. The error explains if there is none or it is the reply to another.
fn number_of(line: &str, id: usize) -> Result<f32, String> {
    let text = line.trim();
    let shown = || format!("{:?}", shortened(text));
    let value: Option<f64> = match serde_json::from_str(text) {
        Ok(Value::Number(n)) => n.as_f64(),
        Ok(Value::Object(fields)) => match fields.get("id") {
            Some(other) if *other != json!(id) => return Err(format!("{}, which has another `id`,", shown())),
            _ => fields.get("reward").and_then(Value::as_f64),
        },
        Ok(_) => None,
        // Values that JSON cannot express: nan, inf, .5
        Err(_) => text.parse().ok(),
    };
    match value.map(|v| v as f32) {
        Some(score) if score.is_finite() => Ok(score),
        Some(_) => Err(format!("{}, which is not finite,", shown())),
        None => Err(shown()),
    }
}

#[cfg(all(test, unix))]
mod tests;
