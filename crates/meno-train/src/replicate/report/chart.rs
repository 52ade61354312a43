//! Line charts as plain SVG.

use std::fmt::Write;

/// One line of a chart.
pub(super) struct Series<'a> {
    /// Its name in the legend.
    pub(super) name: &'a str,
    /// 1 to 4: the colour.
    pub(super) colour: usize,
    /// x, y.
    pub(super) points: Vec<(f64, f64)>,
}

/// How the y axis reads.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Axis {
    /// 0 to 100 %.
    Share,
    /// From 0 (or below) to a round number.
    Number,
}

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 38.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 22.0;

/// 1, 2 or 5 times a power of ten, at least `x`.
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
        Axis::Share => format!("{:.0}%", 100.0 * x),
        Axis::Number if x.abs() >= 10.0 || x == 0.0 => format!("{x:.0}"),
        Axis::Number if x.abs() >= 1.0 => format!("{x:.1}"),
        Axis::Number => format!("{x:.2}"),
    }
}

/// The running mean over `window` points: single steps are noisy.
pub(super) fn smooth(points: &[(f64, f64)], window: usize) -> Vec<(f64, f64)> {
    let half = window / 2;
    let mean = |i: usize| {
        let (from, to) = (i.saturating_sub(half), (i + half + 1).min(points.len()));
        points[from..to].iter().map(|p| p.1).sum::<f64>() / (to - from) as f64
    };
    points.iter().enumerate().map(|(i, p)| (p.0, mean(i))).collect()
}

/// A chart as a `<figure>`; nothing if there is nothing to draw.
pub(super) fn chart(title: &str, axis: Axis, series: &[Series]) -> String {
    let series: Vec<&Series> = series.iter().filter(|s| s.points.len() > 1).collect();
    let all = || series.iter().flat_map(|s| &s.points);
    if series.is_empty() {
        return String::new();
    }
    let (x0, x1) = all().fold((f64::MAX, f64::MIN), |(a, b), p| (a.min(p.0), b.max(p.0)));
    let top = all().map(|p| p.1).fold(0.0, f64::max);
    let y1 = if axis == Axis::Share && top > 0.5 { 1.0 } else { round_up(top) };
    let x = |v: f64| LEFT + (v - x0) / (x1 - x0).max(1e-9) * (WIDTH - LEFT - RIGHT);
    let y = |v: f64| HEIGHT - BOTTOM - (v / y1).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM);
    let mut svg =
        format!("<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    let _ = write!(svg, "<title>{title}</title>");
    for i in 0..=4 {
        let v = y1 * i as f64 / 4.0;
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>",
            WIDTH - RIGHT,
            y(v)
        );
        if i % 2 == 0 {
            let _ = write!(
                svg,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y(v) + 3.5,
                label(v, axis)
            );
        }
    }
    for (v, anchor) in [(x0, "start"), (x1, "end")] {
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{v:.0}</text>",
            x(v),
            HEIGHT - 6.0
        );
    }
    let _ = write!(
        svg,
        "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">step</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 6.0
    );
    for s in &series {
        let smoothed = smooth(&s.points, (s.points.len() / 12).max(1));
        for (class, points) in [("raw", &s.points), ("line", &smoothed)] {
            let path: Vec<String> = points.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
            let _ = write!(svg, "<polyline class=\"{class} c{}\" points=\"{}\"/>", s.colour, path.join(" "));
        }
        if let Some(p) = smoothed.last() {
            let _ =
                write!(svg, "<circle class=\"dot c{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>", s.colour, x(p.0), y(p.1));
        }
    }
    svg += "</svg>";
    if series.len() > 1 || !series[0].name.is_empty() {
        svg += "<p class=\"legend\">";
        for s in &series {
            let last = smooth(&s.points, (s.points.len() / 12).max(1)).last().map_or(0.0, |p| p.1);
            let (colour, last) = (s.colour, label(last, axis));
            let _ = write!(svg, "<span><i class=\"key c{colour}\"></i>{} <b>{last}</b></span> ", s.name);
        }
        svg += "</p>";
    }
    svg + "</figure>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_lines_and_an_empty_one_is_nothing() {
        let line = |n: usize| Series { name: "a", colour: 1, points: (0..n).map(|i| (i as f64, 0.5)).collect() };
        let svg = chart("accuracy", Axis::Share, &[line(3)]);
        assert!(svg.contains("0,0.5") || svg.matches("<polyline").count() == 2, "{svg}");
        assert!(!svg.contains("NaN"));
        assert_eq!(chart("x", Axis::Number, &[line(1)]), "");
        assert_eq!(smooth(&[(0.0, 0.0), (1.0, 3.0), (2.0, 0.0)], 3)[1].1, 1.0);
        assert_eq!([round_up(0.7), round_up(11.0), round_up(101.0)], [0.8, 15.0, 150.0]);
    }
}
