// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The printed table: its head, its rows, in the widths that scripts know. And the way in: what
//! both programs do before and after they measure.
#![forbid(unsafe_code)]

use crate::mpi::World;
use crate::options::{Ask, Options, Repeats, help, parse};
use std::process::ExitCode;

/// The suite version whose conventions the output follows.
const VERSION: &str = "7.4";

/// One benchmark: how it is called, and how it measures one size.
pub struct Benchmark {
    pub program: &'static str,
    pub title: &'static str,
    pub column: &'static str,
    pub repeats: Repeats,
    pub measure: fn(&mut World, &Options, usize) -> Measured,
}

/// The result for one size: the mean, the extremes, and whether the bytes were right.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub mean: f64,
    pub least: f64,
    pub most: f64,
    pub iterations: usize,
    pub valid: bool,
}

/// Runs the whole program.
pub fn main(benchmark: &Benchmark) -> ExitCode {
    let ask = parse(std::env::args().skip(1), benchmark.repeats);
    let mut world = World::start();
    let first = world.rank == 0;
    let code = match ask {
        Ok(Ask::Run(_)) if world.size != 2 => {
            if first {
                eprintln!("{} needs exactly 2 ranks, not {}", benchmark.program, world.size);
            }
            1
        }
        Ok(Ask::Run(options)) => run(benchmark, &mut world, &options),
        Ok(Ask::Help) => say(first, &help(benchmark.program)),
        Ok(Ask::Version) => say(first, &format!("{} v{VERSION} conventions", benchmark.program)),
        Err(text) => {
            if first {
                eprintln!("{}: {text}\n{}", benchmark.program, help(benchmark.program));
            }
            1
        }
    };
    world.finish();
    ExitCode::from(code)
}

fn say(first: bool, text: &str) -> u8 {
    if first {
        println!("{text}");
    }
    0
}

fn run(benchmark: &Benchmark, world: &mut World, options: &Options) -> u8 {
    let first = world.rank == 0;
    if first {
        print!("{}", head(benchmark, options));
    }
    for size in options.sizes() {
        world.barrier();
        let measured = (benchmark.measure)(world, options, size);
        if first {
            println!("{}", row(size, &measured, options));
        }
        if !measured.valid {
            if first {
                eprintln!(
                    "DATA VALIDATION ERROR: {} exited with status 1 on message size {size}.",
                    benchmark.program
                );
            }
            return 1;
        }
    }
    0
}

fn head(benchmark: &Benchmark, options: &Options) -> String {
    let mut text = format!("# {} v{VERSION}\n# Datatype: MPI_CHAR.\n", benchmark.title);
    let unit = benchmark.column.split_once('(').map_or("", |(_, unit)| unit);
    text.push_str(&format!("{:<10}{:>20}", "# Size", benchmark.column));
    if options.full {
        let kind = benchmark.column.trim_start_matches("Avg ");
        let kind = kind.split('(').next().unwrap_or(kind).trim();
        for word in ["Min", "Max"] {
            text.push_str(&format!("{:>20}", format!("{word} {kind}({unit}")));
        }
        text.push_str(&format!("{:>20}", "Iterations"));
    }
    if options.validate {
        text.push_str(&format!("{:>20}", "Validation"));
    }
    text.push('\n');
    text
}

fn row(size: usize, measured: &Measured, options: &Options) -> String {
    let mut text = format!("{size:<10}{:>20.2}", measured.mean);
    if options.full {
        let Measured { least, most, iterations, .. } = measured;
        text.push_str(&format!("{least:>20.2}{most:>20.2}{iterations:>20}"));
    }
    if options.validate {
        text.push_str(&format!("{:>20}", if measured.valid { "Pass" } else { "Fail" }));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Options {
        match parse(line.split_whitespace().map(str::to_string), Repeats::LATENCY) {
            Ok(Ask::Run(options)) => options,
            other => panic!("{other:?}"),
        }
    }

    const LATENCY: Benchmark = crate::latency::LATENCY;
    const GOOD: Measured =
        Measured { mean: 1.234, least: 1.0, most: 2.0, iterations: 9, valid: true };

    #[test]
    fn the_plain_table_has_two_columns() {
        let text = head(&LATENCY, &asked(""));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "# OSU MPI Latency Test v7.4");
        assert_eq!(lines[1], "# Datatype: MPI_CHAR.");
        assert_eq!(lines[2], "# Size         Avg Latency(us)");
        assert_eq!(row(8, &GOOD, &asked("")), "8                         1.23");
    }

    #[test]
    fn more_columns_on_request() {
        let text = head(&LATENCY, &asked("-f -c"));
        assert!(text.contains("Min Latency(us)") && text.trim_end().ends_with("Validation"));
        assert!(row(8, &GOOD, &asked("-f -c")).ends_with("Pass"));
        let bad = Measured { valid: false, ..GOOD };
        assert!(row(8, &bad, &asked("-c")).ends_with("Fail"));
    }
}
