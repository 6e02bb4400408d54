// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From the runs of a session to curves and to ratios.
//!
//! Invariants:
//! 1. Everything is by class: no figure of one class meets one of another.
//! 2. Runs of the class `mixed` are shown, but no ratio is made of them: the machine changed while
//!    they ran, and for each at another moment.
//! 3. A ratio is one of times: below 1, ours is the faster one, also where more is better.
#![forbid(unsafe_code)]

use super::contender::Kind;
use super::distance::Class;
use super::output::{Better, Column};
use super::session::Session;
use super::statistics::{Summary, geometric_mean};
use serde::Serialize;
use std::collections::BTreeMap;

/// Columns that say where the time of another column went, or between which ends it lies: they are
/// in the files of figures, get no ratio, and no room where people look.
const PARTS: &[&str] = &["compute", "init", "test", "wait", "pure_min", "pure_max", "slowdown"];

/// The figures of one contender at one size.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Point {
    pub size: u64,
    #[serde(flatten)]
    pub summary: Summary,
}

/// One curve.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Series {
    pub contender: String,
    pub points: Vec<Point>,
}

/// One chart: a quantity of a benchmark, in one class.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Panel {
    pub benchmark: String,
    pub title: String,
    pub class: Class,
    pub column: Column,
    pub series: Vec<Series>,
}

impl Panel {
    /// Whether it only explains another one.
    pub fn is_part(&self) -> bool {
        PARTS.contains(&self.column.name.as_str())
    }
}

/// How ours stands to the others in one cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Slower,
    /// The bands overlap.
    Even,
    Faster,
}

impl Verdict {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Slower => "slower",
            Verdict::Even => "even",
            Verdict::Faster => "faster",
        }
    }
}

/// Ours and the best rival at one size.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Ratio {
    pub benchmark: String,
    pub column: String,
    pub unit: String,
    pub class: Class,
    pub size: u64,
    pub ours: f64,
    pub rival: String,
    pub rivals: f64,
    /// Time of ours over time of the rival.
    pub ratio: f64,
    pub verdict: Verdict,
}

/// The ratios of a column together.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Mean {
    pub benchmark: String,
    pub column: String,
    pub class: Class,
    pub sizes: usize,
    pub geometric_mean: f64,
    pub worst: f64,
    pub slower: usize,
    pub even: usize,
    pub faster: usize,
}

/// All that is derived from a session.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Comparison {
    pub ours: String,
    pub panels: Vec<Panel>,
    /// Largest first: what we lose stands on top.
    pub ratios: Vec<Ratio>,
    pub means: Vec<Mean>,
}

impl Comparison {
    /// Of all runs that have figures.
    pub fn of(session: &Session) -> Comparison {
        let panels = panels(session);
        let rivals = rivals(session);
        let ours = &session.head.ours;
        let mut ratios: Vec<Ratio> =
            panels.iter().flat_map(|panel| panel_ratios(panel, ours, &rivals)).collect();
        let means = means(&ratios);
        ratios.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
        Comparison { ours: ours.clone(), panels, ratios, means }
    }
}

/// Who ours is compared with: other libraries, or if there are none, other builds of ours.
fn rivals(session: &Session) -> Vec<&str> {
    let others = session.head.contenders.iter().filter(|c| c.name != session.head.ours);
    let foreign: Vec<&str> =
        others.clone().filter(|c| c.kind != Kind::Strait).map(|c| c.name.as_str()).collect();
    if foreign.is_empty() { others.map(|c| c.name.as_str()).collect() } else { foreign }
}

/// Values of a cell, and the interval that the program gave with the last of them.
type Cell = (Vec<f64>, Option<(f64, f64)>);

