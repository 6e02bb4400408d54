// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The printed table: titles, columns and widths as the OSU micro-benchmarks print them, so that
//! scripts which read those read these. Every line that is not a result begins with `#` or is
//! empty.
#![forbid(unsafe_code)]

use super::facts::Facts;
use super::row::Row;
use crate::benchmark::{Benchmark, Column, Family, Shown};
use crate::datatype::Type;
use crate::options::Options;

/// The suite version whose conventions the output follows.
pub const VERSION: &str = "7.4";

const SIZE: usize = 10;
const FIELD: usize = 18;
const ITERATIONS: usize = 12;

/// What comes before the first datatype's table.
pub fn head(benchmark: &Benchmark, options: &Options, facts: &Facts) -> String {
    let [before, after] = (benchmark.notes)(options, facts.ranks);
    let gap = match benchmark.family {
        Family::Startup | Family::MessageRate => "",
        _ => "\n",
    };
    let title = title(benchmark);
    format!("{before}{gap}{title}{}{after}", facts.lines())
}

pub fn title(benchmark: &Benchmark) -> String {
    format!("# {} v{VERSION}\n", benchmark.title)
}

/// The names of the columns, below the name of the datatype.
pub fn columns(benchmark: &Benchmark, options: &Options, datatype: Type) -> String {
    let mut text = format!("# Datatype: {}.\n", datatype.name());
    let mut fields = shown(benchmark, options).map(|column| column.title);
    if benchmark.sized {
        text.push_str(&format!("{:<SIZE$}", "# Size"));
    } else {
        text.clear();
        text.push_str(&format!("# {}", fields.next().unwrap_or_default()));
    }
    fields.for_each(|title| text.push_str(&format!("{title:>FIELD$}")));
    let unit = benchmark.columns.first().map_or("", |column| column.unit);
    let (word, tail) = if is_time(benchmark) { ("Latency", "Lat") } else { ("BW", "BW") };
    if has_extremes(benchmark, options) {
        let [least, most] = ["Min", "Max"].map(|end| format!("{end} {word}({unit})"));
        text.push_str(&format!("{least:>FIELD$}{most:>FIELD$}{:>ITERATIONS$}", "Iterations"));
    }
    if options.validate {
        text.push_str(&format!("{:>FIELD$}", "Validation"));
    }
    for percent in &options.percentiles {
        text.push_str(&format!("{:>FIELD$}", format!("P{percent} Tail {tail}({unit})")));
    }
    if options.stat.is_some() {
        for name in ["Median", "P99", "CI95 Low", "CI95 High"] {
            text.push_str(&format!("{:>FIELD$}", format!("{name}({unit})")));
        }
    }
    text.push('\n');
    text
}

/// One line of results.
pub fn row(benchmark: &Benchmark, options: &Options, row: &Row) -> String {
    let mut text = row.size.map_or(String::new(), |size| format!("{size:<SIZE$}"));
    for (index, column) in benchmark.columns.iter().enumerate() {
        if !is_shown(column, options) {
            continue;
        }
        let bare = !benchmark.sized && index == 0;
        let width = if bare { "# ".len() + column.title.len() } else { FIELD };
        text.push_str(&format!("{:>width$.2}", row.values[index]));
    }
    if has_extremes(benchmark, options) {
        [row.least, row.most].iter().for_each(|value| text.push_str(&field(*value)));
        text.push_str(&format!("{:>ITERATIONS$}", row.iterations));
    }
    if let Some(valid) = row.valid {
        text.push_str(&format!("{:>FIELD$}", if valid { "Pass" } else { "Fail" }));
    }
    for percent in &options.percentiles {
        text.push_str(&field(row.percentile(*percent)));
    }
    if options.stat.is_some() {
        let median = row.median.or(row.values.first().copied());
        let (low, high) = row.interval.unzip();
        [median, row.percentile(99), low, high].map(field).iter().for_each(|t| text.push_str(t));
    }
    text.push('\n');
    text
}

/// What a failed validation says.
pub fn failure(benchmark: &Benchmark, size: usize) -> String {
    format!(
        "DATA VALIDATION ERROR: {} exited with status 1 on message size {size}.\n",
        benchmark.program
    )
}

fn field(value: Option<f64>) -> String {
    value.map_or_else(|| format!("{:>FIELD$}", "-"), |value| format!("{value:>FIELD$.2}"))
}

fn shown<'a>(
    benchmark: &'a Benchmark,
    options: &'a Options,
) -> impl Iterator<Item = &'a Column> + 'a {
    benchmark.columns.iter().filter(|column| is_shown(column, options))
}

fn is_shown(column: &Column, options: &Options) -> bool {
    match column.shown {
        Shown::Always => column.name != "rate" || options.rate,
        Shown::Full => options.full,
        Shown::Ours => options.stat.is_some(),
    }
}

