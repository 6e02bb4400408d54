// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;
use crate::benchmark::all;

fn benchmark(program: &str) -> Benchmark {
    all().into_iter().find(|benchmark| benchmark.program == program).expect("it exists")
}

fn parsed(program: &str, line: &str) -> Result<Ask, String> {
    parse(line.split_whitespace().map(str::to_string), &benchmark(program))
}

fn run(program: &str, line: &str) -> Options {
    match parsed(program, line) {
        Ok(Ask::Run(options)) => *options,
        other => panic!("{line}: {other:?}"),
    }
}

fn sizes_of(program: &str, line: &str, ranks: usize) -> Vec<usize> {
    let options = run(program, line);
    options.sizes(&benchmark(program), ranks, options.datatypes[0])
}

#[test]
fn defaults_are_those_that_scripts_know() {
    let options = run("osu_latency", "");
    assert_eq!(options.rounds(Family::Latency, 8192, true), (10_000, 100));
    assert_eq!(options.rounds(Family::Latency, 8193, true), (1000, 10));
    assert_eq!(options.rounds(Family::Bandwidth, 1, true), (100, 10));
    assert_eq!(options.rounds(Family::Collective, 1, true), (1000, 100));
    assert_eq!(options.window, 64);
    assert_eq!(sizes_of("osu_latency", "", 2).len(), 23);
    assert_eq!(sizes_of("osu_allgather", "", 2).last(), Some(&(1 << 20)));
    assert_eq!(sizes_of("osu_barrier", "", 2), [0]);
}

#[test]
fn sizes_are_read_and_fit_the_elements_and_the_memory() {
    assert_eq!(sizes_of("osu_latency", "-m 0:4", 2), [0, 1, 2, 4]);
    assert_eq!(sizes_of("osu_latency", "-m 8", 2), [1, 2, 4, 8]);
    assert_eq!(sizes_of("osu_latency", "-m 3:10", 2), [3, 6]);
    assert_eq!(sizes_of("osu_latency", "-m 8 -T mpi_int", 2), [4, 8]);
    assert_eq!(sizes_of("osu_allreduce", "-m 16", 2), [4, 8, 16]);
    assert_eq!(sizes_of("osu_reduce_scatter_block", "-m 32", 3), [16, 32]);
    assert_eq!(sizes_of("osu_alltoall", "-m 16 -M 16", 2), [1, 2, 4, 8]);
    assert!(parsed("osu_latency", "-m 9:4").is_err());
    assert!(parsed("osu_latency", "-m x").is_err());
}

#[test]
fn a_letter_belongs_to_its_programs() {
    assert_eq!(run("osu_bw", "-W 8").window, 8);
    assert!(parsed("osu_allreduce", "-W 8").is_err());
    assert_eq!(run("osu_iallreduce", "-t 100").tests, 100);
    assert_eq!(run("osu_latency_mt", "-t 4:6").threads, (4, 6));
    assert_eq!(run("osu_latency_mt", "-t 3").threads, (1, 3));
    assert_eq!(run("osu_bcast", "-k fixed:1").root, Root::Fixed(1));
    assert_eq!(run("osu_gather", "-k rotate").root, Root::Rotating);
    assert!(parsed("osu_latency", "-q").is_err());
    assert_eq!(parsed("osu_latency", "-h"), Ok(Ask::Help));
    assert!(parsed("osu_latency", "H H").is_ok());
    assert!(parsed("osu_latency", "D H").is_err());
}

#[test]
fn what_is_not_built_says_so() {
    for line in ["-d cuda", "-D cont", "-G tty", "-P x", "-clog:dir"] {
        let text = parsed("osu_latency", line).expect_err("it is not built");
        assert!(text.contains("not built"), "{text}");
    }
}

#[test]
fn sums_need_numbers() {
    assert_eq!(run("osu_allreduce", "").datatypes, [Type::Int]);
    assert_eq!(run("osu_allreduce", "-T all").datatypes, [Type::Int, Type::Float]);
    assert_eq!(run("osu_bcast", "-T all").datatypes.len(), 3);
    assert!(parsed("osu_allreduce", "-T mpi_char").is_err());
}

#[test]
fn nothing_is_called_checked_that_cannot_fail() {
    assert!(parsed("osu_barrier", "-c").is_err());
    assert!(parsed("osu_ibarrier", "-c").is_err());
    assert!(parsed("osu_latency_mt", "-c").is_err());
    assert!(parsed("osu_latency_mt", "-c -t 2:2").is_ok());
}

#[test]
fn percentiles_and_repeats() {
    assert_eq!(run("osu_latency", "-z").percentiles, [50, 90, 99]);
    assert_eq!(run("osu_latency", "-z10,75").percentiles, [10, 75]);
    assert!(parsed("osu_latency", "-z0").is_err());
    let options = run("osu_latency", "--json");
    assert_eq!((options.samples(), options.rounds(Family::Latency, 1, true)), (10, (1000, 100)));
    assert_eq!(options.rounds(Family::Latency, 1, false), (1000, 10));
    let options = run("osu_latency", "--stat=7 --json -i 50");
    assert_eq!((options.samples(), options.rounds(Family::Latency, 1, true).0), (7, 50));
}

#[test]
fn help_names_the_letters_of_the_program_only() {
    let text = help(&benchmark("osu_bw"));
    assert!(text.contains("-W, --window-size N") && !text.contains("--root-rank"), "{text}");
    assert!(help(&benchmark("osu_gather")).contains("--root-rank"));
}
