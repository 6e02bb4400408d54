// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Comma-separated values: the facts as comments, one line of names, one line for each row. All
//! columns are there; what was not measured is empty.
#![forbid(unsafe_code)]

use super::facts::Facts;
use super::row::Row;
use super::table;
use crate::benchmark::Benchmark;

const STATISTICS: [&str; 11] = [
    "min",
    "max",
    "iterations",
    "samples",
    "median",
    "ci_low",
    "ci_high",
    "p50",
    "p90",
    "p99",
    "validation",
];

pub fn head(benchmark: &Benchmark, facts: &Facts) -> String {
    let mut names = vec!["size", "datatype"];
    names.extend(benchmark.columns.iter().map(|column| column.name));
    names.extend(STATISTICS);
    format!("{}{}{}\n", table::title(benchmark), facts.lines(), names.join(","))
}

pub fn row(row: &Row) -> String {
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.4}"));
    let size = row.size.map_or(String::new(), |size| size.to_string());
    let mut fields = vec![size, row.datatype.name().to_string()];
    fields.extend(row.values.iter().map(|value| number(Some(*value))));
    let (low, high) = row.interval.unzip();
    fields.extend([row.least, row.most].map(number));
    fields.extend([row.iterations, row.samples.len()].map(|count| count.to_string()));
    fields.extend([row.median, low, high].map(number));
    fields.extend([50, 90, 99].map(|percent| number(row.percentile(percent))));
    let valid = row.valid.map_or("", |valid| if valid { "pass" } else { "fail" });
    fields.push(valid.to_string());
    fields.join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::all;
    use crate::datatype::Type;

    #[test]
    fn names_and_values_are_as_many() {
        let benchmark = all().into_iter().find(|b| b.program == "osu_mbw_mr").unwrap();
        let line = row(&Row {
            size: Some(8),
            datatype: Type::Char,
            values: vec![1.5, 2.0],
            least: None,
            most: None,
            iterations: 9,
            samples: vec![1.5; 6],
            percentiles: vec![],
            median: Some(1.5),
            interval: Some((1.0, 2.0)),
            valid: Some(true),
        });
        let head = head(&benchmark, &Facts::default());
        let names = head.lines().last().unwrap();
        assert_eq!(names.split(',').count(), line.split(',').count());
        let expected = "8,MPI_CHAR,1.5000,2.0000,,,9,6,1.5000,1.0000,2.0000,,,,pass\n";
        assert_eq!(line, expected);
    }
}
