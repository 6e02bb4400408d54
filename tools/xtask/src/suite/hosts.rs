// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Jobs over several hosts (network.rs): the C programs, the examples and the course, parts of
//! mpi4py's suite and of the benchmarks, and how such jobs end.
//!
//! `cargo xtask test hosts` uses two and three hosts, `cargo xtask hosts` any number and all ranks.

mod faults;
mod links;
mod order;
mod ports;
mod ssh;

use super::cases::{self, Case};
use super::{Face, Lanes, Suite, Tally, expected, mpi4py, programs, scripts};
use crate::network::Network;
use crate::places::Places;
use crate::process::{Outcome, Task};
use crate::setup;
use crate::sshd::Servers;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What the hosts are joined by: how its cases are named, and what it needs to be set.
#[derive(Clone, Copy)]
struct Between {
    suffix: &'static str,
    env: &'static [(&'static str, &'static str)],
}

const TCP: Between = Between { suffix: "", env: &[] };
const OFI: Between = Between {
    suffix: " over ofi",
    env: &[("STRAIT_LANES", "shm,ofi"), ("STRAIT_OFI_PROVIDER", "tcp;ofi_rxm")],
};
const UCX: Between = Between { suffix: " over ucx", env: &[("STRAIT_LANES", "shm,ucx")] };

/// What is run on how many hosts.
struct Extent {
    /// Hosts of the C programs, and ranks at least.
    programs: (usize, usize),
    /// Hosts and ranks of the Python programs.
    others: (usize, usize),
    /// Ranks of the benchmarks, on the same hosts.
    benchmarks: usize,
    mpi4py: &'static [&'static str],
    /// Ways of the Python programs and the benchmarks.
    between: &'static [Between],
    /// Jobs that end badly, or whose hosts and networks are bad.
    faults: bool,
}

const SHORT: Extent = Extent {
    programs: (2, 3),
    others: (3, 6),
    benchmarks: 6,
    mpi4py: &["p2p_obj", "p2p_buf", "cco_obj"],
    between: &[TCP],
    faults: true,
};
/// Hosts that are laid out at least: mpiexec's own, one that it starts, and one that this starts.
const HOSTS_MIN: usize = 3;
const MPI4PY_LONG: &[&str] = &[
    "p2p_obj",
    "p2p_buf",
    "p2p_obj_matched",
    "p2p_buf_matched",
    "cco_obj",
    "cco_buf",
    "cco_vec",
    "cco_obj_inter",
    "cco_buf_inter",
    "cco_vec_inter",
    "cco_ngh_obj",
    "cco_ngh_buf",
    "comm",
    "rma",
    "rma_nb",
    "util_pkl5",
];
/// Programs that also go over libfabric and UCX, between the hosts.
const OVER_FABRICS: &[&str] = &["order", "collectives", "rma_random", "large"];
const BENCHMARKS: &[&str] =
    &["osu_latency", "osu_bibw", "osu_mbw_mr", "osu_allreduce", "osu_ialltoall", "osu_put_latency"];

pub fn stage(suite: &Suite) -> Result<Tally, String> {
    run(suite, 3, &SHORT)
}

/// `cargo xtask hosts --hosts N`: everything on 2, 3 and N hosts.
pub fn command(places: Places, count: usize) -> Result<bool, String> {
    setup::packages()?;
    let suite = Suite::new(places, None);
    let mut failed = 0;
    // Two processors run all of these ranks: Python's start alone is a tenth of a second of each.
    for (hosts, ranks) in [(2, 4), (3, 6), (count, 4 * count)] {
        println!("== {hosts} hosts, {ranks} ranks");
        let extent = Extent {
            programs: (hosts, 3.max(hosts.min(7))),
            others: (hosts, ranks),
            benchmarks: 2 * hosts,
            mpi4py: if ranks <= 8 { MPI4PY_LONG } else { &["p2p_obj"] },
            between: &[TCP, OFI, UCX],
            faults: hosts == 2,
        };
        let tally = run(&suite, hosts, &extent)?;
        println!(
            "{} passed, {} failed, {} skipped",
            tally.passed,
            tally.failed.len(),
            tally.skipped
        );
        failed += tally.failed.len();
    }
    Ok(failed == 0)
}

