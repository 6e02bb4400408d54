// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The report of a run as one page of HTML, which loads nothing: for each collective a map of the
//! chosen algorithm by size and ranks, the curves of all algorithms, and a table of the choice
//! against the default and the runner-up.
#![forbid(unsafe_code)]

use crate::strait::bench::chart::{chart, legend};
use crate::strait::bench::compare::{Panel, Point, Series};
use crate::strait::bench::distance::Class;
use crate::strait::bench::figures::{bytes, figure};
use crate::strait::bench::output::Column;
use crate::strait::bench::page::head;
use crate::strait::bench::statistics::{Band, Summary};
use maud::{DOCTYPE, Markup, html};
use std::collections::BTreeSet;
use strait_collectives::kind::Kind;
use strait_collectives::select::tuning::decide::verdicts;
use strait_collectives::select::tuning::{Cell, Record};
use strait_collectives::select::{Evidence, Named, Times};

/// Sides of a field of the map.
const FIELD: (usize, usize) = (46, 26);
/// Room for the numbers beside and below it.
const MARGIN: (usize, usize) = (40, 20);

/// The page.
pub fn page(record: &Record) -> String {
    let verdicts = verdicts(record);
    let is_there = |kind: &Kind| verdicts.iter().any(|one| one.kind == *kind);
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(is_there).collect();
    let measured = &record.measured;
    let title = format!("strait tune: {}", measured.machine);
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&title))
            body {
                h1 { (title) }
                p.soft {
                    (measured.date) ". Strait " (measured.strait) ", " (measured.library) ". "
                    (verdicts.len()) " of " (record.cells.len()) " calls measured. Times are \
                    medians of single calls, each the longest over its ranks, with an interval \
                    that holds the true median with 95 %."
                }
                main {
                    @for kind in kinds {
                        @let own: Vec<&Evidence> =
                            verdicts.iter().filter(|one| one.kind == kind).collect();
                        h2 { (kind.name()) }
                        (map(&own))
                        @for panel in panels(record, kind) {
                            @let order = names(&panel);
                            figure {
                                figcaption {
                                    (panel.title) span.soft { " \u{2013} lower is better" }
                                }
                                (legend(&panel, &order)) (chart(&panel, &order))
                            }
                        }
                        (choices(&own))
                    }
                }
            }
        }
    }
    .into_string()
}

fn names(panel: &Panel) -> Vec<String> {
    panel.series.iter().map(|series| series.contender.clone()).collect()
}

/// Fields of size and ranks with a letter for the algorithm; darker the more it gains.
fn map(own: &[&Evidence]) -> Markup {
    let sizes: Vec<usize> =
        own.iter().map(|one| one.bytes).collect::<BTreeSet<_>>().into_iter().collect();
    let ranks: Vec<u32> =
        own.iter().map(|one| one.ranks).collect::<BTreeSet<_>>().into_iter().collect();
    let chosen: Vec<String> =
        own.iter().map(|one| one.chosen.0.short()).collect::<BTreeSet<_>>().into_iter().collect();
    let (width, height) = (MARGIN.0 + FIELD.0 * sizes.len(), MARGIN.1 + FIELD.1 * ranks.len());
    let column = |one: &Evidence| sizes.iter().position(|size| *size == one.bytes).unwrap_or(0);
    let row = |one: &Evidence| ranks.iter().position(|count| *count == one.ranks).unwrap_or(0);
    let letter = |name: &str| {
        let at = chosen.iter().position(|one| one == name).unwrap_or(0);
        char::from(b'A' + (at % 26) as u8)
    };
    let label = "chosen algorithm by size (across) and ranks (down)";
    html! {
        figure {
            figcaption { (label) }
            svg viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(label)
                style=(format!("max-width:{width}px")) {
                @for one in own {
                    @let x = MARGIN.0 + FIELD.0 * column(one);
                    @let y = FIELD.1 * row(one);
                    @let name = one.chosen.0.short();
                    @let shade = format!("{:.2}", 0.12 + 0.7 * gain(one).min(1.0));
                    g {
                        rect x=(x) y=(y) width=(FIELD.0 - 2) height=(FIELD.1 - 2)
                            fill="#1f77b4" fill-opacity=(shade) {}
                        text x=(x + FIELD.0 / 2 - 1) y=(y + FIELD.1 / 2 + 4) text-anchor="middle" {
                            (letter(&name))
                        }
                        title {
                            (one.ranks) " ranks, " (one.bytes) " bytes: " (name) ", "
                            (figure(one.chosen.1.us)) " us; default " (one.default.0.short()) ", "
                            (figure(one.default.1.us)) " us"
                        }
                    }
                }
                @for (index, count) in ranks.iter().enumerate() {
                    text x=(MARGIN.0 - 6) y=(FIELD.1 * index + FIELD.1 / 2 + 4) text-anchor="end" {
                        (count)
                    }
                }
                @for (index, size) in sizes.iter().enumerate() {
                    text x=(MARGIN.0 + FIELD.0 * index + FIELD.0 / 2 - 1) y=(height - 5)
                        text-anchor="middle" font-size="9" { (bytes(*size as u64)) }
                }
            }
            ul.legend { @for name in &chosen { li { (letter(name)) " " (name) } } }
        }
    }
}

