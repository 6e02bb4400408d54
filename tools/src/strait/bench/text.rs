// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The result on a terminal: tables of medians, the losses, and what is missing.
#![forbid(unsafe_code)]

use super::compare::{Comparison, Panel, Verdict};
use super::figures::{bytes, figure};
use super::page_trouble::cut_short;
use super::session::Session;
use std::fmt::Write;

/// So many losses are listed; the report has all.
const LOSSES: usize = 10;

/// All of it.
pub fn text(compared: &Comparison) -> String {
    let mut text = String::new();
    for panel in compared.panels.iter().filter(|panel| !panel.is_part()) {
        text.push_str(&table(panel));
        text.push('\n');
    }
    text.push_str(&judgement(compared));
    text
}

/// What is missing, for the error stream.
pub fn trouble(session: &Session) -> String {
    let mut text = String::new();
    for contender in &session.head.contenders {
        if let Some(reason) = &contender.left_out {
            let _ = writeln!(text, "note: {} was left out: {reason}", contender.name);
        }
    }
    let mut told: Vec<(&str, &str)> = Vec::new();
    for (run, reason) in session.failures() {
        let case = (run.benchmark.as_str(), run.contender.as_str());
        if told.contains(&case) {
            continue;
        }
        told.push(case);
        let mine = session
            .failures()
            .filter(|(other, _)| (other.benchmark.as_str(), other.contender.as_str()) == case);
        let _ = writeln!(
            text,
            "error: {} over {} failed in {} run(s): {}\n  command: {}",
            case.0,
            case.1,
            mine.count(),
            reason.replace('\n', "\n  "),
            run.command
        );
    }
    if let Some(cut) = cut_short(session) {
        let _ = writeln!(text, "note: {cut}");
    }
    text
}

fn table(panel: &Panel) -> String {
    let mut text = format!(
        "# {}: {}, class {}, median over runs (band)\n",
        panel.benchmark,
        panel.column.title,
        panel.class.name()
    );
    let mut rows = vec![vec!["# Size".to_owned()]];
    rows[0].extend(panel.series.iter().map(|series| series.contender.clone()));
    let mut sizes: Vec<u64> =
        panel.series.iter().flat_map(|series| series.points.iter().map(|p| p.size)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for size in sizes {
        let mut row = vec![size.to_string()];
        for series in &panel.series {
            let point = series.points.iter().find(|point| point.size == size);
            row.push(point.map_or("-".into(), |point| {
                let s = &point.summary;
                format!("{} ({}-{})", figure(s.median), figure(s.low), figure(s.high))
            }));
        }
        rows.push(row);
    }
    let columns = rows[0].len();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn judgement(compared: &Comparison) -> String {
    let mut text = String::new();
    if compared.means.is_empty() {
        return text;
    }
    let ours = &compared.ours;
    let _ =
        writeln!(text, "Time of {ours} over that of the best rival (below 1, {ours} is faster):");
    for mean in &compared.means {
        let _ = writeln!(
            text,
            "  {} {}, {}: geometric mean {:.2}, worst {:.2}; slower at {} of {} sizes, even at {}",
            mean.benchmark,
            mean.column,
            mean.class.name(),
            mean.geometric_mean,
            mean.worst,
            mean.slower,
            mean.sizes,
            mean.even
        );
    }
    let lost = || compared.ratios.iter().filter(|ratio| ratio.verdict == Verdict::Slower);
    let count = lost().count();
    if count > 0 {
        let _ = writeln!(text, "Largest losses ({count} in all):");
    }
    for ratio in lost().take(LOSSES) {
        let _ = writeln!(
            text,
            "  {:.2}  {} {} at {}, {}: {} {unit}, {} has {} {unit}",
            ratio.ratio,
            ratio.benchmark,
            ratio.column,
            bytes(ratio.size),
            ratio.class.name(),
            figure(ratio.ours),
            ratio.rival,
            figure(ratio.rivals),
            unit = ratio.unit
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::distance::Class;
    use super::super::session::Run;
    use super::super::session::tests::{head, run};
    use super::*;

    #[test]
    fn tables_and_losses() {
        let mut session = Session::new(head());
        session.runs = vec![
            run("strait", Class::Near, &[(1, 0.5), (1024, 20.0)]),
            run("alpha", Class::Near, &[(1, 1.0), (1024, 10.0)]),
        ];
        let failed =
            Run { failure: Some("bad\nluck".into()), report: None, ..session.runs[1].clone() };
        session.runs.extend([failed.clone(), failed]);
        let shown = text(&Comparison::of(&session));
        assert!(shown.contains("# osu_latency: Avg Latency(us), class near"));
        let row = shown.lines().find(|line| line.starts_with("1024")).unwrap();
        assert_eq!(row, "1024    20.00 (20.00-20.00)  10.00 (10.00-10.00)");
        assert!(shown.contains("geometric mean 1.00, worst 2.00; slower at 1 of 2 sizes"));
        assert!(
            shown.contains("  2.00  osu_latency avg at 1 KiB, near: 20.00 us, alpha has 10.00 us")
        );
        let missing = trouble(&session);
        assert!(missing.contains("osu_latency over alpha failed in 2 run(s): bad\n  luck"));
        assert!(missing.contains("ended hard"));
    }
}
