// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The report as one HTML page, which opens without a network: style and drawings are inside, there
//! is no script, and a content policy keeps browsers from fetching anything.
//!
//! What is lost and what failed stands above what is won.
#![forbid(unsafe_code)]

use super::chart::{chart, legend};
use super::compare::{Comparison, Mean, Panel, Point, Ratio, Verdict};
use super::distance::Class;
use super::figures::{bytes, figure};
use super::output::Better;
use super::session::Session;
use super::statistics::QUARTILES_FROM;
use super::{page_method, page_trouble};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// So many losses are in sight at once.
const LOSSES: usize = 12;

/// The head of a page that loads nothing.
pub fn head(title: &str) -> Markup {
    head_by(title, None)
}

fn head_by(title: &str, generator: Option<&str>) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(POLICY);
            meta name="viewport" content="width=device-width, initial-scale=1";
            @if let Some(generator) = generator {
                meta name="generator" content=(generator);
            }
            title { (title) }
            style { (PreEscaped(STYLE)) }
        }
    }
}

/// The page.
pub fn page(session: &Session, compared: &Comparison) -> String {
    let order: Vec<String> = order(session);
    let title = title(session);
    let classes = classes(compared);
    html! {
        (DOCTYPE)
        html lang="en" {
            (head_by(&title, Some(&format!("strait bench {}", session.head.strait))))
            body {
                h1 { (title) }
                (introduction(session))
                (filter(&classes))
                main {
                    (page_trouble::trouble(session))
                    (judgement(compared))
                    @for class in &classes {
                        (class_section(compared, *class, &order))
                    }
                    (page_method::method(session))
                }
            }
        }
    }
    .into_string()
}

/// Ours first: it gets the first look in every chart.
fn order(session: &Session) -> Vec<String> {
    let names = session.head.contenders.iter().map(|c| c.name.clone());
    let (ours, others): (Vec<_>, Vec<_>) = names.partition(|name| *name == session.head.ours);
    [ours, others].concat()
}

fn title(session: &Session) -> String {
    let head = &session.head;
    let others: Vec<&str> =
        head.contenders.iter().map(|c| c.name.as_str()).filter(|n| *n != head.ours).collect();
    let beside = match others.as_slice() {
        [] => String::new(),
        others => format!(" beside {}", others.join(", ")),
    };
    format!("{}{beside}: {} ranks on {}", head.ours, head.ranks, head.machine.host)
}

fn introduction(session: &Session) -> Markup {
    let head = &session.head;
    let machine = &head.machine;
    let kind = if machine.virtual_machine { ", virtual machine" } else { "" };
    let lanes = head.lanes.as_ref().map(|lanes| format!(", over {lanes} only"));
    html! {
        p.soft {
            (head.started.replace('T', " ").trim_end_matches('Z')) " UTC, " (machine.processor) ", "
            (machine.processors) " processors" (kind) ", " (machine.kernel)
            (lanes.unwrap_or_default()) ". Strait " (head.strait)
            @if let Some(commit) = &head.commit { ", commit " code { (commit) } }
            "."
        }
    }
}

fn classes(compared: &Comparison) -> Vec<Class> {
    let mut classes: Vec<Class> = compared.panels.iter().map(|panel| panel.class).collect();
    classes.sort();
    classes.dedup();
    classes
}

/// Buttons that hide all but one class, by style rules alone.
fn filter(classes: &[Class]) -> Markup {
    html! {
        @if classes.len() > 1 {
            input #show-all type="radio" name="class" checked;
            label.choice for="show-all" { "all classes" }
            @for class in classes {
                @let id = format!("show-{}", class.name());
                input id=(id) type="radio" name="class";
                label.choice for=(id) { (class.name()) }
            }
        }
    }
}

/// What a class is, in a sentence.
fn explained(class: Class) -> &'static str {
    match class {
        Class::Near => {
            "The two processors were near each other (threads of one core, or cores that share a \
             cache) before and after each run."
        }
        Class::Far => "The two processors were far from each other before and after each run.",
        Class::Mixed => {
            "The distance of the two processors changed while the program ran. These figures are \
             shown for completeness; nothing is concluded from them."
        }
        Class::Unknown => "The distance of the processors was not probed.",
    }
}

fn judgement(compared: &Comparison) -> Markup {
    if compared.ratios.is_empty() {
        return html! {};
    }
    let ours = &compared.ours;
    let lost: Vec<&Ratio> =
        compared.ratios.iter().filter(|r| r.verdict == Verdict::Slower).collect();
    let losses = format!("Where {ours} is slower");
    html! {
        h2 { "Beside the best rival" }
        p {
            "Time of " (ours) " over the time of the best other library at the same size, median "
            "over runs of the same class (for bandwidth and rates: theirs over ours). Below 1, "
            (ours) " is faster. \u{201c}Even\u{201d}: the bands overlap."
        }
        (means(&compared.means))
        h3 { (losses) " (" (lost.len()) " of " (compared.ratios.len()) " cells)" }
        @if lost.is_empty() { p { "Nowhere in this session." } }
        @else {
            @let (first, rest) = lost.split_at(lost.len().min(LOSSES));
            (ratios(first, ours))
            @if !rest.is_empty() {
                details { summary { (rest.len()) " further losses" } (ratios(rest, ours)) }
            }
        }
        details {
            summary { "All " (compared.ratios.len()) " ratios, largest first" }
            (ratios(&compared.ratios.iter().collect::<Vec<_>>(), ours))
        }
    }
}

