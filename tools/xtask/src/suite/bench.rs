// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The benchmarks run, validate what they moved, print the table that scripts parse, and see
//! wrong bytes.
//!
//! Over another MPI (`test bench --with PREFIX`) our installed programs run with its mpiexec and
//! its `libmpi_abi.so.1`.
//!
//! Not here: any judgement of the numbers. The machine that runs tests measures nothing.

use super::cases::{self, Case};
use super::{Lanes, Suite, Tally};
use crate::install::benchmarks;
use crate::process::{Outcome, Task};
use std::path::{Path, PathBuf};

/// Programs between two ranks, or pairs: name, title, columns, more options.
const PAIRS: &[(&str, &str, &str, &[&str])] = &[
    ("osu_latency", "OSU MPI Latency Test", LATENCY, &[]),
    ("osu_latency_persistent", "OSU MPI Latency Persistent Test", LATENCY, &[]),
    ("osu_latency_mt", "OSU MPI Multi-threaded Latency Test", LATENCY, &["-t", "2:2"]),
    ("osu_multi_lat", "OSU MPI Multi Latency Test", LATENCY, &[]),
    ("osu_bw", "OSU MPI Bandwidth Test", BANDWIDTH, &[]),
    ("osu_bw_persistent", "OSU MPI Bandwidth Persistent Test", BANDWIDTH, &[]),
    ("osu_bibw", "OSU MPI Bi-Directional Bandwidth Test", BANDWIDTH, &[]),
    ("osu_bibw_persistent", "OSU MPI Bi-Directional Bandwidth Persistent Test", BANDWIDTH, &[]),
    (
        "osu_mbw_mr",
        "OSU MPI Multiple Bandwidth / Message Rate Test",
        "# Size                  MB/s        Messages/s",
        &[],
    ),
];
/// One-sided programs: name, title, columns, and which ways of completing they are run with.
const ACCESSES: &[(&str, &str, &str, &[&str])] = &[
    ("osu_put_latency", "OSU MPI_Put Latency Test", TIME, ALL_SYNCS),
    ("osu_get_latency", "OSU MPI_Get Latency Test", TIME, ALL_SYNCS),
    ("osu_acc_latency", "OSU MPI_Accumulate Latency Test", TIME, ALL_SYNCS),
    ("osu_get_acc_latency", "OSU MPI_Get_accumulate Latency Test", TIME, ALL_SYNCS),
    ("osu_fop_latency", "OSU MPI_Fetch_and_op Latency Test", TIME, ALL_SYNCS),
    ("osu_cas_latency", "OSU MPI_Compare_and_swap Latency Test", TIME, ALL_SYNCS),
    ("osu_put_bw", "OSU MPI_Put Bandwidth Test", BANDWIDTH, ALL_SYNCS),
    ("osu_get_bw", "OSU MPI_Get Bandwidth Test", BANDWIDTH, ALL_SYNCS),
    ("osu_put_bibw", "OSU MPI_Put Bi-directional Bandwidth Test", BANDWIDTH, &["pscw", "fence"]),
];
const ALL_SYNCS: &[&str] = &["lock", "flush", "flush_local", "lock_all", "pscw", "fence"];
const TIME: &str = "# Size          Latency (us)";
const LATENCY: &str = "# Size       Avg Latency(us)";
const BANDWIDTH: &str = "# Size      Bandwidth (MB/s)";
const OVERALL: &str =
    "# Size           Overall(us)       Compute(us)    Pure Comm.(us)        Overlap(%)";

/// Collectives: name, title, title of the non-blocking one if it differs.
const COLLECTIVES: &[(&str, &str, &str)] = &[
    ("allgather", "Allgather", ""),
    ("allgatherv", "Allgatherv", ""),
    ("allreduce", "Allreduce", ""),
    ("alltoall", "All-to-All Personalized Exchange", "All-to-All"),
    ("alltoallv", "All-to-Allv Personalized Exchange", ""),
    ("alltoallw", "All-to-Allw Personalized Exchange", ""),
    ("barrier", "Barrier", ""),
    ("bcast", "Broadcast", ""),
    ("gather", "Gather", ""),
    ("gatherv", "Gatherv", ""),
    ("reduce", "Reduce", ""),
    ("reduce_scatter", "Reduce_scatter", ""),
    ("reduce_scatter_block", "Reduce_scatter_block", ""),
    ("scatter", "Scatter", ""),
    ("scatterv", "Scatterv", ""),
];

