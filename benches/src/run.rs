// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The way in of every program: which benchmark, which options, all sizes, and an exit code.
//!
//! Rank 0 prints, and answers for all: its exit code is 1 if a byte was wrong or the command
//! line was.
#![forbid(unsafe_code)]

use crate::benchmark::{self, Benchmark, Case, Family, Measured, Pass};
use crate::datatype::Type;
use crate::mpi::{Start, World};
use crate::options::{Ask, Options, Output, Root, help, parse};
use crate::point_to_point::{WINDOWS, pairs};
use crate::report::facts::Facts;
use crate::report::row::Row;
use crate::report::{csv, json, table};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Runs the program that this process was called as.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let called = arguments.next().unwrap_or_default();
    let called = Path::new(&called).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut benchmarks = benchmark::all();
    let names = benchmarks.iter().map(|one| format!("{}\n", one.program)).collect::<String>();
    let position = |name: &str, all: &[Benchmark]| {
        all.iter().position(|one| one.program == name || one.program == format!("osu_{name}"))
    };
    let found = match position(called, &benchmarks) {
        Some(found) => found,
        None => match arguments.next().as_deref() {
            Some("--list") => {
                print(&names);
                return ExitCode::SUCCESS;
            }
            name => match name.and_then(|name| position(name, &benchmarks)) {
                Some(found) => found,
                None => {
                    eprint!("{called}: name a benchmark as the first argument:\n{names}");
                    return ExitCode::from(1);
                }
            },
        },
    };
    let benchmark = benchmarks.swap_remove(found);
    let ask = parse(arguments, &benchmark);
    match World::start(how(&benchmark, &ask)) {
        Ok(world) => {
            let code = answer(&benchmark, &world, ask);
            world.finish();
            ExitCode::from(code)
        }
        Err(why) => {
            eprintln!("{}: {why}", benchmark.program);
            ExitCode::from(1)
        }
    }
}

fn how(benchmark: &Benchmark, ask: &Result<Ask, String>) -> Start {
    match ask {
        Ok(Ask::Run(options)) if options.session => Start::Session,
        _ if benchmark.family == Family::Threads => Start::Threads,
        _ => Start::Plain,
    }
}

fn answer(benchmark: &Benchmark, world: &World, ask: Result<Ask, String>) -> u8 {
    let (text, error) = match ask {
        Ok(Ask::Run(options)) => match objection(benchmark, &options, world.size) {
            None if options.vary_window => return windows(benchmark, world, &options),
            None => return run(benchmark, world, &options),
            Some(why) => (String::new(), format!("{why}\n")),
        },
        Ok(Ask::Help) => (help(benchmark), String::new()),
        Ok(Ask::Version) => (table::title(benchmark), String::new()),
        Err(why) => (String::new(), format!("{}: {why}\n{}", benchmark.program, help(benchmark))),
    };
    if world.is_first() {
        print(&text);
        eprint!("{error}");
    }
    u8::from(!error.is_empty())
}

/// Why this cannot be run with so many ranks.
fn objection(benchmark: &Benchmark, options: &Options, ranks: usize) -> Option<String> {
    if let Some(why) = benchmark.ranks.objection(ranks) {
        return Some(why.to_string());
    }
    let pairs = pairs(options, ranks);
    if options.pairs.is_some() && (pairs == 0 || 2 * pairs > ranks) {
        return Some(format!("-p {pairs}: {ranks} processes make 1 to {} pairs", ranks / 2));
    }
    match options.root {
        Root::Fixed(root) if root >= ranks => {
            Some("Root rank('-k') cannot be more than number of processes".into())
        }
        Root::Rotating if benchmark.is_persistent() => {
            Some("-k rotate: a persistent request has one root".into())
        }
        _ => None,
    }
}

