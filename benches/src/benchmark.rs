// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a benchmark is: names, titles, defaults, and the function that measures one case.
#![forbid(unsafe_code)]

use crate::datatype::Type;
use crate::mpi::World;
use crate::options::Options;

/// Above this many bytes a message counts as large and is repeated less often.
pub const LARGE: usize = 8192;

/// Programs that share their options and their shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    Latency,
    Bandwidth,
    MessageRate,
    Threads,
    Collective,
    Immediate,
    /// One-sided, of messages of any size.
    Access,
    /// One-sided, in windows of messages.
    AccessBandwidth,
    /// One-sided, of one element.
    Atomic,
    Startup,
}

/// How often to repeat: small messages, and large ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeats {
    pub iterations: usize,
    pub warmup: usize,
    pub iterations_large: usize,
    pub warmup_large: usize,
}

impl Family {
    pub fn repeats(self) -> Repeats {
        let [iterations, warmup, iterations_large, warmup_large] = match self {
            Family::Latency | Family::Threads | Family::Access | Family::Atomic => {
                [10_000, 100, 1000, 10]
            }
            Family::Bandwidth | Family::MessageRate | Family::AccessBandwidth => [100, 10, 20, 2],
            Family::Collective | Family::Immediate => [1000, 100, 100, 10],
            Family::Startup => [1, 0, 1, 0],
        };
        Repeats { iterations, warmup, iterations_large, warmup_large }
    }

    /// The largest message if none is given.
    pub fn largest(self) -> usize {
        match self {
            Family::Collective | Family::Immediate => 1 << 20,
            Family::Atomic => 8,
            _ => 4 << 20,
        }
    }
}

/// Which numbers of ranks make sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ranks {
    Any,
    Two,
    AtLeastTwo,
    Even,
}

impl Ranks {
    /// What is wrong with this many.
    pub fn objection(self, ranks: usize) -> Option<&'static str> {
        match self {
            Ranks::Two if ranks != 2 => Some("This test requires exactly two processes"),
            Ranks::AtLeastTwo if ranks < 2 => Some("This test requires at least two processes"),
            Ranks::Even if ranks < 2 || !ranks.is_multiple_of(2) => {
                Some("This test requires an even number of processes, at least two")
            }
            _ => None,
        }
    }
}

/// When a column is part of the printed table; JSON and CSV have all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    Always,
    /// With `-f`.
    Full,
    /// With `--stat` only: the field's own tables do not have it.
    Ours,
}

/// A measured quantity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    pub name: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    pub more_is_better: bool,
    pub shown: Shown,
}

impl Column {
    pub const fn less(name: &'static str, title: &'static str, unit: &'static str) -> Column {
        Column { name, title, unit, more_is_better: false, shown: Shown::Always }
    }

    pub const fn more(name: &'static str, title: &'static str, unit: &'static str) -> Column {
        Column { name, title, unit, more_is_better: true, shown: Shown::Always }
    }

    pub const fn only(self, shown: Shown) -> Column {
        Column { shown, ..self }
    }
}

/// The columns of what measures a time, and of what measures a bandwidth.
pub const AVERAGE: &[Column] = &[Column::less("avg", "Avg Latency(us)", "us")];
pub const LATENCY: &[Column] = &[Column::less("avg", "Latency (us)", "us")];
pub const BANDWIDTH: &[Column] = &[Column::more("bandwidth", "Bandwidth (MB/s)", "MB/s")];

/// What is to be measured now.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub size: usize,
    pub datatype: Type,
    /// Messages in flight.
    pub window: usize,
    pub iterations: usize,
    pub warmup: usize,
    pub pass: Pass,
}

/// How the clock is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pass {
    /// As little as possible: around the loop where calls follow each other.
    Plain,
    /// Around each operation, whose times are kept.
    Singles,
    /// Around each operation, whose bytes are prepared before and checked afterwards.
    Validated,
}

/// What one pass found; complete at rank 0 only, but for `valid`.
#[derive(Clone, Debug)]
pub struct Measured {
    /// One for each column of the benchmark.
    pub values: Vec<f64>,
    /// The extremes: of operations between two ranks, of the ranks' means in collectives.
    pub least: f64,
    pub most: f64,
    /// Times of single operations, in the unit of the first column, if the pass kept them.
    pub singles: Vec<f64>,
    /// Were all bytes right, at all ranks? All ranks know.
    pub valid: bool,
}

/// One program.
pub struct Benchmark {
    pub program: String,
    pub title: String,
    pub family: Family,
    pub ranks: Ranks,
    pub columns: &'static [Column],
    /// Has it messages of some size?
    pub sized: bool,
    /// Does it sum? Then its elements are numbers.
    pub reduces: bool,
    /// How many times the size each rank holds of buffers, for the memory limit.
    pub footprint: fn(ranks: usize) -> usize,
    /// The fewest bytes that this many ranks can share out.
    pub smallest: fn(ranks: usize, datatype: Type) -> usize,
    /// Comment lines before and after the title.
    pub notes: fn(&Options, ranks: usize) -> [String; 2],
    /// What is printed instead of a table by those that have none.
    pub line: Option<fn(ranks: usize, &Measured) -> String>,
    pub measure: fn(&World, &Options, &Case) -> Measured,
}

impl Benchmark {
    /// One whose messages are those of the two ranks of each pair.
    pub fn new(
        program: impl Into<String>,
        title: impl Into<String>,
        family: Family,
        measure: fn(&World, &Options, &Case) -> Measured,
    ) -> Benchmark {
        let columns = match family {
            Family::Bandwidth | Family::MessageRate | Family::AccessBandwidth => BANDWIDTH,
            Family::Access | Family::Atomic => LATENCY,
            _ => AVERAGE,
        };
        Benchmark {
            program: program.into(),
            title: title.into(),
            family,
            ranks: Ranks::Two,
            columns,
            sized: true,
            reduces: false,
            footprint: |_| 1,
            smallest: |_, datatype| datatype.size(),
            notes: |_, _| [String::new(), String::new()],
            line: None,
            measure,
        }
    }

    /// Are its requests made once and started many times?
    pub fn is_persistent(&self) -> bool {
        self.program.ends_with("_persistent")
    }
}

/// Every benchmark, by name.
pub fn all() -> Vec<Benchmark> {
    let mut all = crate::point_to_point::all();
    all.extend(crate::collective::all());
    all.extend(crate::one_sided::all());
    all.extend(crate::startup::all());
    all
}
