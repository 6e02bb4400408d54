// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A panel as an inline SVG: curves of medians over message sizes, with their bands.
//!
//! No meaning hangs on colour alone: each contender has its own mark and its own dashes besides.
//! Colours are variables of the page's style sheet, so that one drawing serves light and dark.
#![forbid(unsafe_code)]

use super::axis::{Axis, SizeAxis};
use super::compare::{Panel, Point, Series};
use super::figures::{bytes, figure, tick};
use maud::{Markup, html};

/// The drawing's own units: narrow, so that letters stay readable on a phone.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 290.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 42.0;

/// Colours of the style sheet.
const COLOURS: usize = 8;
/// Dashes: drawn, left out, drawn, ...
const DASHES: &[&str] = &["", "7 3", "2 3", "9 3 2 3", "12 4", "5 2 2 2 2 2", "3 6"];
/// Kinds of marks.
const MARKS: usize = 8;

/// The chart of a panel; `order` gives each contender its look, the same in all charts.
pub fn chart(panel: &Panel, order: &[String]) -> Markup {
    let points = || panel.series.iter().flat_map(|series| &series.points);
    let sizes = SizeAxis::over(points().map(|p| p.size).collect(), LEFT + 8.0, WIDTH - RIGHT - 8.0);
    let values: Vec<f64> = points().flat_map(|p| [p.summary.low, p.summary.high]).collect();
    let axis = Axis::over(&values, panel.column.unit != "%", HEIGHT - BOTTOM, TOP);
    let label = format!("{}: {} over bytes per message", panel.benchmark, panel.column.title);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(label) {
            (frame(panel, &sizes, &axis))
            @for series in &panel.series {
                (band(series, look(order, &series.contender), &sizes, &axis))
            }
            // The first contender is ours: drawn last, on top.
            @for series in panel.series.iter().rev() {
                (curve(panel, series, look(order, &series.contender), &sizes, &axis))
            }
        }
    }
}

/// What names the curves.
pub fn legend(panel: &Panel, order: &[String]) -> Markup {
    html! {
        ul.legend {
            @for series in &panel.series {
                @let look = look(order, &series.contender);
                li {
                    svg.swatch viewBox="0 0 34 14" aria-hidden="true" {
                        g class=(classes(look)) {
                            line x1="1" y1="7" x2="33" y2="7"
                                stroke-dasharray=[dashes(look)] {}
                            (mark(look, 17.0, 7.0))
                        }
                    }
                    (series.contender)
                }
            }
        }
    }
}

fn look(order: &[String], contender: &str) -> usize {
    order.iter().position(|name| name == contender).unwrap_or(0)
}

/// The colour of a curve; ours is drawn thicker besides.
fn classes(look: usize) -> String {
    let ours = if look == 0 { " ours" } else { "" };
    format!("series s{}{ours}", look % COLOURS)
}

fn dashes(look: usize) -> Option<&'static str> {
    Some(DASHES[look % DASHES.len()]).filter(|dashes| !dashes.is_empty())
}