/// All datatypes and sizes.
fn run(benchmark: &Benchmark, world: &World, options: &Options) -> u8 {
    let facts = Facts::gather(world);
    let first = world.is_first();
    if first {
        match options.output {
            Output::Table => print(&table::head(benchmark, options, &facts)),
            Output::Csv => print(&csv::head(benchmark, &facts)),
            Output::Json => {}
        }
    }
    let mut rows = Vec::new();
    let mut failed = None;
    'all: for datatype in options.datatypes.iter().copied() {
        if first && options.output == Output::Table && benchmark.line.is_none() {
            print(&table::columns(benchmark, options, datatype));
        }
        for size in options.sizes(benchmark, world.size, datatype) {
            let (row, last) = case(benchmark, world, options, datatype, size);
            if first {
                tell(benchmark, options, &row, &last, world.size);
            }
            let valid = row.valid != Some(false);
            rows.push(row);
            if !valid {
                failed = Some(size);
                break 'all;
            }
        }
    }
    if !first {
        return 0;
    }
    if options.output == Output::Json {
        print(&(json::document(benchmark, options, &facts, &rows) + "\n"));
    }
    failed.map_or(0, |size| {
        let text = table::failure(benchmark, size);
        // The table's readers look for it there; JSON and CSV stay what they are.
        if options.output == Output::Table {
            print(&text)
        } else {
            eprint!("{text}")
        }
        1
    })
}

/// The passes over one case, and the last of them.
fn case(
    benchmark: &Benchmark,
    world: &World,
    options: &Options,
    datatype: Type,
    size: usize,
) -> (Row, Measured) {
    let pass = if options.validate { Pass::Validated } else { Pass::Plain };
    let mut iterations = 0;
    let one = |pass: Pass, first: bool| {
        let (iterations, warmup) = options.rounds(benchmark.family, size, first);
        let window = options.window;
        let case = Case { size, datatype, window, iterations, warmup, pass };
        world.barrier();
        (iterations, (benchmark.measure)(world, options, &case))
    };
    let mut passes = Vec::new();
    for sample in 0..options.samples() {
        // What starts once is measured once.
        if sample > 0 && benchmark.family == Family::Startup {
            break;
        }
        let (count, measured) = one(pass, sample == 0);
        iterations += count;
        passes.push(measured);
        if passes.last().is_some_and(|pass| !pass.valid) {
            break;
        }
    }
    let between_two = !matches!(benchmark.family, Family::Collective | Family::Immediate);
    let wanted =
        !options.percentiles.is_empty() || options.stat.is_some() || (options.full && between_two);
    let singles =
        (wanted && benchmark.family != Family::Startup).then(|| one(Pass::Singles, true).1);
    let row = Row::new(benchmark, options, (size, datatype), iterations, &passes, singles.as_ref());
    (row, passes.swap_remove(0))
}

fn tell(benchmark: &Benchmark, options: &Options, row: &Row, measured: &Measured, ranks: usize) {
    match (options.output, benchmark.line) {
        (Output::Json, _) => {}
        (Output::Csv, _) => print(&csv::row(row)),
        (Output::Table, Some(line)) => print(&line(ranks, measured)),
        (Output::Table, None) => print(&table::row(benchmark, options, row)),
    }
}

/// `osu_mbw_mr -V`: every window, in a table of bandwidths and one of rates.
fn windows(benchmark: &Benchmark, world: &World, options: &Options) -> u8 {
    let facts = Facts::gather(world);
    let first = world.is_first();
    let names: String = WINDOWS.iter().map(|window| format!("  {window:>10}")).collect();
    let names = format!("#      {names}\n");
    if first {
        print(&table::head(benchmark, options, &facts));
        print("\n# Uni-directional Bandwidth (MB/sec)\n");
    }
    for datatype in options.datatypes.iter().copied() {
        let mut rates = String::new();
        if first {
            print(&format!("# Datatype: {}.\n{names}", datatype.name()));
        }
        for size in options.sizes(benchmark, world.size, datatype) {
            let mut line = format!("{size:<7}");
            rates.push_str(&line);
            for window in WINDOWS {
                let options = Options { window, ..options.clone() };
                let (row, _) = case(benchmark, world, &options, datatype, size);
                line.push_str(&format!("  {:>10.2}", row.values[0]));
                rates.push_str(&format!("  {:>10.2}", row.values[1]));
                if row.valid == Some(false) {
                    if first {
                        print(&(line + "\n" + &table::failure(benchmark, size)));
                    }
                    return u8::from(first);
                }
            }
            rates.push('\n');
            if first {
                print(&(line + "\n"));
            }
        }
        if first && options.rate {
            print(&format!("\n# Message Rate Profile\n{names}{rates}"));
        }
    }
    0
}

/// Prints at once: whoever reads along sees each row when it is there. A reader that has gone
/// away is no reason to fail.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
