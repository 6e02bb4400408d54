// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One JSON object for the whole run, which `strait bench` reads. The format has a name and a
//! number; fields are added without changing it, and left out when there is nothing to say.
#![forbid(unsafe_code)]

use super::facts::Facts;
use super::row::Row;
use crate::benchmark::{Benchmark, Column, Family};
use crate::options::Options;
use serde::Serialize;
use serde_json::{Map, Value, json};

const FORMAT: &str = "strait-bench 1";

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    benchmark: &'a str,
    title: &'a str,
    library: &'a str,
    host: &'a str,
    cores: usize,
    ranks: usize,
    binding: &'a [String],
    environment: Map<String, Value>,
    options: Map<String, Value>,
    columns: Vec<Value>,
    rows: Vec<Value>,
}

pub fn document(benchmark: &Benchmark, options: &Options, facts: &Facts, rows: &[Row]) -> String {
    let environment =
        facts.environment.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    let several_types = options.datatypes.len() > 1;
    let document = Document {
        format: FORMAT,
        benchmark: &benchmark.program,
        title: &benchmark.title,
        library: &facts.library,
        host: &facts.host,
        cores: facts.cores,
        ranks: facts.ranks,
        binding: &facts.binding,
        environment: environment.collect(),
        options: asked(benchmark, options),
        columns: benchmark.columns.iter().map(column).collect(),
        rows: rows.iter().map(|line| row(benchmark, line, several_types)).collect(),
    };
    serde_json::to_string(&document).expect("names are text and numbers are finite or null")
}

fn asked(benchmark: &Benchmark, options: &Options) -> Map<String, Value> {
    let mut asked = Map::new();
    if benchmark.family == Family::Startup {
        return asked;
    }
    let whole = Options { stat: Some(1), ..options.clone() };
    let (iterations, warmup) = whole.rounds(benchmark.family, 1, true);
    asked.insert("iterations".into(), iterations.into());
    asked.insert("warmup".into(), warmup.into());
    if matches!(benchmark.family, Family::Bandwidth | Family::MessageRate | Family::AccessBandwidth)
    {
        asked.insert("window".into(), options.window.into());
    }
    if let [datatype] = options.datatypes[..] {
        asked.insert("datatype".into(), datatype.name().into());
    }
    asked
}

fn column(column: &Column) -> Value {
    let better = if column.more_is_better { "more" } else { "less" };
    json!({"name": column.name, "title": column.title, "unit": column.unit, "better": better})
}

fn row(benchmark: &Benchmark, row: &Row, several_types: bool) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        value.map(|value| fields.insert(name.to_string(), value));
    };
    put("size", row.size.map(Value::from));
    put("datatype", several_types.then(|| row.datatype.name().into()));
    for (column, value) in benchmark.columns.iter().zip(&row.values) {
        put(column.name, Some((*value).into()));
    }
    put("min", row.least.map(Value::from));
    put("max", row.most.map(Value::from));
    put("iterations", Some(row.iterations.into()));
    put("samples", Some(row.samples.clone().into()));
    put("median", row.median.map(Value::from));
    let (low, high) = row.interval.unzip();
    put("ci_low", low.map(Value::from));
    put("ci_high", high.map(Value::from));
    for (percent, value) in &row.percentiles {
        put(&format!("p{percent}"), Some((*value).into()));
    }
    put("validation", row.valid.map(|valid| if valid { "pass" } else { "fail" }.into()));
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::all;
    use crate::datatype::Type;

    #[test]
    fn the_object_is_what_was_agreed() {
        let benchmark = all().into_iter().find(|b| b.program == "osu_latency").unwrap();
        let facts = Facts {
            library: "Some MPI".into(),
            host: "here".into(),
            cores: 2,
            ranks: 2,
            binding: vec!["0".into(), "1".into()],
            environment: vec![("STRAIT_LANES".into(), "tcp".into())],
        };
        let row = Row {
            size: Some(8),
            datatype: Type::Char,
            values: vec![0.125],
            least: None,
            most: None,
            iterations: 10_000,
            samples: vec![0.125, 0.25],
            percentiles: vec![(99, 0.5)],
            median: Some(0.1875),
            interval: None,
            valid: Some(true),
        };
        let options = Options { datatypes: vec![Type::Char], ..Options::default() };
        let text = document(&benchmark, &options, &facts, &[row]);
        let read: Value = serde_json::from_str(&text).expect("it is JSON");
        let expected = json!({
            "format": "strait-bench 1", "benchmark": "osu_latency",
            "title": "OSU MPI Latency Test", "library": "Some MPI", "host": "here",
            "cores": 2, "ranks": 2, "binding": ["0", "1"],
            "environment": {"STRAIT_LANES": "tcp"},
            "options": {"iterations": 10000, "warmup": 100, "datatype": "MPI_CHAR"},
            "columns": [
                {"name": "avg", "title": "Avg Latency(us)", "unit": "us", "better": "less"}
            ],
            "rows": [{
                "size": 8, "avg": 0.125, "iterations": 10000, "samples": [0.125, 0.25],
                "median": 0.1875, "p99": 0.5, "validation": "pass"
            }]
        });
        assert_eq!(read, expected);
    }
}
