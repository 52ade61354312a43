//! Drawing the view.

use super::{Curve, Sample, StageState, View};
use meno_train::Metrics;
use meno_train::data::Verdict;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Borders, Chart, Dataset, GraphType, LineGauge, Padding, Paragraph, Wrap};

/// The figures worth a curve, the most telling first, and what they are called on the screen.
const CURVES: [(&str, &str); 12] = [
    ("reward", "reward"),
    ("rewards/accuracy/mean", "accuracy"),
    ("verdicts/right", "right"),
    ("loss", "loss"),
    ("completions/mean_length", "length"),
    ("rewards/language_consistency/mean", "language consistency"),
    ("entropy", "entropy"),
    ("mtp_loss", "MTP loss"),
    ("grad_norm", "gradient norm"),
    ("moe/max_violation", "expert imbalance"),
    ("kl", "KL"),
    ("kept", "kept"),
];

/// The first is the same figure as the second, and not shown beside it.
const SAME: (&str, &str) = ("verdicts/right", "rewards/accuracy/mean");

/// Figures for a plain line, beside the curves.
const FIGURES: [&str; 3] = ["learning_rate", "tokens_per_second", "sampling/logprob_gap"];

pub(super) fn is_curve(name: &str) -> bool {
    CURVES.iter().any(|(key, _)| *key == name)
}

/// What a plain line shows.
pub(super) fn shown(metrics: &Metrics) -> impl Iterator<Item = (&str, f64)> {
    let curves = CURVES.iter().filter(|(key, _)| !(*key == SAME.0 && metrics.get(SAME.1).is_some()));
    let curves = curves.filter_map(|(key, name)| Some((*name, metrics.get(key)?))).take(6);
    curves.chain(FIGURES.iter().filter_map(|key| Some((*key, metrics.get(key)?))))
}

/// A figure in few characters.
pub(super) fn figure(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if !(1e-3..1e6).contains(&size) {
        format!("{value:.1e}")
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

/// Seconds for people.
pub(super) fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s / 60 % 60),
    }
}

const ACCENT: Color = Color::Cyan;

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

pub(super) fn draw(view: &View, frame: &mut Frame) {
    let stages = if view.stages.len() > 1 { (view.stages.len() as u16).min(10) } else { 0 };
    let area = frame.area();
    let [head, list, bar, curves, sample] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(stages),
        Constraint::Length(2),
        Constraint::Min(if area.height > 14 + stages { 7 } else { 0 }),
        Constraint::Length(if view.sample.is_some() { 6 } else { 0 }),
    ])
    .areas(area);
    header(view, frame, head);
    stage_list(view, frame, list);
    progress(view, frame, bar);
    charts(&view.curves, frame, curves);
    if let Some(s) = &view.sample {
        response(s, frame, sample);
    }
}

fn header(view: &View, frame: &mut Frame, area: Rect) {
    let elapsed = duration(view.started.elapsed().as_secs_f64());
    let title = Line::from(vec![" ".into(), Span::from(&view.title).bold().fg(ACCENT), format!("  {elapsed}").into()]);
    frame.render_widget(title, area);
    let hint = Line::styled("Ctrl-C stops; --resume goes on ", dim()).alignment(Alignment::Right);
    frame.render_widget(hint, area);
}