fn run(suite: &Suite, count: usize, extent: &Extent) -> Result<Tally, String> {
    suite.need_prefix()?;
    let mut tally = Tally::default();
    if suite.foreign.is_some() {
        println!("   another MPI's mpiexec has options of its own: skipped");
        tally.skipped += 1;
        return Ok(tally);
    }
    let programs = programs::built(suite, &mut tally)?;
    let forked = Case::new("hello np=3 on two hosts by fork", || by_fork(suite));
    cases::run(&[forked], 1, &mut tally);
    setup::network_tools()?;
    setup::fabrics()?;
    let dir = |name: &str| suite.places.scratch().join(name);
    let network = match Network::up("h", count.max(HOSTS_MIN), &dir("hosts")) {
        Ok(network) => network,
        Err(why) => {
            println!(
                "   this machine gives no network namespaces (root is needed): skipped\n   {why}"
            );
            tally.skipped += 1;
            return Ok(tally);
        }
    };
    let network = &network;
    let mut list = c_programs(suite, network, extent, &programs);
    list.extend(order::cases(suite, network));
    list.extend(ports::cases(suite, network));
    others(suite, network, extent, &mut list)?;
    for fan_out in ["1", "2", "3"] {
        let (hosts, ranks) = (extent.others.0, 16 * extent.others.0);
        let name = format!("hello np={ranks} on {hosts} hosts, at most {fan_out} from each");
        list.push(Case::new(name, move || {
            let task = mpiexec(suite, network, hosts, ranks).args(["-fan-out", fan_out]);
            let outcome = task.arg(programs::scratch(suite, "hello")).limit(240).run()?;
            let good = outcome.success() && outcome.out == "ok\n" && outcome.err.is_empty();
            if good { Ok(()) } else { Err(outcome.describe()) }
        }));
    }
    let mut faulty = Vec::new();
    for (name, group) in FAULTS.iter().filter(|_| extent.faults) {
        let network = Network::up(name, HOSTS_MIN, &dir(&format!("hosts-{name}")))?;
        faulty.push((network, group));
    }
    // They wait for deadlines most of the time: beside the others, each group on hosts of its own.
    let faults: Vec<_> = std::thread::scope(|scope| {
        let begin = |(network, group): &'_ (Network, &Group)| group(suite, network);
        let begun: Vec<_> =
            faulty.iter().map(|faulty| scope.spawn(move || begin(faulty))).collect();
        cases::run(&list, 2, &mut tally);
        begun.into_iter().map(|group| group.join().expect("cases do not panic")).collect()
    });
    for group in faults {
        tally.add(group?);
    }
    Ok(tally)
}

/// The C programs, some over each fabric's library, too.
fn c_programs<'a>(
    suite: &'a Suite,
    network: &'a Network,
    extent: &Extent,
    programs: &[programs::Program],
) -> Vec<Case<'a>> {
    let mut list = Vec::new();
    let (hosts, least) = extent.programs;
    for program in programs {
        let fits = program.ranks.iter().copied().filter(|ranks| *ranks >= least).min();
        let ranks = fits.or(program.ranks.iter().copied().filter(|ranks| *ranks > 1).max());
        let Some(ranks) = ranks else { continue };
        let name = format!("{} np={ranks} on {hosts} hosts", program.name);
        let (binary, seconds) = (program.binary.clone(), program.seconds);
        let run = move |way: Between| {
            let task = over(way, mpiexec(suite, network, hosts, ranks)).arg(&binary);
            task.limit(seconds).run()?.says("ok\n")
        };
        let ways: &[Between] = match OVER_FABRICS.contains(&program.name.as_str()) {
            true => &[OFI, UCX],
            false => &[],
        };
        if ranks > 2 {
            list.extend(order::program(suite, network, (hosts, ranks), program, ways));
        }
        for way in ways {
            let run = run.clone();
            list.push(Case::new(format!("{name}{}", way.suffix), move || run(*way)));
        }
        list.push(Case::new(name, move || run(TCP)));
    }
    list
}

