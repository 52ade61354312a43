//! Line charts: the positions of everything that the template draws.

use super::csv::Csv;
use super::fit::{Fitted, fit};
use super::paper::Place;
use serde::Serialize;

/// One line of a chart.
pub(super) struct Series<'a> {
    /// The name in the legend; empty if the chart has only one line.
    pub(super) name: &'a str,
    /// The colour and dashes, from 1 to 4.
    pub(super) colour: usize,
    /// Steps and values.
    pub(super) points: Vec<(f64, f64)>,
}

/// The scale of the y axis.
#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Axis {
    /// 0 to 100 %.
    Share,
    /// From 0 to a round number.
    Number,
}

/// The content of a chart.
pub(super) struct Spec<'a> {
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// A sentence below the title.
    pub(super) note: &'a str,
    pub(super) axis: Axis,
    pub(super) series: Vec<Series<'a>>,
    /// What the paper says about it, and where.
    pub(super) paper: Option<(&'a str, Place)>,
    /// Values that the paper prints, drawn as horizontal lines.
    pub(super) guides: Vec<(f64, &'a str)>,
}

/// A chart, ready to draw.
#[derive(Serialize)]
pub(super) struct Chart {
    id: String,
    title: String,
    note: String,
    axis: Axis,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x0: f64,
    x1: f64,
    y1: f64,
    grid: Vec<Tick>,
    steps: Vec<Tick>,
    guides: Vec<Tick>,
    series: Vec<Drawn>,
    paper: Option<(String, Place)>,
    /// The values as CSV, in a `data:` address.
    csv: String,
    /// The chart in words, for screen readers.
    summary: String,
}

/// A label and its position.
#[derive(Serialize)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

#[derive(Serialize)]
struct Drawn {
    name: String,
    colour: usize,
    raw: String,
    line: String,
    band: String,
    end: (f64, f64),
    last: String,
}

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 208.0;
const LEFT: f64 = 42.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// The smallest of 1, 1.5, 2, 3, … times a power of ten that is at least `x`.
fn round_up(x: f64) -> f64 {
    if x <= 0.0 || !x.is_finite() {
        return 1.0;
    }
    let power = 10f64.powf(x.log10().floor());
    [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]
        .iter()
        .map(|m| m * power)
        .find(|v| *v >= x * 0.999)
        .unwrap_or(10.0 * power)
}

fn label(x: f64, axis: Axis) -> String {
    match axis {
        Axis::Share => format!("{:.0} %", 100.0 * x),
        Axis::Number if x.abs() >= 10.0 || x == 0.0 => format!("{x:.0}"),
        Axis::Number if x.abs() >= 1.0 => format!("{x:.1}"),
        Axis::Number => format!("{x:.2}"),
    }
}

/// Rounds to a tenth of a pixel.
pub(super) fn tenth(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    points.map(|(x, y)| format!("{},{}", tenth(x), tenth(y))).collect::<Vec<_>>().join(" ")
}

/// Clamps fitted values, which can leave the range of the points: shares to at most 100 %, everything to at least 0.
fn within(fits: Vec<Fitted>, axis: Axis) -> Vec<Fitted> {
    let most = if axis == Axis::Share { 1.0 } else { f64::MAX };
    let clamp = |v: f64| v.clamp(0.0, most);
    let one = |f: Fitted| Fitted { y: clamp(f.y), band: f.band.map(|b| (clamp(b.0), clamp(b.1))), ..f };
    fits.into_iter().map(one).collect()
}

/// Lays out a chart; `None` if no line has two points.
pub(super) fn chart(spec: Spec) -> Option<Chart> {
    let Spec { id, title, note, axis, series, paper, guides } = spec;
    let series: Vec<Series> = series.into_iter().filter(|s| s.points.len() > 1).collect();
    let fits: Vec<Vec<Fitted>> = series.iter().map(|s| within(fit(&s.points), axis)).collect();
    let all = || series.iter().flat_map(|s| &s.points);
    let (x0, x1) = all().fold((f64::MAX, f64::MIN), |(a, b), p| (a.min(p.0), b.max(p.0)));
    if series.is_empty() || x1 <= x0 {
        return None;
    }
    let top = all().map(|p| p.1).chain(guides.iter().map(|g| g.0)).fold(0.0, f64::max);
    let y1 = if axis == Axis::Share && top > 0.5 { 1.0 } else { round_up(top) };
    let x = |v: f64| LEFT + (v - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
    let y = |v: f64| HEIGHT - BOTTOM - (v / y1).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM);
    let tick = |at: f64, label: String| Tick { at: tenth(at), label };
    let drawn = |(s, f): (&Series, &Vec<Fitted>)| {
        let banded = || f.iter().filter_map(|p| Some((p.x, p.band?)));
        let upper = banded().map(|(at, b)| (x(at), y(b.1)));
        let lower = banded().rev().map(|(at, b)| (x(at), y(b.0)));
        let last = f.last().map_or((x0, 0.0), |p| (p.x, p.y));
        Drawn {
            name: s.name.to_owned(),
            colour: s.colour,
            raw: path(s.points.iter().map(|p| (x(p.0), y(p.1)))),
            line: path(f.iter().map(|p| (x(p.x), y(p.y)))),
            band: path(upper.chain(lower)),
            end: (tenth(x(last.0)), tenth(y(last.1))),
            last: label(last.1, axis),
        }
    };
    Some(Chart {
        id: id.to_owned(),
        title: title.to_owned(),
        note: note.to_owned(),
        axis,
        width: WIDTH,
        height: HEIGHT,
        left: LEFT,
        right: WIDTH - RIGHT,
        top: TOP,
        bottom: HEIGHT - BOTTOM,
        x0,
        x1,
        y1,
        grid: (0..=4).map(|i| y1 * f64::from(i) / 4.0).map(|v| tick(y(v), label(v, axis))).collect(),
        steps: [x0, (x0 + x1) / 2.0, x1].map(f64::round).map(|v| tick(x(v), format!("{v:.0}"))).into(),
        guides: guides.iter().map(|g| tick(y(g.0), g.1.to_owned())).collect(),
        series: series.iter().zip(&fits).map(drawn).collect(),
        paper: paper.map(|(text, place)| (text.to_owned(), place)),
        csv: table(&series, &fits).data_url(),
        summary: summary(title, axis, &series, &fits),
    })
}

/// The values of every step: measured, fitted, and the ends of the interval.
fn table(series: &[Series], fits: &[Vec<Fitted>]) -> Csv {
    let mut csv = Csv::new(["step"]);
    let mut steps: Vec<f64> = series.iter().flat_map(|s| s.points.iter().map(|p| p.0)).collect();
    steps.sort_by(f64::total_cmp);
    steps.dedup();
    for s in series {
        let name = if s.name.is_empty() { "value" } else { s.name };
        for what in ["", " fitted", " low", " high"] {
            csv.column(format!("{name}{what}"));
        }
    }
    for step in steps {
        let mut row = vec![Some(step)];
        for (s, f) in series.iter().zip(fits) {
            let found = s.points.iter().zip(f).find(|(p, _)| p.0 == step);
            let band = found.and_then(|(_, f)| f.band);
            row.extend([found.map(|(p, _)| p.1), found.map(|(_, f)| f.y), band.map(|b| b.0), band.map(|b| b.1)]);
        }
        csv.figures(&row);
    }
    csv
}

fn summary(title: &str, axis: Axis, series: &[Series], fits: &[Vec<Fitted>]) -> String {
    let one = |(s, f): (&Series, &Vec<Fitted>)| {
        let ends = f.first().zip(f.last()).map(|(a, b)| {
            format!("from {} at step {:.0} to {} at step {:.0}", label(a.y, axis), a.x, label(b.y, axis), b.x)
        });
        let name = if s.name.is_empty() { String::new() } else { format!("{}: ", s.name) };
        format!("{name}{}", ends.unwrap_or_default())
    };
    let parts: Vec<String> = series.iter().zip(fits).map(one).collect();
    format!("{title}. {}.", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(n: usize, guides: Vec<(f64, &'static str)>) -> Spec<'static> {
        let points = |f: f64| (0..n).map(|i| (1.0 + i as f64, f * (i as f64) / 20.0)).collect();
        Spec {
            id: "accuracy",
            title: "Right answers",
            note: "",
            axis: Axis::Share,
            series: vec![
                Series { name: "a", colour: 1, points: points(0.4) },
                Series { name: "b", colour: 2, points: points(0.2) },
            ],
            paper: None,
            guides,
        }
    }

    #[test]
    fn a_chart_has_lines_bands_and_values_and_needs_two_points() {
        let c = chart(spec(20, vec![])).unwrap();
        assert_eq!(c.y1, 0.4);
        assert_eq!((c.x0, c.x1), (1.0, 20.0));
        for s in &c.series {
            let pairs = s.band.split(' ').count();
            assert_eq!((s.line.split(' ').count(), pairs), (20, 40));
            assert!(!format!("{}{}{}", s.raw, s.line, s.band).contains("NaN"));
        }
        assert_eq!(
            c.summary,
            "Right answers. a: from 0 % at step 1 to 38 % at step 20; b: from 0 % at step 1 to 19 % at step 20."
        );
        assert!(c.csv.starts_with("data:text/csv;charset=utf-8,step,a,a%20fitted,a%20low,a%20high,b,"));
        assert_eq!(c.csv.matches("%0A").count(), 21);
        assert!(chart(spec(1, vec![])).is_none() && chart(spec(0, vec![])).is_none());
        // A line that overshoots its points is clamped to 100 %.
        let steep: Vec<(f64, f64)> = (0..20).map(|i| (f64::from(i), (f64::from(i) / 16.0).min(1.0))).collect();
        let ends = within(fit(&steep), Axis::Share);
        assert!(fit(&steep).iter().any(|f| f.y > 1.0) && ends.iter().all(|f| (0.0..=1.0).contains(&f.y)));
        // The scale includes the values of the paper.
        assert_eq!(chart(spec(20, vec![(0.779, "paper")])).unwrap().y1, 1.0);
        assert_eq!([round_up(0.7), round_up(11.0), round_up(101.0)], [0.8, 15.0, 150.0]);
    }
}
