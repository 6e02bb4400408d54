// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line: the option letters of the OSU micro-benchmarks, with their defaults, and
//! the few long options of ours. One table says everything: what is accepted by which family,
//! what it sets, what `-h` prints, and which letters are known but not built.
#![forbid(unsafe_code)]

use crate::benchmark::{Benchmark, Family, LARGE};
use crate::datatype::Type;

/// Repeats of the whole measurement for `--stat` without a number, and samples for JSON.
const SAMPLES: usize = 10;

/// What was asked for; what was not given is left to the benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub smallest: Option<usize>,
    pub largest: Option<usize>,
    pub iterations: Option<usize>,
    pub warmup: Option<usize>,
    pub window: usize,
    pub vary_window: bool,
    pub pairs: Option<usize>,
    pub rate: bool,
    pub many_buffers: bool,
    pub validate: bool,
    /// Untimed turns before each validated one.
    pub validate_warmup: usize,
    pub full: bool,
    /// Calls of MPI_Test during the computation.
    pub tests: usize,
    pub threads: (usize, usize),
    pub memory: usize,
    pub datatypes: Vec<Type>,
    pub root: Root,
    pub in_place: bool,
    pub session: bool,
    /// How accesses are completed; not given: as is usual for the benchmark.
    pub sync: Option<Sync>,
    /// How windows are made.
    pub memory_of: Created,
    pub percentiles: Vec<u32>,
    pub output: Output,
    /// Repeats of the whole measurement.
    pub stat: Option<usize>,
}

/// Which rank is the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Root {
    Fixed(usize),
    /// Another one in each iteration.
    Rotating,
}

/// How one-sided accesses are completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sync {
    Lock,
    Flush,
    FlushLocal,
    LockAll,
    /// Post, start, complete, wait.
    Pscw,
    Fence,
}

impl Sync {
    const ALL: [(&'static str, Sync); 6] = [
        ("lock", Sync::Lock),
        ("flush", Sync::Flush),
        ("flush_local", Sync::FlushLocal),
        ("lock_all", Sync::LockAll),
        ("pscw", Sync::Pscw),
        ("fence", Sync::Fence),
    ];

    /// The call that the printed head names.
    pub fn call(self) -> &'static str {
        match self {
            Sync::Lock => "MPI_Win_lock/unlock",
            Sync::Flush => "MPI_Win_flush",
            Sync::FlushLocal => "MPI_Win_flush_local",
            Sync::LockAll => "MPI_Win_lock_all/unlock_all",
            Sync::Pscw => "MPI_Win_post/start/complete/wait",
            Sync::Fence => "MPI_Win_fence",
        }
    }
}

/// How a window is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Created {
    Create,
    Allocate,
    Dynamic,
}