/// Cases that cut hosts off, or count what is left: one after another on their hosts.
type Group = fn(&Suite, &Network) -> Result<Tally, String>;
const FAULTS: [(&str, Group); 4] = [("e", ends), ("f", bad_hosts), ("l", two_links), ("s", by_ssh)];

fn ends(suite: &Suite, network: &Network) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut ends = vec![
        Case::new("abort on another host", || aborted(suite, network)),
        Case::new("a rank killed on another host", || killed(suite, network)),
        Case::new("a host whose agent dies", || agent_killed(suite, network)),
        Case::new("a network that ends in the middle", || cut(suite, network)),
        Case::new("mpiexec is killed", || mpiexec_killed(suite, network)),
        Case::new("an interface is chosen, a wrong one is named", || {
            wrong_interface(suite, network)
        }),
        // It takes the half minute that a call has.
        Case::new("a network that drops what one host sends", || dropped(suite, network)),
    ];
    ends.extend(order::ends(suite, network));
    cases::run(&ends, 1, &mut tally);
    Ok(tally)
}

fn bad_hosts(suite: &Suite, network: &Network) -> Result<Tally, String> {
    let mut tally = Tally::default();
    cases::run(&faults::cases(suite, network), 1, &mut tally);
    Ok(tally)
}

fn two_links(suite: &Suite, network: &Network) -> Result<Tally, String> {
    let mut tally = Tally::default();
    network.add_second_link()?;
    cases::run(&links::cases(suite, network), 1, &mut tally);
    Ok(tally)
}

fn by_ssh(suite: &Suite, network: &Network) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let servers = Servers::start(network, &[2, 3], &suite.places.scratch().join("hosts-s/ssh"))?;
    cases::run(&ssh::cases(suite, network, &servers), 1, &mut tally);
    Ok(tally)
}

/// Python programs, mpi4py's own tests, benchmarks.
fn others<'a>(
    suite: &'a Suite,
    network: &'a Network,
    extent: &Extent,
    list: &mut Vec<Case<'a>>,
) -> Result<(), String> {
    let hosts = extent.others.0;
    for way in extent.between {
        over_way(suite, network, extent, *way, list)?;
    }
    let list_of_hosts = network.list(hosts.min(3));
    list.push(Case::new("strait doctor --hosts", move || {
        let task = Task::new(network.on()).arg(network.host(1)).arg(suite.bin("strait"));
        let task = task.args(["doctor", "--hosts", &list_of_hosts, "--launcher-exec"]);
        let outcome = task.arg(network.on()).limit(240).run()?;
        let pairs = outcome.out.matches("8 bytes one way in").count();
        let expected = hosts.min(3) * (hosts.min(3) - 1) / 2;
        if pairs == expected { Ok(()) } else { Err(outcome.describe()) }
    }));
    Ok(())
}

fn over_way<'a>(
    suite: &'a Suite,
    network: &'a Network,
    extent: &Extent,
    way: Between,
    list: &mut Vec<Case<'a>>,
) -> Result<(), String> {
    let (hosts, ranks) = extent.others;
    let suffix = way.suffix;
    let python = suite.python(Face::Mpich)?;
    for file in scripts::python_files(suite)? {
        let (python, stem) = (python.clone(), scripts::stem(&file));
        list.push(Case::new(format!("{stem}.py np={ranks} on {hosts} hosts{suffix}"), move || {
            let task = over(way, mpiexec(suite, network, hosts, ranks)).arg(&python).arg(&file);
            let outcome = quiet(task.limit(240).run()?)?;
            expected::check(&stem, ranks, &outcome.out)
        }));
    }
    let tests = setup::mpi4py_tests(&suite.places)?;
    for file in extent.mpi4py {
        let (python, tests) = (python.clone(), tests.clone());
        let name = format!("test_{file} np=4 on 2 hosts{suffix}");
        let records = suite.places.scratch().join("log/hosts").join(format!("{file}{suffix}"));
        list.push(Case::new(name, move || {
            let task = over(way, mpiexec(suite, network, 2, 4));
            mpi4py::one_file(suite, task, 4, &python, &tests, file, &records)
        }));
    }
    for name in BENCHMARKS {
        let pairs = ["osu_latency", "osu_bibw", "osu_put_latency"].contains(name);
        let ranks = if pairs { 2 } else { extent.benchmarks };
        list.push(Case::new(format!("{name} np={ranks} on {hosts} hosts{suffix}"), move || {
            let task = over(way, mpiexec(suite, network, hosts, ranks)).arg(suite.bin(name));
            let task = task.args(["-c", "-i", "10", "-x", "2", "-m", "1:262144"]);
            quiet(task.limit(240).run()?).map(drop)
        }));
    }
    Ok(())
}