/// Non-blocking collectives have their own columns for it.
fn has_extremes(benchmark: &Benchmark, options: &Options) -> bool {
    options.full && benchmark.family != Family::Immediate
}

pub fn is_time(benchmark: &Benchmark) -> bool {
    !benchmark.columns.iter().any(|column| column.unit == "MB/s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::all;

    fn benchmark(program: &str) -> Benchmark {
        all().into_iter().find(|benchmark| benchmark.program == program).expect("it exists")
    }

    fn sample(columns: usize) -> Row {
        Row {
            size: Some(8),
            datatype: Type::Char,
            values: (0..columns).map(|i| 1.234 + i as f64).collect(),
            least: Some(1.0),
            most: Some(2.0),
            iterations: 9,
            samples: vec![1.234],
            percentiles: vec![(50, 1.5), (99, 1.99)],
            median: None,
            interval: None,
            valid: None,
        }
    }

    #[test]
    fn the_head_is_title_facts_and_columns() {
        let latency = benchmark("osu_latency");
        let facts = Facts { library: "Some MPI".into(), ranks: 2, ..Facts::default() };
        let options = Options::default();
        let text = head(&latency, &options, &facts);
        assert!(text.starts_with("\n# OSU MPI Latency Test v7.4\n# Library: Some MPI\n"), "{text}");
        let columns = columns(&latency, &options, Type::Char);
        assert_eq!(columns, "# Datatype: MPI_CHAR.\n# Size       Avg Latency(us)\n");
        let line = row(&latency, &options, &sample(1));
        assert_eq!(line, "8                       1.23\n");
    }

    #[test]
    fn more_columns_on_request() {
        let latency = benchmark("osu_latency");
        let percentiles = vec![50, 99];
        let options = Options {
            full: true,
            validate: true,
            percentiles,
            stat: Some(1),
            ..Options::default()
        };
        let text = columns(&latency, &options, Type::Char);
        let names = "Avg Latency(us) Min Latency(us) Max Latency(us) Iterations Validation \
                     P50 Tail Lat(us) P99 Tail Lat(us) Median(us) P99(us) CI95 Low(us) \
                     CI95 High(us)";
        let line = text.lines().last().unwrap();
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(line), format!("# Size {}", words(names)));
        let results = row(&latency, &options, &Row { valid: Some(false), ..sample(1) });
        assert_eq!(words(&results), "8 1.23 1.00 2.00 9 Fail 1.50 1.99 1.23 1.99 - -");
        assert_eq!(results.trim_end().len(), line.len());
    }

    #[test]
    fn message_rate_has_two_columns_or_one() {
        let rate = benchmark("osu_mbw_mr");
        let text = columns(&rate, &Options::default(), Type::Char);
        assert_eq!(text.lines().last().unwrap(), "# Size                  MB/s        Messages/s");
        let [before, after] = (rate.notes)(&Options::default(), 4);
        assert_eq!((before.as_str(), after.as_str()), ("", "# [ pairs: 2 ] [ window size: 64 ]\n"));
        let alone = Options { rate: false, ..Options::default() };
        assert!(columns(&rate, &alone, Type::Char).ends_with("MB/s\n"));
        assert_eq!(row(&rate, &alone, &sample(2)), "8                       1.23\n");
    }

    #[test]
    fn non_blocking_collectives_name_their_parts() {
        let benchmark_ = benchmark("osu_iallreduce");
        let text = columns(&benchmark_, &Options::default(), Type::Int);
        let expected = "# Datatype: MPI_INT.\n# Size           Overall(us)       Compute(us)    \
                        Pure Comm.(us)        Overlap(%)\n";
        assert_eq!(text, expected);
        let full = Options { full: true, ..Options::default() };
        let text = columns(&benchmark_, &full, Type::Int);
        for name in ["Coll. Init(us)", "MPI_Test(us)", "MPI_Wait(us)", "Min Comm.(us)"] {
            assert!(text.contains(name), "{text}");
        }
        let notes = (benchmark_.notes)(&full, 2).concat();
        assert!(notes.contains("# Overall = Coll. Init + Compute + MPI_Test + MPI_Wait\n"));
    }

    #[test]
    fn a_barrier_has_no_size() {
        let barrier = benchmark("osu_barrier");
        let options = Options::default();
        assert_eq!(columns(&barrier, &options, Type::Char), "# Avg Latency(us)\n");
        let line = row(&barrier, &options, &Row { size: None, ..sample(1) });
        assert_eq!(line, "             1.23\n");
    }

    #[test]
    fn a_failure_is_told_as_scripts_expect() {
        assert_eq!(
            failure(&benchmark("osu_bw"), 64),
            "DATA VALIDATION ERROR: osu_bw exited with status 1 on message size 64.\n"
        );
    }
}
