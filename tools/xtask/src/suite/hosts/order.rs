// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Jobs whose ranks do not lie on their hosts one after the other: where they are, what they are
//! called by mpiexec, and that the C programs do not mind.

use super::{Between, TCP, ends_with, mpiexec, over, python_job_with, quiet};
use crate::network::Network;
use crate::process::Task;
use crate::suite::cases::Case;
use crate::suite::{Suite, programs};
use std::path::PathBuf;
use std::sync::OnceLock;

/// Options of mpiexec, and the host and the number on it of each rank.
const PLACES: &[(&str, &str)] = &[
    ("-map-by node", "1.0 2.0 3.0 1.1 2.1 3.1"),
    ("-map-by node -rank-by fill", "1.0 1.1 2.0 2.1 3.0 3.1"),
    ("-map-by slot -rank-by node", "1.0 2.0 3.0 1.1 2.1 3.1"),
    ("-map-by node -rank-by core", "1.0 1.1 2.0 2.1 3.0 3.1"),
    ("-map-by seq -hosts 2,1,2:2,3,1", "2.0 1.0 2.1 2.2 3.0 1.1"),
    ("-hosts 1,2,1", "1.0 1.1 2.0 2.1 1.2 1.3"),
    ("-hosts 3,1,3 -ppn 3", "3.0 3.1 3.2 1.0 1.1 1.2"),
    ("-rankmap (vector,(0,3,1))", "1.0 2.0 3.0 1.1 2.1 3.1"),
    ("-rankmap (vector,(1,1,2),(0,1,1))", "2.0 2.1 1.0 2.2 2.3 1.1"),
    ("-map-by node -fan-out 1", "1.0 2.0 3.0 1.1 2.1 3.1"),
];

/// By node: the last of the ranks is on the last host, the one before it on the one before.
const BY_NODE: [&str; 2] = ["-map-by", "node"];

/// Where ranks are, what they are called, benchmarks.
pub fn cases<'a>(suite: &'a Suite, network: &'a Network) -> Vec<Case<'a>> {
    let mut list = Vec::new();
    for (options, expected) in PLACES {
        let name = format!("where are six ranks: {options}");
        list.push(Case::new(name, move || places(suite, network, options, expected)));
    }
    list.push(Case::new("by node: two programs", || two_programs(suite, network)));
    list.push(Case::new("by node: labels, input and programs", || names(suite, network)));
    for name in ["osu_allreduce", "osu_alltoall", "osu_get_latency"] {
        let ranks = if name == "osu_get_latency" { 2 } else { 6 };
        list.push(Case::new(format!("{name} np={ranks} by node"), move || {
            let task = mpiexec(suite, network, 3, ranks).args(BY_NODE).arg(suite.bin(name));
            let task = task.args(["-c", "-i", "10", "-x", "2", "-m", "1:65536"]);
            quiet(task.limit(240).run()?).map(drop)
        }));
    }
    list
}

/// How such jobs end, one after another on hosts where nothing else runs.
pub fn ends<'a>(suite: &'a Suite, network: &'a Network) -> Vec<Case<'a>> {
    type Body = fn(&Suite, &Network) -> Result<(), String>;
    let list: [(&str, Body); 4] = [
        ("a rank killed", killed),
        ("abort", aborted),
        ("a host whose agent dies", agent_killed),
        ("a lost peer is called by its rank", lost),
    ];
    let case = |(name, body): (&str, Body)| {
        Case::new(format!("by node: {name}"), move || body(suite, network))
    };
    list.into_iter().map(case).collect()
}

/// A C program with its ranks dealt to the hosts in turn.
pub fn program<'a>(
    suite: &'a Suite,
    network: &'a Network,
    (hosts, ranks): (usize, usize),
    program: &programs::Program,
    ways: &[Between],
) -> Vec<Case<'a>> {
    let case = |way: &Between| {
        let (way, binary, seconds) = (*way, program.binary.clone(), program.seconds);
        let name = format!("{} np={ranks} by node on {hosts} hosts", program.name);
        Case::new(format!("{name}{}", way.suffix), move || {
            let task = over(way, mpiexec(suite, network, hosts, ranks)).args(BY_NODE);
            task.arg(&binary).limit(seconds).run()?.says("ok\n")
        })
    };
    [TCP].iter().chain(ways).map(case).collect()
}

fn places(suite: &Suite, network: &Network, options: &str, expected: &str) -> Result<(), String> {
    let binary = compiled(suite)?;
    let mut task = mpiexec(suite, network, 3, 6);
    let mut words = options.split_whitespace();
    // A list in the options replaces that of all hosts.
    if let Some((before, list)) = options.split_once("-hosts ") {
        let (list, after) = list.split_once(' ').unwrap_or((list, ""));
        task = on(suite, network, &named(network, list));
        task = task.args(before.split_whitespace().chain(after.split_whitespace()));
        words = "".split_whitespace();
    }
    let outcome = quiet(task.args(words).arg(&binary).limit(120).run()?)?;
    let expected = expected.split(' ').map(|place| {
        let (host, local) = place.split_once('.').expect("a host and a number");
        format!("{}.{local} ", named(network, host))
    });
    let expected = expected.collect::<String>() + "\n";
    if outcome.out == expected { Ok(()) } else { Err(format!("not {expected}{}", outcome.out)) }
}

/// Each rank runs its own of two programs, on whatever host it is, and knows which.
fn two_programs(suite: &Suite, network: &Network) -> Result<(), String> {
    let binary = compiled(suite)?;
    let task = mpiexec(suite, network, 3, 4).args(BY_NODE).arg(&binary).arg("0");
    let task = task.args([":", "-n", "2"]).arg(&binary).arg("1").limit(120);
    let outcome = quiet(task.run()?)?;
    let there = |number| outcome.out.matches(&network.host(number)).count();
    if [1, 2, 3].map(there) == [2, 2, 2] { Ok(()) } else { Err(outcome.describe()) }
}