/// One run and what its output must have.
struct Run {
    name: String,
    ranks: usize,
    lanes: Lanes,
    title: String,
    /// The line that names the columns begins with this.
    columns: String,
    options: Vec<String>,
    validated: bool,
}

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    suite.need_prefix()?;
    let mut tally = Tally::default();
    let runs = runs(suite);
    let mut list: Vec<Case> = runs
        .iter()
        .map(|run| {
            let name = format!("{} np={} {}", run.name, run.ranks, run.lanes.name());
            Case::new(name, move || check(suite, run))
        })
        .collect();
    list.extend(OTHERS.iter().map(|(name, case)| Case::new(name.to_string(), || case(suite))));
    cases::run(&list, 2, &mut tally);
    Ok(tally)
}

/// Every program over shared memory, three of them over TCP.
fn runs(suite: &Suite) -> Vec<Run> {
    let mut runs = Vec::new();
    let run = |name: &str, title: &str, columns: &str, more: &[&str]| Run {
        name: name.to_string(),
        ranks: 2,
        lanes: Lanes::Shm,
        title: title.to_string(),
        columns: columns.to_string(),
        options: more.iter().map(|word| word.to_string()).collect(),
        validated: true,
    };
    for (name, title, columns, more) in PAIRS {
        runs.push(run(name, title, columns, more));
        if matches!(*name, "osu_multi_lat" | "osu_mbw_mr") {
            runs.push(Run { ranks: 4, ..run(name, title, columns, more) });
        }
    }
    for (name, title, columns, syncs) in ACCESSES {
        for (sync, created) in syncs.iter().zip(["allocate", "create", "dynamic"].iter().cycle()) {
            let one = || run(name, title, columns, &["-s", sync, "-w", created]);
            runs.push(one());
            // Another way to the target's memory.
            if *name != "osu_put_bibw" && matches!(*sync, "flush" | "pscw") {
                runs.extend(
                    suite.lanes().contains(&Lanes::Tcp).then(|| Run { lanes: Lanes::Tcp, ..one() }),
                );
            }
        }
    }
    for ranks in [2, 3, 4] {
        for (name, title, immediate) in COLLECTIVES {
            let immediate = if immediate.is_empty() { title } else { immediate };
            let three = [
                (format!("osu_{name}"), format!("OSU MPI {title} Latency Test"), LATENCY),
                (
                    format!("osu_i{name}"),
                    format!("OSU MPI Non-blocking {immediate} Latency Test"),
                    OVERALL,
                ),
                (
                    format!("osu_{name}_persistent"),
                    format!("OSU MPI {title} Persistent Latency Test"),
                    LATENCY,
                ),
            ];
            for (program, title, columns) in three {
                let sized = *name != "barrier";
                let first = columns.trim_start_matches("# Size").trim_start();
                let columns = if sized { columns.to_string() } else { format!("# {first}") };
                let base = run(&program, &title, &columns, &[]);
                runs.push(Run { ranks, validated: sized, ..base });
            }
        }
    }
    for name in ["osu_latency", "osu_bw", "osu_allreduce"] {
        if suite.lanes().contains(&Lanes::Tcp) {
            let found = runs.iter().find(|run| run.name == name).expect("it is in the tables");
            let (title, columns) = (found.title.clone(), found.columns.clone());
            runs.push(Run { lanes: Lanes::Tcp, ..run(name, &title, &columns, &[]) });
        }
    }
    runs
}

/// From the smallest that four ranks can share out to one that is sent by rendezvous, and how many
/// they are.
const SIZES: (&str, usize) = ("16:65536", 13);
/// For more ranks than the machine may have cores.
const SMALL_SIZES: (&str, usize) = ("16:64", 3);
/// Non-blocking collectives compute for as long as they communicate, and so are slow where others
/// use the cores: fewer sizes, the last one by rendezvous.
const FEW_SIZES: (&str, usize) = ("8192:65536", 4);

fn program(suite: &Suite, run: &Run) -> Task {
    let task = mpiexec(suite, run.ranks, run.lanes).arg(suite.places.bin(&run.name));
    task.args(&run.options).limit(300)
}

/// With another MPI our programs find its library by this variable, which goes before the place
/// that they name themselves.
fn mpiexec(suite: &Suite, ranks: usize, lanes: Lanes) -> Task {
    let task = suite.mpiexec(ranks, lanes);
    match &suite.foreign {
        Some(prefix) => task.env("LD_LIBRARY_PATH", prefix.join("lib")),
        None => task.without_env("LD_LIBRARY_PATH"),
    }
}