impl Created {
    const ALL: [(&'static str, Created); 3] = [
        ("create", Created::Create),
        ("allocate", Created::Allocate),
        ("dynamic", Created::Dynamic),
    ];

    pub fn call(self) -> &'static str {
        match self {
            Created::Create => "MPI_Win_create",
            Created::Allocate => "MPI_Win_allocate",
            Created::Dynamic => "MPI_Win_create_dynamic",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    Table,
    Json,
    Csv,
}

/// What to do after reading the command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    Run(Box<Options>),
    Help,
    Version,
}

enum Takes {
    None,
    Optional(&'static str),
    Required(&'static str),
}

struct Entry {
    letter: Option<char>,
    long: &'static str,
    value: Takes,
    families: &'static [Family],
    text: &'static str,
    set: fn(&mut Options, &str) -> Result<(), String>,
}

const MESSAGES: &[Family] = &[
    Family::Latency,
    Family::Bandwidth,
    Family::MessageRate,
    Family::Threads,
    Family::Collective,
    Family::Immediate,
    Family::Access,
    Family::AccessBandwidth,
    Family::Atomic,
];
const ALL: &[Family] = &[
    Family::Latency,
    Family::Bandwidth,
    Family::MessageRate,
    Family::Threads,
    Family::Collective,
    Family::Immediate,
    Family::Access,
    Family::AccessBandwidth,
    Family::Atomic,
    Family::Startup,
];
const SESSIONS: &[Family] = &[
    Family::Latency,
    Family::Bandwidth,
    Family::MessageRate,
    Family::Collective,
    Family::Immediate,
    Family::Startup,
];
const WINDOWS: &[Family] = &[Family::Bandwidth, Family::MessageRate, Family::AccessBandwidth];
const ACCESSES: &[Family] = &[Family::Access, Family::AccessBandwidth, Family::Atomic];
/// Those whose size can be chosen, and the type of their elements.
const SIZED: &[Family] = &[
    Family::Latency,
    Family::Bandwidth,
    Family::MessageRate,
    Family::Threads,
    Family::Collective,
    Family::Immediate,
    Family::Access,
    Family::AccessBandwidth,
];
const BUFFERS: &[Family] = &[Family::Latency, Family::Bandwidth, Family::MessageRate];
const RATES: &[Family] = &[Family::MessageRate];
const COLLECTIVES: &[Family] = &[Family::Collective, Family::Immediate];
const TESTED: &[Family] = &[Family::Threads, Family::Immediate];

/// An entry of the table, in one line each.
const fn entry(
    letter: char,
    long: &'static str,
    value: Takes,
    families: &'static [Family],
    text: &'static str,
    set: fn(&mut Options, &str) -> Result<(), String>,
) -> Entry {
    Entry { letter: Some(letter), long, value, families, text, set }
}

/// A letter that is known, and refused by name.
const fn absent(letter: char, long: &'static str, text: &'static str) -> Entry {
    let set = |_: &mut Options, _: &str| Err(String::new());
    Entry { letter: Some(letter), long, value: Takes::Optional(""), families: &[], text, set }
}

use Takes::{None as Alone, Optional, Required};

const TABLE: &[Entry] = &[
    entry('m', "message-size", Required("[MIN:]MAX"), SIZED, "message sizes in bytes", sizes),
    entry('i', "iterations", Required("N"), MESSAGES, "iterations for each size", |o, v| {
        number(v).map(|n| o.iterations = Some(n.max(1)))
    }),
    entry('x', "warmup", Required("N"), MESSAGES, "iterations before, not timed", |o, v| {
        number(v).map(|n| o.warmup = Some(n))
    }),
    entry('f', "full", Alone, MESSAGES, "more columns: minimum, maximum, iterations", |o, _| {
        o.full = true;
        Ok(())
    }),
    entry('c', "validation", Optional(""), MESSAGES, "check every byte that comes", |o, v| {
        o.validate = true;
        if v.is_empty() { Ok(()) } else { Err("logs of validation are not built".into()) }
    }),
    entry('u', "validation-warmup", Required("N"), MESSAGES, "with -c: before each (5)", |o, v| {
        number(v).map(|n| o.validate_warmup = n)
    }),
    entry('T', "type", Required("TYPE"), SIZED, "mpi_char, mpi_int, mpi_float, all", types),
    entry('z', "tail-lat", Optional("P,..."), MESSAGES, "percentiles (50,90,99)", percentiles),
    entry('W', "window-size", Required("N"), WINDOWS, "messages in flight (64)", |o, v| {
        number(v).map(|n| o.window = n.max(1))
    }),
    entry('b', "buffer-num", Required("KIND"), BUFFERS, "single or multiple buffers", buffers),
    entry('V', "vary-window", Alone, RATES, "windows of 1 to 128 messages in turn", |o, _| {
        o.vary_window = true;
        Ok(())
    }),
    entry('p', "num-pairs", Required("N"), RATES, "pairs (half of the ranks)", |o, v| {
        number(v).map(|n| o.pairs = Some(n))
    }),
    entry('R', "print-rate", Required("0|1"), RATES, "print messages a second (1)", |o, v| {
        number(v).map(|n| o.rate = n != 0)
    }),
    entry('t', "num-test-calls", Required("N"), TESTED, "MPI_Test calls; threads", tests),
    entry(
        'M',
        "mem-limit",
        Required("BYTES"),
        COLLECTIVES,
        "memory of a rank (512 MiB)",
        |o, v| number(v).map(|n| o.memory = n),
    ),
    entry('k', "root-rank", Required("ROOT"), COLLECTIVES, "fixed:RANK, RANK or rotate", root),
    entry('l', "in-place", Alone, COLLECTIVES, "MPI_IN_PLACE where there is a choice", |o, _| {
        o.in_place = true;
        Ok(())
    }),
    entry('w', "win-options", Required("KIND"), ACCESSES, "create, allocate, dynamic", created),
    entry('s', "sync-option", Required("KIND"), ACCESSES, "lock, flush, flush_local, ...", sync),
    entry('I', "session", Alone, SESSIONS, "start by a session, not by MPI_Init", |o, _| {
        o.session = true;
        Ok(())
    }),
    Entry { letter: None, ..entry(' ', "json", Alone, ALL, "one JSON object, no table", json) },
    Entry { letter: None, ..entry(' ', "csv", Alone, ALL, "comma-separated, no table", csv) },
    Entry {
        letter: None,
        ..entry(' ', "stat", Optional("N"), MESSAGES, "N repeats (10): median, p99, interval", stat)
    },
    absent('D', "ddt", "derived datatypes"),
    absent('G', "graph", "graphs (see `strait bench`)"),
    absent('P', "papi", "PAPI counters"),
    absent('N', "nhbr", "neighbourhoods"),
    absent('d', "accelerator", "device memory"),
    absent('r', "cuda-target", "device memory"),
    absent('a', "array-size", "device memory"),
];

impl Default for Options {
    fn default() -> Options {
        Options {
            smallest: None,
            largest: None,
            iterations: None,
            warmup: None,
            window: 64,
            vary_window: false,
            pairs: None,
            rate: true,
            many_buffers: false,
            validate: false,
            validate_warmup: 5,
            full: false,
            tests: 0,
            threads: (1, 2),
            memory: 512 << 20,
            datatypes: Vec::new(),
            root: Root::Fixed(0),
            in_place: false,
            session: false,
            sync: None,
            memory_of: Created::Allocate,
            percentiles: Vec::new(),
            output: Output::Table,
            stat: None,
        }
    }
}

/// Reads the arguments that follow the program's name.
pub fn parse<I>(args: I, benchmark: &Benchmark) -> Result<Ask, String>
where
    I: IntoIterator<Item = String>,
{
    use lexopt::prelude::*;
    let mut options = Options::default();
    let mut words = lexopt::Parser::from_args(args);
    while let Some(word) = words.next().map_err(|e| e.to_string())? {
        let (entry, name) = match word {
            Short('h') | Long("help") => return Ok(Ask::Help),
            Short('v') | Long("version") => return Ok(Ask::Version),
            Short(letter) => (find(|e| e.letter == Some(letter)), format!("-{letter}")),
            Long(long) => (find(|e| e.long == long), format!("--{long}")),
            // Host memory on both sides is what there is; the words are accepted.
            lexopt::Arg::Value(place) if place == "H" => continue,
            lexopt::Arg::Value(place) => {
                let place = place.to_string_lossy().into_owned();
                return Err(format!("'{place}' is not an option; buffers are in host memory (H)"));
            }
        };
        let entry =
            entry.ok_or_else(|| format!("{name} is not an option of {}", program(benchmark)))?;
        if entry.families.is_empty() {
            return Err(format!("{name}: {} are not built", entry.text));
        }
        if !entry.families.contains(&benchmark.family) {
            return Err(format!("{name} is not an option of {}", program(benchmark)));
        }
        let value = match entry.value {
            Takes::None => None,
            Takes::Optional(_) => words.optional_value(),
            Takes::Required(_) => Some(words.value().map_err(|e| e.to_string())?),
        };
        let value = value.unwrap_or_default().to_string_lossy().into_owned();
        (entry.set)(&mut options, &value).map_err(|why| format!("{name} {value}: {why}"))?;
    }
    agree(options, benchmark)
}

fn program(benchmark: &Benchmark) -> &str {
    &benchmark.program
}

fn find(wanted: impl Fn(&Entry) -> bool) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| wanted(entry))
}

/// What several options together mean, or must not mean.
fn agree(mut options: Options, benchmark: &Benchmark) -> Result<Ask, String> {
    if options.datatypes.is_empty() {
        options.datatypes.push(if benchmark.reduces { Type::Int } else { Type::Char });
    }
    if benchmark.reduces && options.datatypes.len() == Type::ALL.len() {
        options.datatypes.retain(|datatype| *datatype != Type::Char);
    }
    if benchmark.reduces && options.datatypes.contains(&Type::Char) {
        return Err("-T mpi_char: MPI defines no sum of MPI_CHAR; take mpi_int or mpi_float".into());
    }
    let (senders, receivers) = options.threads;
    if benchmark.family == Family::Threads && options.validate && senders != receivers {
        return Err("-c needs as many sender as receiver threads; see -t".into());
    }
    if options.validate && !benchmark.sized {
        return Err("-c: a barrier moves no bytes that could be checked".into());
    }
    let passive = !matches!(options.sync, None | Some(Sync::Pscw | Sync::Fence));
    if passive && benchmark.program == "osu_put_bibw" {
        return Err("-s: both sides put, so that it must be pscw or fence".into());
    }
    if options.vary_window && (options.output != Output::Table || options.stat.is_some()) {
        return Err("-V prints its own tables: not with --json, --csv or --stat".into());
    }
    Ok(Ask::Run(Box::new(options)))
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "a number is expected".to_string())
}