fn means(means: &[Mean]) -> Markup {
    html! {
        div.scroll { table {
            thead { tr {
                th.word { "benchmark" } th.word { "class" }
                th { "geometric mean" } th { "worst" }
                th { "sizes" } th { "slower" } th { "even" } th { "faster" }
            } }
            tbody {
                @for mean in means {
                    tr class=(format!("by-class {}", mean.class.name())) {
                        td.word { (mean.benchmark) " " span.soft { (mean.column) } }
                        td.word { (mean.class.name()) }
                        td { (format!("{:.2}", mean.geometric_mean)) }
                        td { (format!("{:.2}", mean.worst)) }
                        td { (mean.sizes) }
                        td { (mean.slower) }
                        td { (mean.even) }
                        td { (mean.faster) }
                    }
                }
            }
        } }
    }
}

fn ratios(ratios: &[&Ratio], ours: &str) -> Markup {
    html! {
        div.scroll { table {
            thead { tr {
                th { "ratio" } th.word { "verdict" } th.word { "benchmark" } th { "bytes" }
                th.word { "class" } th { (ours) } th { "best rival" } th.word { "unit" }
                th.word { "rival" }
            } }
            tbody {
                @for ratio in ratios {
                    @let verdict = ratio.verdict.name();
                    tr class=(format!("by-class {}", ratio.class.name())) {
                        td { (format!("{:.2}", ratio.ratio)) }
                        td class=(format!("word {verdict}")) { (verdict) }
                        td.word { (ratio.benchmark) " " span.soft { (ratio.column) } }
                        td { (bytes(ratio.size)) }
                        td.word { (ratio.class.name()) }
                        td { (figure(ratio.ours)) } td { (figure(ratio.rivals)) }
                        td.word { (ratio.unit.replace("us", "µs")) }
                        td.word { (ratio.rival) }
                    }
                }
            }
        } }
    }
}

fn class_section(compared: &Comparison, class: Class, order: &[String]) -> Markup {
    html! {
        section class=(format!("by-class {}", class.name())) {
            h2 { "Class " (class.name()) }
            p.soft { (explained(class)) " Lines: medians over runs; shaded: their bands." }
            div.charts {
                @for panel in compared.panels.iter().filter(|p| p.class == class && !p.is_part()) {
                    (panel_figure(panel, order))
                }
            }
        }
    }
}

fn panel_figure(panel: &Panel, order: &[String]) -> Markup {
    let sizes = panel_sizes(panel);
    let better = match panel.column.better {
        Better::Less => "lower is better",
        Better::More => "higher is better",
    };
    let table = figures_table(panel, &sizes);
    html! {
        figure {
            figcaption {
                (panel.benchmark) " " span.soft {
                    "\u{2013} " (panel.column.title.replace("(us)", " (µs)")) ", " (better)
                }
            }
            @if sizes.len() > 1 {
                (legend(panel, order))
                (chart(panel, order))
                details { summary { "The figures" } (table) }
            } @else {
                (table)
            }
        }
    }
}

fn panel_sizes(panel: &Panel) -> Vec<u64> {
    let mut sizes: Vec<u64> =
        panel.series.iter().flat_map(|series| series.points.iter().map(|p| p.size)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// Medians with their bands, for those who read numbers or hear the page.
fn figures_table(panel: &Panel, sizes: &[u64]) -> Markup {
    let cell = |point: Option<&Point>| {
        let Some(Point { summary: s, .. }) = point else { return html! { "\u{2014}" } };
        let runs = if s.runs == 1 { "run" } else { "runs" };
        html! {
            (figure(s.median)) br;
            span.soft { (figure(s.low)) " \u{2013} " (figure(s.high)) br; (s.runs) " " (runs) }
        }
    };
    html! {
        div.scroll { table {
            thead { tr {
                th { "bytes" }
                @for series in &panel.series { th { (series.contender) } }
            } }
            tbody {
                @for size in sizes {
                    tr {
                        td { (bytes(*size)) }
                        @for series in &panel.series {
                            td { (cell(series.points.iter().find(|p| p.size == *size))) }
                        }
                    }
                }
            }
        } }
    }
}

/// How medians and bands are made, for the section on the method.
pub fn statistics_explained() -> String {
    format!(
        "A figure is the median over the runs of one class. Its band goes from the first to the \
         third quartile; with fewer than {QUARTILES_FROM} runs, from the least to the most; with \
         one run, over the program's own 95 % interval where it gives one."
    )
}

#[cfg(test)]
mod tests;