fn check(suite: &Suite, run: &Run) -> Result<(), String> {
    if !run.validated {
        let outcome = program(suite, run).args(["-i", "10", "-x", "2"]).run()?;
        return head(run, &outcome).and_then(|rows| counted(&rows, 1, &outcome));
    }
    // Turns that warm up would hide an operation that moves nothing: none of them.
    let (sizes, count) = match run.ranks {
        2 if run.columns.contains("Overall") => FEW_SIZES,
        2 | 3 if !run.columns.contains("Overall") => SIZES,
        _ => SMALL_SIZES,
    };
    let task = program(suite, run).args(["-c", "-u", "0", "-i", "3", "-x", "1"]);
    let is_atomic = ["osu_fop", "osu_cas"].iter().any(|w| run.name.starts_with(w));
    let (task, count) = if is_atomic { (task, 1) } else { (task.args(["-m", sizes]), count) };
    let windows = run.name.contains("bw");
    let outcome = if windows { task.args(["-W", "8"]).run()? } else { task.run()? };
    let rows = head(run, &outcome)?;
    if !rows.iter().all(|row| row.ends_with("Pass")) {
        return Err(outcome.describe());
    }
    counted(&rows, count, &outcome)
}

fn counted(rows: &[&str], expected: usize, outcome: &Outcome) -> Result<(), String> {
    if rows.len() == expected {
        return Ok(());
    }
    Err(format!("{} rows, not {expected}: {}", rows.len(), outcome.describe()))
}

/// The rows below a head that is as it should be.
fn head<'a>(run: &Run, outcome: &'a Outcome) -> Result<Vec<&'a str>, String> {
    let title = format!("# {} v7", run.title);
    let (comments, rows): (Vec<&str>, Vec<&str>) =
        outcome.out.lines().filter(|line| !line.is_empty()).partition(|line| line.starts_with('#'));
    let titled = comments.iter().any(|line| line.starts_with(&title));
    let named = comments.last().is_some_and(|line| line.starts_with(&run.columns));
    let told = ["# Library: ", "# Host: ", "# Binding: "];
    let told = told.iter().all(|word| comments.iter().any(|line| line.starts_with(word)));
    if outcome.success() && titled && named && told {
        return Ok(rows);
    }
    Err(format!("expected '{title}' and '{}': {}", run.columns, outcome.describe()))
}

type Other = fn(&Suite) -> Result<(), String>;

const OTHERS: &[(&str, Other)] = &[
    ("all programs are known here", all_are_known),
    ("osu_init and osu_hello", startup),
    ("osu_latency refuses 3 ranks", refuses_three),
    ("osu_latency -I starts by a session", session),
    ("osu_mbw_mr -V", windows),
    ("options of collectives", options),
    ("--json is what strait bench reads", json),
    ("--csv has a value for each name", csv),
    ("wrong bytes are told", wrong_bytes),
    ("strait bench --quick writes its report", report),
    ("strait tune writes a table that a run loads", super::tune::writes),
    ("strait tune is interrupted and goes on", super::tune::goes_on),
    ("strait tune --check looks at guidelines", super::tune::checks),
];

fn run(suite: &Suite, ranks: usize, name: &str, options: &str) -> Result<Outcome, String> {
    let task = mpiexec(suite, ranks, Lanes::Shm).arg(suite.places.bin(name));
    task.args(options.split_whitespace()).limit(120).run()
}

/// Succeeds and prints all of these.
fn prints(outcome: &Outcome, texts: &[&str]) -> Result<(), String> {
    match texts.iter().find(|text| !outcome.out.contains(*text)) {
        None if outcome.success() => Ok(()),
        None => Err(outcome.describe()),
        Some(text) => Err(format!("no '{text}': {}", outcome.describe())),
    }
}

fn all_are_known(suite: &Suite) -> Result<(), String> {
    let mut known: Vec<String> = runs(suite).into_iter().map(|run| run.name).collect();
    known.extend(["osu_init", "osu_hello"].map(str::to_string));
    let unknown: Vec<String> =
        benchmarks(&suite.places.prefix())?.into_iter().filter(|n| !known.contains(n)).collect();
    match unknown[..] {
        [] => Ok(()),
        _ => Err(format!("not tested: {}", unknown.join(" "))),
    }
}