/// `MAX`, `MIN:MAX` or `MIN:`.
fn sizes(options: &mut Options, text: &str) -> Result<(), String> {
    let (smallest, largest) = text.split_once(':').unwrap_or(("", text));
    if !smallest.is_empty() {
        options.smallest = Some(number(smallest)?);
    }
    if !largest.is_empty() {
        options.largest = Some(number(largest)?);
    }
    if options.smallest.zip(options.largest).is_some_and(|(least, most)| least > most) {
        return Err("the smallest size is above the largest".into());
    }
    if options.smallest.max(options.largest) > Some(i32::MAX as usize) {
        return Err(format!("a message has at most {} bytes", i32::MAX));
    }
    Ok(())
}

fn types(options: &mut Options, text: &str) -> Result<(), String> {
    let known = |datatype: &Type| datatype.name().eq_ignore_ascii_case(text);
    options.datatypes = match Type::ALL.into_iter().find(known) {
        Some(datatype) => vec![datatype],
        None if text == "all" => Type::ALL.to_vec(),
        None => return Err("mpi_char, mpi_int, mpi_float or all is expected".into()),
    };
    Ok(())
}

fn percentiles(options: &mut Options, text: &str) -> Result<(), String> {
    let text = if text.is_empty() { "50,90,99" } else { text };
    let one = |word: &str| match word.trim().parse() {
        Ok(percent) if (1..=99).contains(&percent) => Ok(percent),
        _ => Err("percentiles are whole numbers from 1 to 99".to_string()),
    };
    options.percentiles = text.split(',').map(one).collect::<Result<_, _>>()?;
    Ok(())
}