fn over(way: Between, task: Task) -> Task {
    way.env.iter().fold(task, |task, (name, value)| task.env(name, value))
}

fn mpiexec(suite: &Suite, network: &Network, hosts: usize, ranks: usize) -> Task {
    let before = [network.on().to_owned(), PathBuf::from(network.host(1))];
    let task = suite.mpiexec_below(&before, ranks, Lanes::Shm);
    let list = network.list(hosts);
    task.arg("-launcher-exec").arg(network.on()).args(["-hosts", &list])
}

pub fn quiet(outcome: Outcome) -> Result<Outcome, String> {
    if outcome.success() && outcome.err.is_empty() { Ok(outcome) } else { Err(outcome.describe()) }
}

/// Two hosts that are both this one need no root: this is tried everywhere.
fn by_fork(suite: &Suite) -> Result<(), String> {
    let task = suite.mpiexec(3, Lanes::Shm).args(["-launcher", "fork", "-hosts", "one,two"]);
    task.arg(programs::scratch(suite, "hello")).limit(60).run()?.says("ok\n")
}

/// A job that ends badly says so with these words, and leaves nothing.
fn ends_with(
    network: &Network,
    outcome: &Outcome,
    code: i32,
    words: &[&str],
) -> Result<(), String> {
    says(outcome, code, words)?;
    nothing_left(network)
}

/// It ended with this code and said these words.
fn says(outcome: &Outcome, code: i32, words: &[&str]) -> Result<(), String> {
    let missing = words.iter().find(|words| !outcome.err.contains(**words));
    if outcome.code == Some(code) && missing.is_none() {
        return Ok(());
    }
    Err(format!("no {missing:?}, or not exit code {code}: {}", outcome.describe()))
}

fn nothing_left(network: &Network) -> Result<(), String> {
    left(network, &[])
}