/// By benchmark in the order of the session, then class, then column in the order of the program.
fn panels(session: &Session) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for benchmark in &session.head.benchmarks {
        for class in [Class::Near, Class::Far, Class::Unknown, Class::Mixed] {
            let reports: Vec<_> = session
                .reports()
                .filter(|(run, _)| run.benchmark == *benchmark && run.class == class)
                .collect();
            let Some((_, first)) = reports.first() else { continue };
            for (place, column) in first.columns.iter().enumerate() {
                let mut cells: BTreeMap<(&str, u64), Cell> = BTreeMap::new();
                for (run, report) in &reports {
                    for row in &report.rows {
                        let Some(value) = row.value(&column.name) else { continue };
                        let cell = cells.entry((&run.contender, row.size)).or_default();
                        cell.0.push(value);
                        // The interval of a row is about its first column.
                        let ends = (row.value("ci_low"), row.value("ci_high"));
                        if let ((Some(low), Some(high)), 0) = (ends, place) {
                            cell.1 = Some((low, high));
                        }
                    }
                }
                let series = series(session, &cells);
                if !series.is_empty() {
                    panels.push(Panel {
                        benchmark: benchmark.clone(),
                        title: first.title.clone(),
                        class,
                        column: column.clone(),
                        series,
                    });
                }
            }
        }
    }
    panels
}

fn series(session: &Session, cells: &BTreeMap<(&str, u64), Cell>) -> Vec<Series> {
    let mut all = Vec::new();
    for contender in &session.head.contenders {
        let name = contender.name.as_str();
        let points: Vec<Point> = cells
            .range((name, 0)..=(name, u64::MAX))
            .filter_map(|((_, size), (values, interval))| {
                Some(Point { size: *size, summary: Summary::of(values, *interval)? })
            })
            .collect();
        if !points.is_empty() {
            all.push(Series { contender: name.to_owned(), points });
        }
    }
    all
}

fn panel_ratios(panel: &Panel, ours: &str, rivals: &[&str]) -> Vec<Ratio> {
    if panel.class == Class::Mixed || panel.column.unit == "%" || panel.is_part() {
        return Vec::new();
    }
    let Some(own) = panel.series.iter().find(|series| series.contender == ours) else {
        return Vec::new();
    };
    own.points.iter().filter_map(|point| ratio(panel, point, rivals)).collect()
}

fn ratio(panel: &Panel, own: &Point, rivals: &[&str]) -> Option<Ratio> {
    let less = panel.column.better == Better::Less;
    let at_size = |series: &Series| {
        series.points.iter().find(|p| p.size == own.size && p.summary.median > 0.0).cloned()
    };
    let (rival, best) = panel
        .series
        .iter()
        .filter(|series| rivals.contains(&series.contender.as_str()))
        .filter_map(|series| Some((&series.contender, at_size(series)?.summary)))
        .min_by(|(_, a), (_, b)| {
            let order = a.median.total_cmp(&b.median);
            if less { order } else { order.reverse() }
        })?;
    let mine = own.summary;
    if mine.median <= 0.0 {
        return None;
    }
    let ratio = if less { mine.median / best.median } else { best.median / mine.median };
    let verdict = match ratio {
        _ if mine.overlaps(&best) => Verdict::Even,
        ratio if ratio > 1.0 => Verdict::Slower,
        _ => Verdict::Faster,
    };
    Some(Ratio {
        benchmark: panel.benchmark.clone(),
        column: panel.column.name.clone(),
        unit: panel.column.unit.clone(),
        class: panel.class,
        size: own.size,
        ours: mine.median,
        rival: rival.clone(),
        rivals: best.median,
        ratio,
        verdict,
    })
}

fn means(ratios: &[Ratio]) -> Vec<Mean> {
    let mut means: Vec<Mean> = Vec::new();
    for first in ratios {
        let same = |r: &&Ratio| {
            (&r.benchmark, &r.column, r.class) == (&first.benchmark, &first.column, first.class)
        };
        let done = |m: &Mean| {
            (&m.benchmark, &m.column, m.class) == (&first.benchmark, &first.column, first.class)
        };
        if means.iter().any(done) {
            continue;
        }
        let group: Vec<&Ratio> = ratios.iter().filter(same).collect();
        let count = |verdict| group.iter().filter(|r| r.verdict == verdict).count();
        means.push(Mean {
            benchmark: first.benchmark.clone(),
            column: first.column.clone(),
            class: first.class,
            sizes: group.len(),
            geometric_mean: geometric_mean(group.iter().map(|r| r.ratio)).unwrap_or(1.0),
            worst: group.iter().map(|r| r.ratio).fold(0.0, f64::max),
            slower: count(Verdict::Slower),
            even: count(Verdict::Even),
            faster: count(Verdict::Faster),
        });
    }
    means
}

