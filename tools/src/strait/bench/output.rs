// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a benchmark program prints: one JSON object ("strait-bench 1"), or the text table that the
//! OSU micro-benchmarks print, into one type.
//!
//! A field that is absent stays absent: nothing is filled in that the program did not say.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The format of the programs' JSON that is understood.
pub const FORMAT: &str = "strait-bench 1";

/// Which way a column improves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Less,
    More,
}

/// A measured quantity.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Column {
    /// The key in each row.
    pub name: String,
    /// What people read.
    pub title: String,
    pub unit: String,
    pub better: Better,
}

impl Column {
    /// The time of a call.
    pub fn time() -> Column {
        Column {
            name: "time".into(),
            title: "time (us)".into(),
            unit: "us".into(),
            better: Better::Less,
        }
    }
}

/// The figures of one message size.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// Bytes; 0 also where a benchmark has no sizes.
    #[serde(default)]
    pub size: u64,
    /// Everything else, under the names of the program.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl Row {
    /// The value of a column, if it is a number.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.fields.get(name)?.as_f64().filter(|value| value.is_finite())
    }

    /// Whether the program looked at the bytes and found wrong ones.
    pub fn is_invalid(&self) -> bool {
        let verdict = self.fields.get("validation").and_then(Value::as_str);
        verdict.is_some_and(|verdict| verdict.eq_ignore_ascii_case("fail"))
    }
}

/// What one run of one program said.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    #[serde(default)]
    pub benchmark: String,
    #[serde(default)]
    pub title: String,
    /// First line of MPI_Get_library_version; the text tables do not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranks: Option<u32>,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    /// Host, cores, binding, environment, options: kept as they came.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl Report {
    /// Of a program that only starts and ends: how long its command took.
    pub fn of_wall_time(benchmark: &str, seconds: f64) -> Report {
        let mut row = Row::default();
        row.fields.insert("wall".into(), (seconds * 1e3).into());
        let [name, title, unit] = ["wall", "Wall time(ms)", "ms"].map(str::to_owned);
        Report {
            benchmark: benchmark.to_owned(),
            title: "From the command to its end".into(),
            columns: vec![Column { name, title, unit, better: Better::Less }],
            rows: vec![row],
            ..Report::default()
        }
    }

    /// A size that has several rows, which would be taken for several runs.
    fn repeated_size(&self) -> Option<u64> {
        let mut sizes: Vec<u64> = self.rows.iter().map(|row| row.size).collect();
        sizes.sort_unstable();
        sizes.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    }
}

/// Reads either form.
///
/// # Errors
/// Neither a table nor JSON of the known format, or one without rows.
pub fn read(text: &str) -> Result<Report, String> {
    let report = match json_part(text) {
        Some(json) => from_json(json)?,
        None => from_table(text)?,
    };
    if report.rows.is_empty() || report.columns.is_empty() {
        return Err("the program printed no figures".into());
    }
    if let Some(size) = report.repeated_size() {
        return Err(format!(
            "size {size} has several rows: measure one datatype or mode at a time"
        ));
    }
    match report.rows.iter().find(|row| row.is_invalid()) {
        Some(row) => Err(format!("wrong bytes arrived at size {} (validation failed)", row.size)),
        None => Ok(report),
    }
}

/// From the first line that begins with a brace: a launcher may have warned above it.
fn json_part(text: &str) -> Option<&str> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with('{') {
            return Some(&text[at..]);
        }
        at += line.len();
    }
    None
}

fn from_json(text: &str) -> Result<Report, String> {
    // The first value only: what a launcher says after it is not ours.
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Map<String, Value>>();
    let object = match values.next() {
        Some(Ok(object)) => object,
        Some(Err(error)) => return Err(format!("its JSON is damaged: {error}")),
        None => return Err("its JSON is empty".into()),
    };
    let format = object.get("format").and_then(Value::as_str).unwrap_or("none");
    if format != FORMAT {
        return Err(format!("its JSON has the format '{format}', understood is '{FORMAT}'"));
    }
    serde_json::from_value(Value::Object(object))
        .map_err(|error| format!("its JSON lacks something: {error}"))
}

fn from_table(text: &str) -> Result<Report, String> {
    let mut report = Report::default();
    let mut titles: Vec<String> = Vec::new();
    let mut sized = false;
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix('#') {
            let words = cells(comment);
            if report.title.is_empty() && comment.contains(" Test") {
                report.title = comment.trim().to_owned();
            } else if words.len() > 1 || is_quantity(comment) {
                sized = words.first().is_some_and(|word| word == "Size");
                titles = words.into_iter().skip(usize::from(sized)).collect();
            }
        } else if let Some(row) = table_row(line, &titles, sized) {
            report.rows.push(row);
        }
    }
    if report.rows.is_empty() {
        return Err("it printed neither JSON nor a table".into());
    }
    report.columns = titles.iter().filter(|title| !is_note(title)).map(|t| column(t)).collect();
    Ok(report)
}

/// Cells are apart by two blanks or more; one blank may be inside a title.
fn cells(line: &str) -> Vec<String> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
}

fn is_quantity(comment: &str) -> bool {
    comment.contains("(us)") || comment.contains("/s")
}

fn table_row(line: &str, titles: &[String], sized: bool) -> Option<Row> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    if titles.is_empty() || words.len() != titles.len() + usize::from(sized) {
        return None;
    }
    let mut row = Row::default();
    if sized {
        row.size = words[0].parse().ok()?;
    }
    for (title, word) in titles.iter().zip(&words[usize::from(sized)..]) {
        let value = match word.parse::<f64>() {
            Ok(number) => Value::from(number),
            Err(_) if is_note(title) => Value::from(word.to_lowercase()),
            Err(_) => return None,
        };
        row.fields.insert(key(title), value);
    }
    Some(row)
}