fn stage_list(view: &View, frame: &mut Frame, area: Rect) {
    let rows = area.height as usize;
    // The running stage stays in sight.
    let first = (view.current + 2).saturating_sub(rows).min(view.stages.len().saturating_sub(rows));
    let line = |s: &super::Stage| match &s.state {
        StageState::Waiting => Line::styled(format!("   · {}", s.name), dim()),
        StageState::Running(since) => Line::from(vec![
            Span::from("   ▸ ").fg(ACCENT),
            Span::from(s.name.clone()).bold(),
            Span::styled(format!("  {}", duration(since.elapsed().as_secs_f64())), dim()),
        ]),
        StageState::Done(took, result) => Line::from(vec![
            Span::from("   ✓ ").fg(Color::Green),
            Span::from(s.name.clone()),
            Span::styled(format!("  {}  ", duration(took.as_secs_f64())), dim()),
            Span::from(result.clone()),
        ]),
    };
    let lines: Vec<Line> = view.stages.iter().skip(first).take(rows).map(line).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn progress(view: &View, frame: &mut Frame, area: Rect) {
    let [bar, below] = Layout::vertical([Constraint::Length(1), Constraint::Length(1)]).areas(area);
    let (done, total) = view.steps;
    let within = view.within.as_ref().filter(|w| w.2 > 0);
    let inner = within.map_or(0.0, |(_, d, t)| *d as f64 / *t as f64);
    let ratio = if total > 0 { done as f64 / total as f64 } else { inner }.clamp(0.0, 1.0);
    let label = if total > 0 { format!(" step {done}/{total} ") } else { " … ".into() };
    let gauge =
        LineGauge::default().ratio(ratio).label(label).filled_style(Style::new().fg(ACCENT)).unfilled_style(dim());
    frame.render_widget(gauge, bar);
    let mut parts = Vec::new();
    if let Some(m) = &view.latest {
        parts.extend(m.get("step_time").map(|s| format!("{s:.2} s a step")));
        parts.extend(m.get("tokens_per_second").map(|t| format!("{} tokens/s", figure(t))));
        parts.extend(m.get("learning_rate").map(|r| format!("learning rate {r:.1e}")));
        parts.extend(m.get("sampling/logprob_gap").map(|g| format!("log-prob gap {}", figure(g))));
    }
    parts.extend(view.seconds_left().filter(|_| done < total).map(|s| format!("{} left", duration(s))));
    parts.extend(within.map(|(what, d, t)| format!("{what} {d}/{t}")));
    frame.render_widget(Line::styled(format!(" {}", parts.join("  ·  ")), dim()), below);
}

fn charts(curves: &[Curve], frame: &mut Frame, area: Rect) {
    if area.height < 4 {
        return;
    }
    let find = |key: &str| curves.iter().find(|c| c.name == key);
    let order = CURVES.iter().filter(|(key, _)| !(*key == SAME.0 && find(SAME.1).is_some()));
    let order = order.filter_map(|(key, name)| Some((*name, find(key)?)));
    let places = (area.width / 26).clamp(1, 4) as usize;
    let shown: Vec<_> = order.take(places).collect();
    let areas = Layout::horizontal(vec![Constraint::Ratio(1, shown.len().max(1) as u32); shown.len()]).split(area);
    for ((name, curve), area) in shown.iter().zip(areas.iter()) {
        chart(name, &curve.points, frame, *area);
    }
}

fn chart(name: &str, points: &[(f64, f64)], frame: &mut Frame, area: Rect) {
    let last = points.last().map_or(0.0, |p| p.1);
    let fold = |f: fn(f64, f64) -> f64| points.iter().map(|p| p.1).reduce(f).unwrap_or(0.0);
    let (low, high) = (fold(f64::min), fold(f64::max));
    let margin = if high > low { 0.05 * (high - low) } else { 0.5 * high.abs().max(1e-9) };
    let x = [points[0].0, points.last().map_or(1.0, |p| p.0).max(points[0].0 + 1.0)];
    let data = Dataset::default()
        .marker(Marker::Braille)
        .graph_type(GraphType::Line)
        .style(Style::new().fg(ACCENT))
        .data(points);
    let title = Line::from(vec![Span::from(format!(" {name} ")), Span::from(format!("{} ", figure(last))).bold()]);
    let y = Axis::default()
        .bounds([low - margin, high + margin])
        .labels([Span::styled(figure(low), dim()), Span::styled(figure(high), dim())])
        .style(dim());
    let block = Block::new().borders(Borders::TOP).border_style(dim()).title(title);
    frame.render_widget(Chart::new(vec![data]).block(block).x_axis(Axis::default().bounds(x)).y_axis(y), area);
}

fn response(sample: &Sample, frame: &mut Frame, area: Rect) {
    let (word, color) = match sample.verdict {
        Verdict::Right => ("right", Color::Green),
        Verdict::Wrong => ("wrong", Color::Red),
        Verdict::Truncated => ("truncated", Color::Yellow),
        Verdict::Unparsable => ("no answer", Color::Yellow),
    };
    let one_line = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ");
    let title = Line::from(vec![
        Span::from(" latest response  "),
        Span::from(word).fg(color).bold(),
        Span::styled(format!("  reward {:.2}  {} tokens ", sample.reward, sample.tokens), dim()),
    ]);
    let text = vec![
        Line::styled(one_line(&sample.question), Style::new().add_modifier(Modifier::BOLD)),
        Line::from(one_line(&sample.text)),
    ];
    let block = Block::new().borders(Borders::TOP).border_style(dim()).title(title).padding(Padding::horizontal(1));
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }).block(block), area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use meno_train::Observer;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    #[test]
    fn figures_are_short() {
        assert_eq!(["0", "0.500", "123", "1.0e-4"], [0.0, 0.5, 123.4, 1e-4].map(figure).map(|s| s.leak() as &str));
        assert_eq!([duration(5.2), duration(75.0), duration(7260.0)], ["5 s", "1 min 15 s", "2 h 01 min"]);
    }

    #[test]
    fn the_view_shows_stages_progress_and_curves() {
        let mut view = View::plain("meno replicate", &["pretrain", "R1-Zero"]);
        view.finish("pass@1 0.16");
        view.begin(1);
        for step in 1..=5 {
            let mut m = Metrics::new(step);
            m.push("reward", 0.1 * step as f64);
            m.push("completions/mean_length", 40.0 + step as f64);
            view.on_step(&m, 10);
        }
        for (width, height) in [(100, 22), (40, 8), (12, 3)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(&view, frame)).unwrap();
            let text: String = terminal.backend().buffer().content().iter().map(|c| c.symbol()).collect();
            if width == 100 {
                for part in [
                    "meno replicate",
                    "✓ pretrain",
                    "pass@1 0.16",
                    "▸ R1-Zero",
                    "step 5/10",
                    "reward 0.500",
                    "length 45",
                ] {
                    assert!(text.contains(part), "{part}: {text}");
                }
            }
        }
    }
}
