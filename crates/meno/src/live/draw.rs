//! Draws the view.

use super::chart::chart;
use super::figures::{CURVES, SAME, figure};
use super::scene::{Curve, Sample, Scene, Stage, StageState, Within};
use crate::progress::duration;
use crate::terminal::{Line, printable, wrap};
use crossterm::style::{Color, StyledContent, Stylize};
use meno_train::data::Verdict;

const ACCENT: Color = Color::Cyan;
/// Lines of the latest response, including its title.
const RESPONSE: usize = 6;
/// Minimum lines and minimum columns of a curve.
const CURVE: (usize, usize) = (4, 26);

fn bold(text: impl Into<String>) -> StyledContent<String> {
    text.into().bold()
}

/// The view in at most `height` lines of at most `width` columns.
pub(super) fn lines(view: &Scene, width: usize, height: usize) -> Vec<Line> {
    let mut lines = vec![header(view, width)];
    let stages = if view.stages.len() > 1 { view.stages.len().min(10).min(height.saturating_sub(3)) } else { 0 };
    lines.extend(stage_list(view, stages));
    lines.extend(progress(view, width));
    let left = height.saturating_sub(lines.len());
    let response = view.sample.as_ref().map_or_else(Vec::new, |s| response(s, width, left.min(RESPONSE)));
    lines.extend(charts(&view.curves, width, left - response.len()));
    lines.extend(response);
    lines.truncate(height);
    lines.into_iter().map(|line| line.cut(width)).collect()
}

fn header(view: &Scene, width: usize) -> Line {
    let elapsed = duration(view.started.elapsed().as_secs_f64());
    let title = Line::default().plain(" ").push(bold(&view.title).with(ACCENT)).plain(format!("  {elapsed}"));
    let hint = "Ctrl-C stops; --resume continues ";
    match width.checked_sub(title.width() + hint.len()) {
        Some(space) => title.plain(" ".repeat(space)).dim(hint),
        None => title,
    }
}

fn stage_list(view: &Scene, rows: usize) -> Vec<Line> {
    // Keep the running stage visible.
    let first = (view.current + 2).saturating_sub(rows).min(view.stages.len().saturating_sub(rows));
    let line = |s: &Stage| match &s.state {
        StageState::Waiting => Line::default().dim(format!("   · {}", s.name)),
        StageState::Running(since) => Line::default()
            .push("   ▸ ".to_owned().with(ACCENT))
            .push(bold(&s.name))
            .dim(format!("  {}", duration(since.elapsed().as_secs_f64()))),
        StageState::Done(took, result) => Line::default()
            .push("   ✓ ".to_owned().with(Color::Green))
            .plain(&s.name)
            .dim(format!("  {}  ", duration(took.as_secs_f64())))
            .plain(result),
    };
    view.stages.iter().skip(first).take(rows).map(line).collect()
}

/// The progress bar, and a line of details.
fn progress(view: &Scene, width: usize) -> [Line; 2] {
    let (done, total) = view.steps;
    let within = view.within.as_ref().filter(|w| w.total > 0);
    let inner = within.map_or(0.0, |w| w.done as f64 / w.total as f64);
    let ratio = if total > 0 { done as f64 / total as f64 } else { inner }.clamp(0.0, 1.0);
    let label = if total > 0 { format!(" step {done}/{total} ") } else { " … ".into() };
    let bar = Line::default().plain(label);
    let columns = width.saturating_sub(bar.width());
    let filled = (ratio * columns as f64).round() as usize;
    let bar = bar.push("━".repeat(filled).with(ACCENT)).dim("─".repeat(columns - filled));

    let mut parts: Vec<String> = within.map(Within::text).into_iter().chain(view.left()).collect();
    if let Some(m) = &view.latest {
        parts.extend(m.get("step_time").map(|s| format!("{s:.2} s a step")));
        parts.extend(m.get("tokens_per_second").map(|t| format!("{} tokens/s", figure(t))));
        parts.extend(m.get("learning_rate").map(|r| format!("learning rate {r:.1e}")));
        parts.extend(m.get("sampling/logprob_gap").map(|g| format!("log-prob gap {}", figure(g))));
    }
    [bar, Line::default().dim(format!(" {}", parts.join("  ·  ")))]
}

