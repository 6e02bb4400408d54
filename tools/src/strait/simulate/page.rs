// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The curves as one page of HTML, drawn as the pages of `strait bench` are.
#![forbid(unsafe_code)]

use super::curves::Curve;
use crate::strait::bench::chart::{chart, legend};
use crate::strait::bench::compare::{Panel, Point, Series};
use crate::strait::bench::distance::Class;
use crate::strait::bench::figures::{bytes, figure};
use crate::strait::bench::output::Column;
use crate::strait::bench::page::head;
use crate::strait::bench::statistics::Summary;
use maud::{DOCTYPE, html};

/// The page.
pub fn page(title: &str, introduction: &str, curves: &[Curve], sizes: &[u64]) -> String {
    let panel = panel(title, curves, sizes);
    let order: Vec<String> = panel.series.iter().map(|series| series.contender.clone()).collect();
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body {
                h1 { (title) }
                p.soft { (introduction) " Predictions of a model, not measurements." }
                main {
                    figure {
                        figcaption { "time by algorithm " span.soft { "\u{2013} lower is better" } }
                        @if sizes.len() > 1 { (legend(&panel, &order)) (chart(&panel, &order)) }
                    }
                    div.scroll { table {
                        thead { tr {
                            th { "bytes" }
                            @for name in &order { th { (name) " (µs)" } }
                        } }
                        tbody {
                            @for (index, size) in sizes.iter().enumerate() {
                                tr {
                                    td { (bytes(*size)) }
                                    @for curve in curves { td { (figure(curve.times_us[index])) } }
                                }
                            }
                        }
                    } }
                }
            }
        }
    }
    .into_string()
}

fn panel(title: &str, curves: &[Curve], sizes: &[u64]) -> Panel {
    let point = |(&size, &time): (&u64, &f64)| {
        Summary::of(&[time], None).map(|summary| Point { size, summary })
    };
    let series = curves.iter().map(|curve| Series {
        contender: format!("{} ({})", curve.name, curve.mode),
        points: sizes.iter().zip(&curve.times_us).filter_map(point).collect(),
    });
    Panel {
        benchmark: title.to_owned(),
        title: title.to_owned(),
        class: Class::Unknown,
        column: Column::time(),
        series: series.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_every_curve_and_figure_and_loads_nothing() {
        let curve = |name, times_us| Curve { name, mode: "analytic", times_us, notes: Vec::new() };
        let curves = [curve("one", vec![1.25, 2.5]), curve("two", vec![3.75, 4.5])];
        let text = page("a title", "words.", &curves, &[8, 1024]);
        for part in ["one (analytic)", "two (analytic)", "1.250", "4.500", "1 KiB", "a title"] {
            assert!(text.contains(part), "{part}");
        }
        assert_eq!(text.matches("<polyline").count(), 2);
        assert!(!text.contains("http://") && !text.contains("<script"));
    }
}