fn startup(suite: &Suite) -> Result<(), String> {
    let outcome = run(suite, 3, "osu_init", "")?;
    prints(
        &outcome,
        &["# OSU MPI Init Test v7", "\nnprocs: 3, min: ", " ms, max: ", " ms, avg: "],
    )?;
    let outcome = run(suite, 3, "osu_hello", "")?;
    prints(&outcome, &["# OSU MPI Hello World Test v7", "\nThis is a test with 3 processes\n"])
}

fn refuses_three(suite: &Suite) -> Result<(), String> {
    let outcome = run(suite, 3, "osu_latency", "")?;
    let why = "This test requires exactly two processes";
    if outcome.success() || !outcome.err.contains(why) {
        return Err(outcome.describe());
    }
    Ok(())
}

/// Sessions without MPI_Init are not built here yet, which the library says itself; over other
/// libraries the option works.
fn session(suite: &Suite) -> Result<(), String> {
    let outcome = run(suite, 2, "osu_latency", "-I -m 8:8 -i 10")?;
    let says_so = outcome.err.contains("MPI_Session_init was called before MPI_Init");
    if !outcome.success() && says_so {
        return Ok(());
    }
    prints(&outcome, &[LATENCY])
}

fn windows(suite: &Suite) -> Result<(), String> {
    let outcome = run(suite, 4, "osu_mbw_mr", "-V -m 8:16 -i 2 -x 0")?;
    let texts = [
        "# [ pairs: 2 ] [ window size: varied ]\n",
        "\n# Uni-directional Bandwidth (MB/sec)\n",
        "#                 1           2           4",
        "\n# Message Rate Profile\n",
    ];
    prints(&outcome, &texts)
}

/// Roots, in place, other datatypes, tests: each validated.
fn options(suite: &Suite) -> Result<(), String> {
    for (name, options) in [
        ("osu_gather", "-k 2 -l"),
        ("osu_gather", "-k rotate"),
        ("osu_scatter", "-k rotate -l"),
        ("osu_reduce", "-k fixed:1 -T mpi_float"),
        ("osu_allreduce", "-l -T all"),
        ("osu_reduce_scatter", "-l"),
        ("osu_reduce_scatter_block", "-l"),
        ("osu_alltoall", "-l"),
        ("osu_alltoallw", "-l -T mpi_int"),
        ("osu_allgatherv", "-l"),
        ("osu_iallreduce", "-t 10 -f"),
        ("osu_bcast", "-z10,50 --stat=6 -T all"),
    ] {
        let outcome = run(suite, 3, name, &format!("{options} -c -i 4 -x 1 -m 16:64"))?;
        prints(&outcome, &["Pass"]).map_err(|why| format!("{name} {options}: {why}"))?;
        if outcome.out.contains("Fail") {
            return Err(outcome.describe());
        }
    }
    Ok(())
}

/// Reads standard input as one JSON object and looks for what was agreed.
const READ_JSON: &str = "
import json, sys
for path in sys.argv[1:]:
    run = json.load(open(path))
    assert run['format'] == 'strait-bench 1', run
    for name in ('benchmark', 'title', 'library', 'host'):
        assert run[name], name
    assert run['cores'] > 0 and len(run['binding']) == run['ranks']
    assert isinstance(run['environment'], dict) and isinstance(run['options'], dict)
    for column in run['columns']:
        assert set(column) == {'name', 'title', 'unit', 'better'}, column
        assert column['better'] in ('less', 'more'), column
    assert run['rows'], path
    for row in run['rows']:
        for column in run['columns']:
            assert isinstance(row[column['name']], float), (row, column)
        assert None not in row.values(), row
        if run['benchmark'] != 'osu_init':
            assert len(row['samples']) == 10 and row['ci_low'] <= row['median'] <= row['ci_high']
            assert row['iterations'] >= 10, row
";

fn json(suite: &Suite) -> Result<(), String> {
    let dir = scratch(suite)?;
    let mut read = Task::new("python3").args(["-c", READ_JSON]);
    for (name, options) in [
        ("osu_latency", "-m 8:16"),
        ("osu_bw", "-m 8:16 -c -u 0"),
        ("osu_mbw_mr", "-m 8:16"),
        ("osu_allreduce", "-m 8:16 -c --stat=10"),
        ("osu_iallgather", "-m 8:16"),
        ("osu_barrier_persistent", ""),
        ("osu_init", ""),
    ] {
        let more = if name == "osu_init" { "" } else { "-i 20 -x 2" };
        let outcome = run(suite, 2, name, &format!("--json {more} {options}"))?;
        if !outcome.success() || outcome.out.lines().count() != 1 {
            return Err(outcome.describe());
        }
        let path = dir.join(format!("{name}.json"));
        std::fs::write(&path, &outcome.out).map_err(|e| format!("{}: {e}", path.display()))?;
        read = read.arg(&path);
    }
    let outcome = read.limit(60).run()?;
    if outcome.success() { Ok(()) } else { Err(outcome.describe()) }
}