#[cfg(test)]
mod tests {
    use super::super::session::tests::{contender, head, run};
    use super::*;

    fn session(runs: &[(&str, Class, f64)]) -> Session {
        let mut session = Session::new(head());
        session.runs =
            runs.iter().map(|(name, class, value)| run(name, *class, &[(8, *value)])).collect();
        session
    }

    #[test]
    fn classes_never_meet() {
        let compared = Comparison::of(&session(&[
            ("strait", Class::Near, 0.1),
            ("strait", Class::Far, 0.4),
            ("alpha", Class::Near, 0.2),
            ("beta", Class::Mixed, 0.01),
            ("strait", Class::Mixed, 0.2),
        ]));
        // Near has a rival; far has none; what is mixed is not judged.
        assert_eq!(compared.ratios.len(), 1);
        let ratio = &compared.ratios[0];
        assert_eq!((ratio.class, ratio.rival.as_str(), ratio.ratio), (Class::Near, "alpha", 0.5));
        let classes: Vec<Class> = compared.panels.iter().map(|panel| panel.class).collect();
        assert_eq!(classes, [Class::Near, Class::Far, Class::Mixed]);
    }

    #[test]
    fn the_best_rival_counts_and_losses_come_first() {
        let mut session = Session::new(head());
        let row = |name: &str, a: f64, b: f64| run(name, Class::Far, &[(1, a), (2, b)]);
        session.runs = vec![row("strait", 1.0, 3.0), row("alpha", 2.0, 9.0), row("beta", 4.0, 2.0)];
        let compared = Comparison::of(&session);
        let cells: Vec<_> = compared
            .ratios
            .iter()
            .map(|r| (r.size, r.rival.as_str(), r.ratio, r.verdict))
            .collect();
        assert_eq!(cells, [(2, "beta", 1.5, Verdict::Slower), (1, "alpha", 0.5, Verdict::Faster)]);
        let mean = &compared.means[0];
        assert!((mean.geometric_mean - 0.75_f64.sqrt()).abs() < 1e-12);
        assert_eq!((mean.worst, mean.slower, mean.even, mean.faster), (1.5, 1, 0, 1));
    }

    #[test]
    fn where_more_is_better_the_ratio_turns() {
        let mut session = session(&[("strait", Class::Near, 50.0), ("alpha", Class::Near, 100.0)]);
        for run in &mut session.runs {
            let column = &mut run.report.as_mut().unwrap().columns[0];
            column.better = Better::More;
        }
        let compared = Comparison::of(&session);
        assert_eq!(compared.ratios[0].ratio, 2.0);
        assert_eq!(compared.ratios[0].verdict, Verdict::Slower);
    }

    #[test]
    fn bands_that_overlap_are_even() {
        let compared = Comparison::of(&session(&[
            ("strait", Class::Near, 1.0),
            ("strait", Class::Near, 2.0),
            ("alpha", Class::Near, 1.4),
        ]));
        assert_eq!(compared.ratios[0].verdict, Verdict::Even);
    }

    #[test]
    fn percentages_and_parts_are_not_ratios() {
        for (name, unit) in [("avg", "%"), ("compute", "us")] {
            let mut session = session(&[("strait", Class::Near, 1.0), ("alpha", Class::Near, 2.0)]);
            for run in &mut session.runs {
                let report = run.report.as_mut().unwrap();
                report.columns[0].name = name.into();
                report.columns[0].unit = unit.into();
                let value = report.rows[0].fields["avg"].clone();
                report.rows[0].fields.insert(name.into(), value);
            }
            let compared = Comparison::of(&session);
            assert_eq!((compared.panels.len(), compared.ratios.len()), (1, 0), "{name} {unit}");
        }
    }

    #[test]
    fn other_builds_of_ours_are_rivals_only_without_others() {
        let mut with = session(&[
            ("strait", Class::Near, 1.0),
            ("old", Class::Near, 0.5),
            ("alpha", Class::Near, 2.0),
        ]);
        with.head.contenders.push(contender("old", Kind::Strait));
        assert_eq!(Comparison::of(&with).ratios[0].rival, "alpha");
        with.head.contenders.retain(|c| c.kind == Kind::Strait);
        assert_eq!(Comparison::of(&with).ratios[0].rival, "old");
    }
}