/// As many curves side by side as fit.
fn charts(curves: &[Curve], width: usize, height: usize) -> Vec<Line> {
    let find = |key: &str| curves.iter().find(|c| c.name == key);
    let order = CURVES.iter().filter(|(key, _)| !(*key == SAME.0 && find(SAME.1).is_some()));
    let order = order.filter_map(|(key, name)| Some((*name, find(key)?)));
    let shown: Vec<_> = order.take((width / CURVE.1).clamp(1, 4)).collect();
    if shown.is_empty() || height < CURVE.0 {
        return Vec::new();
    }
    let mut lines = vec![Line::default(); height];
    for (i, (name, curve)) in shown.iter().enumerate() {
        let columns = (i + 1) * width / shown.len() - i * width / shown.len();
        let drawn = chart(name, &curve.points, columns, height);
        lines = lines.into_iter().zip(drawn).map(|(line, part)| line.join(part)).collect();
    }
    lines
}

fn response(sample: &Sample, width: usize, height: usize) -> Vec<Line> {
    let (word, color) = match sample.verdict {
        Verdict::Right => ("right", Color::Green),
        Verdict::Wrong => ("wrong", Color::Red),
        Verdict::Truncated => ("truncated", Color::Yellow),
        Verdict::Unparsable => ("no answer", Color::Yellow),
        Verdict::Unverified => ("not verified", Color::Yellow),
    };
    if height < 3 {
        return Vec::new();
    }
    let one_line = |s: &str| printable(&s.split_whitespace().collect::<Vec<_>>().join(" "));
    let about = format!("  reward {:.2}  {} tokens ", sample.reward, sample.tokens);
    let title = Line::default().plain(" latest response  ").push(bold(word).with(color)).dim(about);
    let rule = "─".repeat(width.saturating_sub(title.width()));
    let text = |s: &str| wrap(&one_line(s), width.saturating_sub(2).max(1));
    let question = text(&sample.question).into_iter().map(|l| Line::default().plain(" ").push(bold(l)));
    let answer = text(&sample.text).into_iter().map(|l| Line::default().plain(format!(" {l}")));
    std::iter::once(title.dim(rule)).chain(question).chain(answer).take(height).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meno_train::Metrics;

    #[test]
    fn the_view_shows_stages_progress_and_curves() {
        let mut view = Scene::new("meno replicate", &["pretrain", "R1-Zero"]);
        view.begin(0);
        view.finish("pass@1 0.16");
        view.begin(1);
        for step in 1..=5 {
            let mut m = Metrics::new(step);
            m.push("reward", 0.1 * step as f64);
            m.push("completions/mean_length", 40.0 + step as f64);
            view.step(&m, 10);
        }
        let (question, text) = ("Countdown: 3 4 5".to_owned(), "3 + 4\u{1b}[2J + 5 ".repeat(40));
        view.progress(Within { what: "responses".into(), done: 3, total: 8, sampled: None });
        view.sample = Some(Sample { question, text, verdict: Verdict::Right, reward: 1.0, tokens: 200 });
        for (width, height) in [(100, 22), (40, 8), (12, 3), (1, 1)] {
            let lines = lines(&view, width, height);
            assert!(lines.len() <= height && lines.iter().all(|l| l.width() <= width), "{width}x{height}");
            let text: String = lines.iter().map(|l| l.text() + "\n").collect();
            assert!(!text.contains('\u{1b}'), "{text:?}");
            if width == 100 {
                for part in [
                    "meno replicate",
                    "✓ pretrain",
                    "pass@1 0.16",
                    "▸ R1-Zero",
                    "step 5/10 ━",
                    "reward 0.500",
                    "length 45",
                    "responses 3/8",
                    "latest response  right",
                ] {
                    assert!(text.contains(part), "{part}: {text}");
                }
                assert_eq!(lines.len(), height, "{text}");
            }
        }
    }
}