/// Cells that accompany the figures and are compared with nothing.
fn is_note(title: &str) -> bool {
    ["min", "max", "iterations", "validation"].contains(&key(title).as_str())
}

/// The name that the JSON form gives the column of this title.
fn key(title: &str) -> String {
    let lower = title.to_lowercase();
    let first = lower.split([' ', '(']).next().unwrap_or_default();
    match first {
        "latency" => "avg".into(),
        "mb/s" => "bandwidth".into(),
        "messages/s" => "rate".into(),
        "pure" => "pure".into(),
        other => other.trim_end_matches(['.', ':']).to_owned(),
    }
}

fn column(title: &str) -> Column {
    let inside = title.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let unit = inside.map_or(title, |(unit, _)| unit).trim().to_owned();
    let more = unit.ends_with("/s") || unit == "%";
    let better = if more { Better::More } else { Better::Less };
    Column { name: key(title), title: title.to_owned(), unit, better }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: &str = "\
# OSU MPI Latency Test v7.4
# Datatype: MPI_CHAR.
# Size         Avg Latency(us)    Min Latency(us)    Max Latency(us)    Iterations    Validation
1                         0.19               0.10               3.00         10000          Pass
4194304                 700.25             650.00             800.00          1000          Pass
";

    #[test]
    fn a_full_table_is_read() {
        let report = read(LATENCY).unwrap();
        assert_eq!(report.title, "OSU MPI Latency Test v7.4");
        let names: Vec<&str> = report.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["avg"]);
        assert_eq!(
            (report.columns[0].unit.as_str(), report.columns[0].better),
            ("us", Better::Less)
        );
        assert_eq!(report.rows.len(), 2);
        assert_eq!(report.rows[1].size, 4_194_304);
        assert_eq!(report.rows[1].value("avg"), Some(700.25));
        assert_eq!(report.rows[0].value("max"), Some(3.0));
        assert_eq!(report.library, None);
    }

    #[test]
    fn tables_of_other_shapes() {
        let bandwidth = "# OSU MPI Bandwidth Test v7.4\n# Datatype: MPI_CHAR.\n\
             # Size        Bandwidth (MB/s)\n8               75.25\n";
        let report = read(bandwidth).unwrap();
        let Column { name, unit, better, .. } = &report.columns[0];
        assert_eq!((name.as_str(), unit.as_str(), *better), ("bandwidth", "MB/s", Better::More));
        let rate = "# OSU MPI Multiple Bandwidth / Message Rate Test v7.4\n\
             # [ pairs: 1 ] [ window size: 64 ]\n\
             # Size                  MB/s        Messages/s\n1    5.96     5961234.50\n";
        let report = read(rate).unwrap();
        assert_eq!(report.rows[0].value("bandwidth"), Some(5.96));
        assert_eq!(report.rows[0].value("rate"), Some(5_961_234.5));
        let barrier = "# OSU MPI Barrier Latency Test v7.4\n# Avg Latency(us)\n       0.42\n";
        let report = read(barrier).unwrap();
        assert_eq!((report.rows[0].size, report.rows[0].value("avg")), (0, Some(0.42)));
        let overlap = "# OSU MPI Non-blocking Broadcast Latency Test v7.4\n\
             # Overall = Coll. Init + Compute + MPI_Test + MPI_Wait\n\n\
             # Size           Overall(us)       Compute(us)    Pure Comm.(us)        Overlap(%)\n\
             1       3.1     2.2    1.1     20.0\n";
        let report = read(overlap).unwrap();
        assert_eq!(report.rows[0].value("pure"), Some(1.1));
        assert_eq!(report.columns[3].better, Better::More);
    }

    #[test]
    fn json_is_read_with_what_stands_around_it() {
        let text = r#"a warning of the launcher
{"format":"strait-bench 1","benchmark":"osu_latency","title":"T","library":"X 1","ranks":2,
 "host":"h","columns":[{"name":"avg","title":"Avg Latency(us)","unit":"us","better":"less"}],
 "rows":[{"size":8,"avg":0.12,"samples":[0.12,0.13],"validation":"pass"}]}
a word after it
"#;
        let report = read(text).unwrap();
        assert_eq!(report.library.as_deref(), Some("X 1"));
        assert_eq!(report.rows[0].value("avg"), Some(0.12));
        assert_eq!(report.others["host"], "h");
        let again = serde_json::to_value(&report).unwrap();
        assert_eq!(again["rows"][0]["samples"][1], 0.13);
    }

    #[test]
    fn what_is_not_a_result_is_refused_with_a_reason() {
        let fails = |text: &str| read(text).unwrap_err();
        assert!(fails("").contains("neither"));
        assert!(
            fails("# OSU MPI Latency Test v7.4\n# Size     Avg Latency(us)\n").contains("neither")
        );
        assert!(fails("{\"format\":\"other 2\"}").contains("other 2"));
        assert!(fails("{\"format\":\"strait-bench 1\",\"columns\":[").contains("damaged"));
        assert!(fails("{\"format\":\"strait-bench 1\",\"columns\":[],\"rows\":[]}").contains("no"));
        let twice = LATENCY.replace("4194304", "1      ");
        assert!(fails(&twice).contains("size 1 has several rows"), "{}", fails(&twice));
        let wrong = LATENCY.replacen("Pass", "Fail", 1);
        assert!(fails(&wrong).contains("size 1 "), "{}", fails(&wrong));
    }
}
