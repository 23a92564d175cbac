//! Plots.

use std::fmt::Write;

use super::html::escaped;
use crate::statistics::Spread;

/// A row of a plot.
pub struct Row {
    pub label: String,
    pub value: Spread,
    /// What stands behind the bar.
    pub note: String,
    /// Whether it is one of this crate's.
    pub ours: bool,
}

const WIDTH: f64 = 760.0;
const LABELS: f64 = 210.0;
const NOTES: f64 = 190.0;
const HEIGHT: f64 = 24.0;

/// Where a plot ends.
const EDGE: f64 = WIDTH - NOTES;

/// Bars from zero, with a line from the lowest tenth of the rounds to the highest. What goes on beyond
/// the plot has an arrow.
pub fn bars(rows: &[Row]) -> String {
    let highest = rows.iter().map(|row| row.value.high).fold(0.0, f64::max);
    // One round that went wrong must not flatten all.
    let longest = rows.iter().map(|row| row.value.median).fold(0.0, f64::max);
    let scale = (EDGE - LABELS) / highest.min(longest * 1.5).max(f64::MIN_POSITIVE);
    let x = |value: f64| LABELS + value * scale;
    let mut svg = open(rows.len());
    for (number, row) in rows.iter().enumerate() {
        let y = number as f64 * HEIGHT;
        let class = if row.ours { "ours" } else { "theirs" };
        let Spread {
            median, low, high, ..
        } = row.value;
        label(&mut svg, y, &row.label);
        let _ = write!(
            svg,
            r#"<rect class="{class}" x="{LABELS}" y="{}" width="{:.1}" height="{}" rx="2"/>"#,
            y + 4.0,
            x(median) - LABELS,
            HEIGHT - 8.0
        );
        whisker(&mut svg, y, x(low), x(high));
        note(&mut svg, y, &row.note);
    }
    svg + "</svg>"
}

/// Points on a line from the lowest tenth to the highest, beside a mark at 1. What goes on beyond the
/// plot has an arrow.
pub fn ratios(rows: &[Row]) -> String {
    let widest = |pick: fn(&Spread) -> f64, start: f64, wider: fn(f64, f64) -> f64| {
        rows.iter().map(|row| pick(&row.value)).fold(start, wider)
    };
    let lowest = widest(|spread| spread.low, 0.8, f64::min).max(0.5);
    let highest = widest(|spread| spread.high, 1.2, f64::max).min(2.0);
    let scale = (EDGE - LABELS) / (highest - lowest);
    let x = |value: f64| LABELS + (value - lowest) * scale;
    let mut svg = open(rows.len());
    let bottom = rows.len() as f64 * HEIGHT;
    let _ = write!(
        svg,
        r#"<line class="one" x1="{0:.1}" x2="{0:.1}" y1="0" y2="{bottom}"/>"#,
        x(1.0)
    );
    for (number, row) in rows.iter().enumerate() {
        let y = number as f64 * HEIGHT;
        let class = if row.ours { "ours" } else { "theirs" };
        label(&mut svg, y, &row.label);
        whisker(&mut svg, y, x(row.value.low), x(row.value.high));
        let _ = write!(
            svg,
            r#"<circle class="{class}" cx="{:.1}" cy="{}" r="5"/>"#,
            x(row.value.median).clamp(LABELS, EDGE),
            y + HEIGHT / 2.0
        );
        note(&mut svg, y, &row.note);
    }
    svg + "</svg>"
}

fn open(rows: usize) -> String {
    let height = rows as f64 * HEIGHT;
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img">"#)
}

fn label(svg: &mut String, y: f64, text: &str) {
    let (x, y) = (LABELS - 10.0, y + HEIGHT / 2.0 + 4.5);
    let text = escaped(text);
    let _ = write!(
        svg,
        r#"<text x="{x}" y="{y}" text-anchor="end">{text}</text>"#
    );
}

fn note(svg: &mut String, y: f64, text: &str) {
    let (x, y) = (WIDTH - NOTES + 12.0, y + HEIGHT / 2.0 + 4.5);
    let text = escaped(text);
    let _ = write!(svg, r#"<text class="note" x="{x}" y="{y}">{text}</text>"#);
}

fn whisker(svg: &mut String, y: f64, from: f64, to: f64) {
    let y = y + HEIGHT / 2.0;
    // Half a pixel is no more than how the scale is rounded.
    for (beyond, edge, back) in [
        (from < LABELS - 0.5, LABELS, 8.0),
        (to > EDGE + 0.5, EDGE, -8.0),
    ] {
        if beyond {
            let (x, above, below) = (edge + back, y - 4.5, y + 4.5);
            let _ = write!(
                svg,
                r#"<path class="arrow" d="M{edge} {y}L{x} {above}V{below}Z"/>"#
            );
        }
    }
    let (from, to) = (from.clamp(LABELS, EDGE), to.clamp(LABELS, EDGE));
    let _ = write!(
        svg,
        r#"<line class="whisker" x1="{from:.1}" x2="{to:.1}" y1="{y}" y2="{y}"/>"#
    );
}
