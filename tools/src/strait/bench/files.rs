// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The files of a result: summary.json, summary.csv and report.html, beside the session.jsonl that
//! was written while measuring.
#![forbid(unsafe_code)]

use super::compare::Comparison;
use super::page::page;
use super::session::{Head, Session};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The name of the raw record in a directory of results.
pub const SESSION: &str = "session.jsonl";
const SUMMARY: &str = "summary.json";
const TABLE: &str = "summary.csv";
const REPORT: &str = "report.html";

/// Writes the derived files; answers where the page is.
///
/// # Errors
/// A file cannot be written.
pub fn write(
    directory: &Path,
    session: &Session,
    compared: &Comparison,
) -> Result<PathBuf, String> {
    let report = directory.join(REPORT);
    for (path, text) in [
        (directory.join(SUMMARY), summary(session, compared).to_string()),
        (directory.join(TABLE), csv(compared)?),
        (report.clone(), page(session, compared)),
    ] {
        std::fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    Ok(report)
}

/// The session without its runs, and what was derived of them.
pub fn summary(session: &Session, compared: &Comparison) -> Value {
    let failures: Vec<Value> = session
        .failures()
        .map(|(run, reason)| {
            json!({
                "benchmark": run.benchmark,
                "contender": run.contender,
                "repeat": run.repeat,
                "failure": reason,
                "command": run.command,
            })
        })
        .collect();
    json!({
        "format": "strait-bench-summary 1",
        "session": session.head,
        "end": session.end,
        "failures": failures,
        "comparison": compared,
    })
}

/// One line for each benchmark, column, class, contender and size.
///
/// # Errors
/// None in practice: it writes to memory.
pub fn csv(compared: &Comparison) -> Result<String, String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = [
        "benchmark",
        "column",
        "unit",
        "better",
        "class",
        "contender",
        "size",
        "runs",
        "median",
        "low",
        "high",
        "band",
    ];
    writer.write_record(head).map_err(|e| e.to_string())?;
    for panel in &compared.panels {
        for series in &panel.series {
            for point in &series.points {
                writer
                    .serialize((
                        &panel.benchmark,
                        &panel.column.name,
                        &panel.column.unit,
                        panel.column.better,
                        panel.class,
                        &series.contender,
                        point.size,
                        point.summary.runs,
                        point.summary.median,
                        point.summary.low,
                        point.summary.high,
                        point.summary.band,
                    ))
                    .map_err(|e| e.to_string())?;
            }
        }
    }
    let bytes = writer.into_inner().map_err(|e| e.to_string())?;
    String::from_utf8(bytes).map_err(|e| e.to_string())
}

/// The name of a record: day, host, commit or build, and a number where that name is taken.
pub fn record_path(directory: &Path, head: &Head) -> PathBuf {
    let plain = |text: &str| -> String {
        text.chars()
            .map(|c| if c.is_ascii_alphanumeric() || ".-_+".contains(c) { c } else { '_' })
            .collect()
    };
    let day = head.started.split('T').next().unwrap_or_default();
    let what: String = head.commit.as_deref().unwrap_or(&head.build).chars().take(16).collect();
    let stem = format!("{day}-{}-{}", plain(&head.machine.host), plain(&what));
    let names = std::iter::once(format!("{stem}.jsonl"))
        .chain((2..).map(|number| format!("{stem}.{number}.jsonl")));
    names.map(|name| directory.join(name)).find(|path| !path.exists()).expect("some number is free")
}

#[cfg(test)]
mod tests {
    use super::super::distance::Class;
    use super::super::session::tests::{head, run};
    use super::*;

    #[test]
    fn the_csv_has_a_line_for_each_point() {
        let mut session = Session::new(head());
        session.runs = vec![
            run("strait", Class::Near, &[(1, 0.5), (8, 0.25)]),
            run("alpha", Class::Far, &[(1, 1.0)]),
        ];
        let text = csv(&Comparison::of(&session)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1], "osu_latency,avg,us,less,near,strait,1,1,0.5,0.5,0.5,none");
        assert_eq!(lines[3], "osu_latency,avg,us,less,far,alpha,1,1,1.0,1.0,1.0,none");
        let summary = summary(&session, &Comparison::of(&session));
        assert_eq!(summary["comparison"]["panels"][0]["series"][0]["points"][1]["median"], 0.25);
    }

    #[test]
    fn a_record_never_takes_the_name_of_another() {
        let root = std::env::temp_dir().join(format!("strait-record-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let mut head = head();
        head.machine.host = "a/b".into();
        let first = record_path(&root, &head);
        assert_eq!(first.file_name().unwrap(), "2026-11-25-a_b-abc.jsonl");
        std::fs::write(&first, "").unwrap();
        assert_eq!(record_path(&root, &head).file_name().unwrap(), "2026-11-25-a_b-abc.2.jsonl");
    }
}