fn buffers(options: &mut Options, text: &str) -> Result<(), String> {
    options.many_buffers = match text {
        "single" => false,
        "multiple" => true,
        _ => return Err("single or multiple is expected".into()),
    };
    Ok(())
}

/// `CALLS` of MPI_Test, or threads as `RECEIVERS` or `SENDERS:RECEIVERS`.
fn tests(options: &mut Options, text: &str) -> Result<(), String> {
    let (senders, receivers) = text.split_once(':').unwrap_or(("1", text));
    let (senders, receivers) = (number(senders)?, number(receivers)?);
    if senders < 1 || receivers < 1 || senders.max(receivers) > 128 && text.contains(':') {
        return Err("1 to 128 is expected".into());
    }
    (options.tests, options.threads) = (receivers, (senders, receivers.min(128)));
    Ok(())
}

fn root(options: &mut Options, text: &str) -> Result<(), String> {
    options.root = match text {
        "rotate" => Root::Rotating,
        _ => Root::Fixed(number(text.strip_prefix("fixed:").unwrap_or(text))?),
    };
    Ok(())
}

fn sync(options: &mut Options, text: &str) -> Result<(), String> {
    options.sync = Sync::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, sync)| sync);
    match options.sync {
        Some(_) => Ok(()),
        None => Err("lock, flush, flush_local, lock_all, pscw or fence is expected".into()),
    }
}