/// The program is compiled once: two cases run at a time, and one of them may start it already.
fn compiled(suite: &Suite) -> Result<PathBuf, String> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let compile = || {
        let source = suite.places.root.join("bindings/tests/c/placement/where.c");
        let binary = programs::scratch(suite, "where");
        programs::compile(suite, &source, &binary).map(|()| binary)
    };
    BINARY.get_or_init(compile).clone()
}

/// Numbers of hosts become their names.
fn named(network: &Network, list: &str) -> String {
    let name = |host: &str| {
        let (number, slots) = host.split_once(':').map_or((host, None), |(n, s)| (n, Some(s)));
        let name = network.host(number.parse().expect("a host's number"));
        slots.map_or(name.clone(), |slots| format!("{name}:{slots}"))
    };
    list.split(',').map(name).collect::<Vec<_>>().join(",")
}

fn on(suite: &Suite, network: &Network, list: &str) -> Task {
    let before = [network.on().to_owned(), network.host(1).into()];
    let task = suite.mpiexec_below(&before, 6, crate::suite::Lanes::Shm);
    task.arg("-launcher-exec").arg(network.on()).args(["-hosts", list])
}

/// What each rank says is said in its name, what it reads is meant for it, what it runs is its own.
fn names(suite: &Suite, network: &Network) -> Result<(), String> {
    let shell = |text: &str| ["sh".to_owned(), "-c".to_owned(), text.to_owned()];
    let task = Task::new("sh").args(["-c", "echo for three | exec \"$0\" \"$@\""]);
    let task = task.arg(network.on()).arg(network.host(1)).arg(suite.bin("mpiexec"));
    let task = task.arg("-launcher-exec").arg(network.on()).args(["-hosts", &network.list(2)]);
    let task = task.args(BY_NODE).args(["-l", "-stdin", "3", "-n", "2"]);
    let task = task.args(shell("cat; echo one $PMI_RANK $(hostname)"));
    let task = task.args([":", "-n", "2"]).args(shell("cat; echo two $PMI_RANK $(hostname)"));
    let outcome = quiet(task.limit(60).run()?)?;
    let mut lines: Vec<&str> = outcome.out.lines().collect();
    lines.sort_unstable();
    let line = |rank: usize, program: &str| {
        format!("[{rank}] {program} {rank} {}", network.host(1 + rank % 2))
    };
    let mut expected = vec![line(0, "one"), line(1, "one"), line(2, "two"), line(3, "two")];
    expected.insert(3, "[3] for three".to_owned());
    if lines == expected { Ok(()) } else { Err(outcome.describe()) }
}

/// In Python, with four ranks on two hosts in turn: rank 2 is the second of the first host.
fn job(suite: &Suite, network: &Network, name: &str, text: &str) -> Result<Task, String> {
    python_job_with(suite, network, &BY_NODE, name, text)
}

fn killed(suite: &Suite, network: &Network) -> Result<(), String> {
    let text = "c.barrier()\nif c.rank == 2: os.kill(os.getpid(), signal.SIGKILL)\nc.barrier()";
    let outcome = job(suite, network, "kill-by-node.py", text)?.run()?;
    let host = format!("rank 2  host {}  pid", network.host(1));
    let words = ["rank 2 failed first", &host, "ranks 0-1,3 were waiting in MPI_Barrier"];
    ends_with(network, &outcome, 137, &words)
}

fn aborted(suite: &Suite, network: &Network) -> Result<(), String> {
    let text = "c.barrier()\nif c.rank == 1: c.Abort(7)\nc.barrier()";
    let outcome = job(suite, network, "abort-by-node.py", text)?.run()?;
    let said = format!("MPI_Abort was called by rank 1 on host {}", network.host(2));
    ends_with(network, &outcome, 7, &["rank 1 ended the job by MPI_Abort", &said])
}

fn agent_killed(suite: &Suite, network: &Network) -> Result<(), String> {
    let text = "c.barrier()\nif c.rank == 3: os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)";
    let outcome = job(suite, network, "agent-by-node.py", text)?.run()?;
    let words = format!("error[S0111]: host {} is lost (ranks 1,3)", network.host(2));
    ends_with(network, &outcome, 1, &[&words])
}

/// The transport knows processes only: this one is number 1 there. It dies when all have left the
/// barrier: who is still in it hears of the loss there.
fn lost(suite: &Suite, network: &Network) -> Result<(), String> {
    let text = "\
c.Set_errhandler(MPI.ERRORS_RETURN)
c.barrier()
if c.rank == 2:
    for rank in (0, 1, 3): c.Recv(bytearray(1), source=rank)
    os.kill(os.getpid(), signal.SIGKILL)
c.Send(bytearray(1), dest=2)
try:
    c.Recv(bytearray(1), source=2)
except MPI.Exception as e:
    print(c.rank, e.Get_error_string(), flush=True)
    time.sleep(0.2)";
    let task = job(suite, network, "lost-by-node.py", text)?;
    let outcome = task.run()?;
    for rank in [0, 1, 3] {
        let line = outcome.out.lines().find(|line| line.starts_with(&format!("{rank} ")));
        if !line.is_some_and(|line| line.contains("peer 2 is lost")) {
            return Err(format!("rank {rank}: {}", outcome.describe()));
        }
    }
    ends_with(network, &outcome, 137, &["rank 2 failed first"])
}