/// Nothing lives on the hosts but these processes.
fn left(network: &Network, but: &[u32]) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let mut left = network.processes();
        left.retain(|pid| !but.contains(pid));
        if left.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(20) {
            return Err(format!("processes are left: {}", crate::process::describe(&left)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn script(suite: &Suite, name: &str, text: &str) -> Result<PathBuf, String> {
    let path = suite.places.scratch().join("hosts").join(name);
    let text =
        format!("from mpi4py import MPI\nimport os, signal, time\nc = MPI.COMM_WORLD\n{text}\n");
    std::fs::write(&path, text).map_err(|e| e.to_string())?;
    Ok(path)
}

fn python_job(suite: &Suite, network: &Network, name: &str, text: &str) -> Result<Task, String> {
    python_job_with(suite, network, &[], name, text)
}

/// The same, with options of mpiexec.
fn python_job_with(
    suite: &Suite,
    network: &Network,
    options: &[&str],
    name: &str,
    text: &str,
) -> Result<Task, String> {
    let file = script(suite, name, text)?;
    let python = suite.python(Face::Mpich)?;
    Ok(mpiexec(suite, network, 2, 4).args(options).arg(python).arg(file).limit(120))
}

fn aborted(suite: &Suite, network: &Network) -> Result<(), String> {
    let text = "c.barrier()\nif c.rank == 3: c.Abort(7)\nc.barrier()";
    let outcome = python_job(suite, network, "abort.py", text)?.run()?;
    let host = network.host(2);
    ends_with(network, &outcome, 7, &["rank 3 ended the job by MPI_Abort", &host])?;
    if outcome.err.contains("Traceback") { Err(outcome.describe()) } else { Ok(()) }
}

fn killed(suite: &Suite, network: &Network) -> Result<(), String> {
    let text = "c.barrier()\nif c.rank == 3: os.kill(os.getpid(), signal.SIGKILL)\nc.barrier()";
    let outcome = python_job(suite, network, "kill.py", text)?.run()?;
    ends_with(network, &outcome, 137, &["rank 3 failed first", "SIGKILL", &network.host(2)])
}

fn agent_killed(suite: &Suite, network: &Network) -> Result<(), String> {
    let text = "c.barrier()\nif c.rank == 3: os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)";
    let outcome = python_job(suite, network, "agent.py", text)?.run()?;
    let words = format!("error[S0111]: host {} is lost (ranks 2-3)", network.host(2));
    ends_with(network, &outcome, 1, &[&words])
}

/// The way to the agent stays (it is no ssh), so the job is ended by its limit: in time, with
/// words, and nothing is left on the host that was cut off.
fn cut(suite: &Suite, network: &Network) -> Result<(), String> {
    let text = "c.barrier()\nprint('ready', flush=True)\ntime.sleep(2)\nc.barrier()";
    let file = script(suite, "cut.py", text)?;
    let python = suite.python(Face::Mpich)?;
    let task = mpiexec(suite, network, 2, 4).args(["-timeout", "6"]).arg(python).arg(file);
    let running = task.limit(60).start()?;
    let begun = Instant::now();
    while running.written().matches("ready").count() < 4
        && begun.elapsed() < Duration::from_secs(30)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    network.set_link(2, "down")?;
    let outcome = running.finish()?;
    network.set_link(2, "up")?;
    ends_with(network, &outcome, 124, &["its time limit", "were waiting in"])
}

/// What host 2 sends to host 1 is lost, as by a firewall: one error that names both ends, in time.
fn dropped(suite: &Suite, network: &Network) -> Result<(), String> {
    let text = "if c.rank == 0: c.send(1, 3)\nif c.rank == 3: c.recv(source=0)";
    network.set_route(2, "add")?;
    let outcome = python_job(suite, network, "dropped.py", text)?.run();
    network.set_route(2, "del")?;
    let words = ["connecting from 10.77.0.1 to its address 10.77.0.2:", "A firewall or a missing"];
    ends_with(network, &outcome?, 1, &words)
}

fn mpiexec_killed(suite: &Suite, network: &Network) -> Result<(), String> {
    let text = "c.barrier()\nif c.rank == 0: print('ready', flush=True)\ntime.sleep(60)";
    let task = python_job(suite, network, "orphan.py", text)?;
    let running = task.start()?;
    let begun = Instant::now();
    while !running.written().contains("ready") && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(20));
    }
    crate::process::signal(running.pid(), "KILL");
    running.finish()?;
    nothing_left(network)
}

fn wrong_interface(suite: &Suite, network: &Network) -> Result<(), String> {
    let file = script(suite, "interface.py", "c.barrier()")?;
    let python = suite.python(Face::Mpich)?;
    let over = |net: &str| {
        let task = mpiexec(suite, network, 2, 4).args(["-iface", net]);
        task.arg(&python).arg(&file).limit(120).run()
    };
    for right in ["eth0", "10.77.0.0/16"] {
        ends_with(network, &over(right)?, 0, &[])?;
    }
    let outcome = over("192.168.3.0/24")?;
    let words = ["STRAIT_TCP_INTERFACE is `192.168.3.0/24`", "eth0 (10.77.0."];
    let missing = words.iter().find(|words| !outcome.err.contains(**words));
    match missing {
        None if !outcome.success() => nothing_left(network),
        _ => Err(format!("no {missing:?}: {}", outcome.describe())),
    }
}