/// By how much of its time the default is slower than the choice.
fn gain(one: &Evidence) -> f64 {
    (one.default.1.us / one.chosen.1.us - 1.0).max(0.0)
}

fn choices(own: &[&Evidence]) -> Markup {
    let cell = |(named, times): &(Named, Times)| {
        let Times { us, low, high, samples } = times;
        html! {
            td { (named.short()) }
            td title=(format!("{} to {}, {samples} samples", figure(*low), figure(*high))) {
                (figure(*us))
            }
        }
    };
    html! {
        div.scroll { table {
            thead { tr {
                th { "ranks" } th { "bytes" } th { "chosen" } th { "µs" } th { "interval" }
                th { "default" } th { "µs" } th { "gain" } th { "runner-up" } th { "µs" }
            } }
            tbody {
                @for one in own {
                    tr {
                        td { (one.ranks) }
                        td { (bytes(one.bytes as u64)) }
                        (cell(&one.chosen))
                        td { (figure(one.chosen.1.low)) " – " (figure(one.chosen.1.high)) }
                        (cell(&one.default))
                        td { (format!("{:+.0} %", gain(one) * 100.0)) }
                        @match &one.runner_up {
                            Some(runner_up) => { (cell(runner_up)) }
                            None => { td { "-" } td { "-" } }
                        }
                    }
                }
            }
        } }
    }
}

/// The curves of a collective, for each number of ranks with more than one size.
fn panels(record: &Record, kind: Kind) -> Vec<Panel> {
    let own: Vec<&Cell> = record.cells.iter().filter(|cell| cell.kind() == kind).collect();
    let ranks: BTreeSet<u32> = own.iter().map(|cell| cell.ranks).collect();
    let panel = |ranks: u32| {
        let cells: Vec<&&Cell> = own.iter().filter(|cell| cell.ranks == ranks).collect();
        let mut names: Vec<Named> = Vec::new();
        for (named, _) in cells.iter().flat_map(|cell| cell.measured()) {
            if !names.contains(&named) {
                names.push(named);
            }
        }
        let series = names.into_iter().map(|named| Series {
            contender: named.short(),
            points: cells.iter().filter_map(|cell| point(cell, named)).collect(),
        });
        Panel {
            benchmark: kind.name().to_owned(),
            title: format!("{} over {ranks} ranks", kind.name()),
            class: Class::Unknown,
            column: Column::time(),
            series: series.collect(),
        }
    };
    let is_curve = |panel: &Panel| panel.series.iter().any(|series| series.points.len() > 1);
    ranks.into_iter().map(panel).filter(is_curve).collect()
}

fn point(cell: &Cell, named: Named) -> Option<Point> {
    let (_, times) = cell.measured().find(|(one, _)| *one == named)?;
    let Times { us: median, low, high, .. } = times;
    let summary = Summary { runs: 1, median, low, high, band: Band::Interval };
    Some(Point { size: cell.bytes as u64, summary })
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_collectives::select::tuning::VERSION;
    use strait_collectives::select::{Hosts, Measured};

    #[test]
    fn a_page_has_maps_curves_and_tables_and_loads_nothing() {
        let mut cells: Vec<Cell> =
            [8, 64].map(|bytes| Cell::new(Kind::Allreduce, 4, Hosts::One, bytes)).to_vec();
        for cell in &mut cells {
            for candidate in &mut cell.candidates {
                let us = if candidate.named.short() == "ring" { 5.0 } else { 10.0 };
                candidate.times = Some(Times { us, low: us - 0.5, high: us + 0.5, samples: 40 });
            }
        }
        let count = cells[0].candidates.len();
        let measured = Measured { machine: "4 ranks on <here>".into(), ..Measured::default() };
        let text = page(&Record { version: VERSION, measured, cells });
        assert_eq!(text.matches("<polyline").count(), count);
        assert_eq!(text.matches("<rect").count(), 2);
        assert!(text.contains("A ring") && text.contains("+100 %"), "{text}");
        assert!(text.contains("4 ranks on &lt;here&gt;"));
        assert!(!text.contains("http://") && !text.contains("<script") && !text.contains("NaN"));
    }
}