fn frame(panel: &Panel, sizes: &SizeAxis, axis: &Axis) -> Markup {
    let (floor, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let unit = match (panel.column.unit.as_str(), axis.is_logarithmic()) {
        ("us", true) => "µs, logarithmic".to_owned(),
        (unit, true) => format!("{unit}, logarithmic"),
        (unit, false) => unit.replace("us", "µs"),
    };
    let (middle, up) = ((LEFT + right) / 2.0, (TOP + floor) / 2.0);
    html! {
        g.grid {
            @for value in axis.ticks() {
                @let y = axis.place(value);
                line x1=(LEFT) x2=(right) y1=(one(y)) y2=(one(y)) {}
            }
            @for size in sizes.ticks() {
                @let x = sizes.place(size);
                line x1=(one(x)) x2=(one(x)) y1=(TOP) y2=(floor) {}
            }
        }
        g.axis {
            line x1=(LEFT) x2=(right) y1=(floor) y2=(floor) {}
            line x1=(LEFT) x2=(LEFT) y1=(TOP) y2=(floor) {}
            @for value in axis.ticks() {
                text x=(LEFT - 5.0) y=(one(axis.place(value) + 4.0)) text-anchor="end" {
                    (tick(value))
                }
            }
            @for size in sizes.ticks() {
                text x=(one(sizes.place(size))) y=(floor + 15.0) text-anchor="middle" {
                    (bytes(size))
                }
            }
            text.name x=(middle) y=(HEIGHT - 6.0) text-anchor="middle" {
                "bytes per message, logarithmic"
            }
            text.name transform=(format!("translate(11 {up}) rotate(-90)")) text-anchor="middle" {
                (unit)
            }
        }
    }
}

fn band(series: &Series, look: usize, sizes: &SizeAxis, axis: &Axis) -> Markup {
    let at = |point: &Point, value: f64| {
        format!("{},{}", one(sizes.place(point.size)), one(axis.place(value)))
    };
    let above = series.points.iter().map(|point| at(point, point.summary.high));
    let below = series.points.iter().rev().map(|point| at(point, point.summary.low));
    let corners = above.chain(below).collect::<Vec<_>>().join(" ");
    html! {
        @if series.points.len() > 1 {
            polygon class=(format!("band s{}", look % COLOURS)) points=(corners) {}
        }
    }
}

fn curve(panel: &Panel, series: &Series, look: usize, sizes: &SizeAxis, axis: &Axis) -> Markup {
    let place = |point: &Point| (sizes.place(point.size), axis.place(point.summary.median));
    let corners: Vec<String> =
        series.points.iter().map(place).map(|(x, y)| format!("{},{}", one(x), one(y))).collect();
    html! {
        g class=(classes(look)) {
            polyline points=(corners.join(" ")) stroke-dasharray=[dashes(look)] {}
            @for point in &series.points {
                @let (x, y) = place(point);
                g { (mark(look, x, y)) title { (spoken(panel, series, point)) } }
            }
        }
    }
}

fn spoken(panel: &Panel, series: &Series, point: &Point) -> String {
    let s = &point.summary;
    let runs = if s.runs == 1 { "1 run".to_owned() } else { format!("{} runs", s.runs) };
    format!(
        "{}, {} bytes: {} {} ({} to {}, {runs})",
        series.contender,
        point.size,
        figure(s.median),
        panel.column.unit,
        figure(s.low),
        figure(s.high)
    )
}

/// A mark, about seven units wide.
fn mark(look: usize, x: f64, y: f64) -> Markup {
    let polygon = |corners: &[(f64, f64)]| {
        let corners: Vec<String> =
            corners.iter().map(|(dx, dy)| format!("{},{}", one(x + dx), one(y + dy))).collect();
        html! { polygon.mark points=(corners.join(" ")) {} }
    };
    let strokes = |path: String| html! { path.mark d=(path) {} };
    let (px, py) = (one(x), one(y));
    match look % MARKS {
        0 => html! { circle.mark cx=(px) cy=(py) r="3.2" {} },
        1 => polygon(&[(-3.0, -3.0), (3.0, -3.0), (3.0, 3.0), (-3.0, 3.0)]),
        2 => polygon(&[(0.0, -3.8), (3.7, 2.8), (-3.7, 2.8)]),
        3 => polygon(&[(0.0, -4.2), (4.2, 0.0), (0.0, 4.2), (-4.2, 0.0)]),
        4 => polygon(&[(0.0, 3.8), (3.7, -2.8), (-3.7, -2.8)]),
        5 => strokes(format!("M{px} {py} m-3 -3 l6 6 m0 -6 l-6 6")),
        6 => strokes(format!("M{px} {py} m-4 0 h8 m-4 -4 v8")),
        _ => html! { circle.mark.hollow cx=(px) cy=(py) r="3.4" {} },
    }
}

/// One digit behind the point: finer than any screen.
fn one(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::super::compare::Comparison;
    use super::super::distance::Class;
    use super::super::session::Session;
    use super::super::session::tests::{head, run};
    use super::*;

    #[test]
    fn every_contender_looks_different_without_colour() {
        let looks: Vec<(Option<&str>, String)> =
            (0..DASHES.len() * MARKS).map(|look| (dashes(look), mark(look, 0.0, 0.0).0)).collect();
        for (index, look) in looks.iter().enumerate() {
            assert!(!looks[..index].contains(look), "look {index}");
        }
    }

    #[test]
    fn a_chart_has_a_curve_a_band_and_a_name_for_each() {
        let mut session = Session::new(head());
        session.runs = ["strait", "alpha", "strait"]
            .iter()
            .enumerate()
            .map(|(i, name)| run(name, Class::Near, &[(0, 0.1 + i as f64), (8, 0.2), (16, 9.0)]))
            .collect();
        let panel = &Comparison::of(&session).panels[0];
        let order = ["strait".to_owned(), "alpha".to_owned()];
        let svg = chart(panel, &order).0;
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("class=\"band").count(), 2);
        assert_eq!(svg.matches("<title>").count(), 6);
        assert!(svg.contains("strait, 0 bytes: 1.100 us (0.100 to 2.100, 2 runs)"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        let names = legend(panel, &order).0;
        assert!(names.contains("strait") && names.contains("alpha") && !names.contains("beta"));
    }
}