fn created(options: &mut Options, text: &str) -> Result<(), String> {
    match Created::ALL.into_iter().find(|(name, _)| *name == text) {
        Some((_, created)) => options.memory_of = created,
        None => return Err("create, allocate or dynamic is expected".into()),
    }
    Ok(())
}

fn json(options: &mut Options, _: &str) -> Result<(), String> {
    options.output = Output::Json;
    Ok(())
}

fn csv(options: &mut Options, _: &str) -> Result<(), String> {
    options.output = Output::Csv;
    Ok(())
}

fn stat(options: &mut Options, text: &str) -> Result<(), String> {
    let count = if text.is_empty() { SAMPLES } else { number(text)? };
    options.stat = Some(count.clamp(1, 1000));
    Ok(())
}

impl Options {
    /// Passes over the same case. JSON and CSV without `--stat` cut the iterations of one run
    /// into samples, so that asking for them costs no more time than the table.
    pub fn samples(&self) -> usize {
        match (self.stat, self.output) {
            (Some(count), _) => count,
            (None, Output::Table) => 1,
            (None, _) => SAMPLES,
        }
    }

    /// Iterations and warm-up of one pass; the first pass warms up more.
    pub fn rounds(&self, family: Family, size: usize, first: bool) -> (usize, usize) {
        let repeats = family.repeats();
        let (iterations, warmup) = if size > LARGE {
            (repeats.iterations_large, repeats.warmup_large)
        } else {
            (repeats.iterations, repeats.warmup)
        };
        let iterations = self.iterations.unwrap_or(iterations);
        let warmup = self.warmup.unwrap_or(warmup);
        match self.stat {
            Some(_) => (iterations, warmup),
            None if first => (iterations.div_ceil(self.samples()), warmup),
            None => (iterations.div_ceil(self.samples()), warmup.div_ceil(10)),
        }
    }

    /// The message sizes: doubled from the smallest on, from 0 if that is asked for.
    pub fn sizes(&self, benchmark: &Benchmark, ranks: usize, datatype: Type) -> Vec<usize> {
        if !benchmark.sized {
            return vec![0];
        }
        let smallest = self.smallest.unwrap_or(1);
        let largest = self.largest.unwrap_or(benchmark.family.largest());
        let room = match benchmark.family {
            Family::Collective | Family::Immediate => self.memory / (benchmark.footprint)(ranks),
            _ => usize::MAX,
        };
        let least = (benchmark.smallest)(ranks, datatype);
        let next = |size: &usize| Some(if *size == 0 { 1 } else { size * 2 });
        std::iter::successors(Some(smallest), next)
            .take_while(|size| *size <= largest.max(smallest))
            .filter(|size| *size <= room && (*size == 0 || *size >= least))
            .collect()
    }
}

/// What `-h` prints.
pub fn help(benchmark: &Benchmark) -> String {
    let ranks = if benchmark.ranks == crate::benchmark::Ranks::Two { "2" } else { "N" };
    let mut text = format!(
        "Usage: mpiexec -n {ranks} {} [options]\n{}\nOptions:\n",
        benchmark.program, benchmark.title
    );
    let fitting = |entry: &&Entry| entry.families.contains(&benchmark.family);
    for entry in TABLE.iter().filter(fitting) {
        let letter = entry.letter.map_or("   ".to_string(), |letter| format!("-{letter},"));
        let name = match entry.value {
            Takes::Required(value) => format!("--{} {value}", entry.long),
            Takes::Optional(value) if !value.is_empty() => format!("--{}[={value}]", entry.long),
            _ => format!("--{}", entry.long),
        };
        text.push_str(&format!("  {letter} {name:<26} {}\n", entry.text));
    }
    text.push_str("  -h, --help                     this text\n");
    text.push_str("  -v, --version                  the version\n");
    text
}

#[cfg(test)]
mod tests;