fn csv(suite: &Suite) -> Result<(), String> {
    let outcome = run(suite, 2, "osu_bibw", "--csv -m 8:16 -i 20 -c")?;
    let lines: Vec<&str> = outcome.out.lines().filter(|line| !line.starts_with('#')).collect();
    let commas = |line: &str| line.matches(',').count();
    let even = lines.iter().all(|line| commas(line) == commas(lines[0]));
    let names = lines.first().is_some_and(|line| line.starts_with("size,datatype,bandwidth,"));
    let pass = lines.iter().skip(1).all(|line| line.ends_with(",pass"));
    if outcome.success() && lines.len() == 3 && names && even && pass {
        return Ok(());
    }
    Err(outcome.describe())
}

/// A library between program and MPI spoils what some calls receive: validation must see it.
fn wrong_bytes(suite: &Suite) -> Result<(), String> {
    let library = spoiler(suite)?;
    for (name, options) in [
        ("osu_latency", "-m 64:128"),
        ("osu_latency_mt", "-t 2:2 -m 64:128"),
        ("osu_bw", "-m 64:128"),
        ("osu_allreduce", "-m 64:128"),
        ("osu_iallgather", "-m 64:128"),
        ("osu_bcast_persistent", "-m 64:128"),
        ("osu_latency", "-m 64:128 --csv"),
    ] {
        let task = mpiexec(suite, 2, Lanes::Shm).arg("env");
        let task = task.arg(format!("LD_PRELOAD={}", library.display()));
        let task = task.arg(suite.places.bin(name)).args(options.split_whitespace());
        let outcome = task.args(["-c", "-u", "0", "-i", "4", "-x", "0"]).limit(120).run()?;
        let told = "DATA VALIDATION ERROR: ";
        let (text, mark) = match options.contains("--csv") {
            true => (&outcome.err, outcome.out.contains(",fail")),
            false => (&outcome.out, outcome.out.contains("Fail")),
        };
        let message = format!("{told}{name} exited with status 1 on message size 64.");
        if outcome.success() || !mark || !text.contains(&message) {
            return Err(format!("{name} {options}: {}", outcome.describe()));
        }
    }
    Ok(())
}

/// The command of the README, over the real programs: a table, a session and a page.
fn report(suite: &Suite) -> Result<(), String> {
    let dir = scratch(suite)?.join("report");
    // Of the run before: a session is never overwritten.
    let _ = std::fs::remove_dir_all(&dir);
    let task = Task::new(suite.places.bin("strait")).args(["bench", "latency", "--quick"]);
    let task = task.args(["--repeats", "1", "--no-probe", "-m", "8:64", "--out"]).arg(&dir);
    let outcome = task.limit(120).run()?;
    prints(&outcome, &["osu_latency"])?;
    for (name, text) in [
        ("session.jsonl", "\"reason\":\"complete\""),
        ("summary.csv", "osu_latency"),
        ("report.html", "<svg"),
    ] {
        let path = dir.join(name);
        let written = std::fs::read_to_string(&path).map_err(|e| format!("{name}: {e}"))?;
        if !written.contains(text) {
            return Err(format!("{}: no '{text}' in it", path.display()));
        }
    }
    Ok(())
}

fn spoiler(suite: &Suite) -> Result<PathBuf, String> {
    let library = scratch(suite)?.join("libspoil.so");
    let source: &Path = &suite.places.root.join("benches/tests/spoil.c");
    let task = Task::new(suite.places.bin("mpicc")).args(["-shared", "-fPIC", "-o"]).arg(&library);
    let outcome = task.arg(source).limit(60).run()?;
    if outcome.success() { Ok(library) } else { Err(outcome.describe()) }
}

pub(super) fn scratch(suite: &Suite) -> Result<PathBuf, String> {
    let dir = suite.places.scratch().join("bench");
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    Ok(dir)
}
