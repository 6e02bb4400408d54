// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `strait simulate startup`: how long mpiexec takes to start a job on many hosts, and how much
//! memory that needs. On paper: sums of constants that were measured on one machine of two
//! processors, beside what the same sums say of jobs that ran there.
//!
//! Where two things may overlap they are added, so the time is an upper bound of what is in it. Not
//! in it: the network, the file system (all nodes load the same program), name services, and a
//! first collective of the program.

use super::aligned;
use crate::mpiexec::groups;
use clap::Args;
use std::fmt::Write;
use strait_transport::node::{LOCAL_SIZE_MAX, NodeLayout};

/// The options of `strait simulate startup`.
#[derive(Args, Debug)]
pub struct Options {
    /// How many nodes.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    nodes: u32,
    /// Ranks of a node.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(LOCAL_SIZE_MAX)))]
    ppn: u32,
    /// Processors of a node; as many as ranks if not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    cores: Option<u32>,
    /// Hosts that one host starts (mpiexec -fan-out); 0: any number.
    #[arg(long, default_value_t = 32)]
    fan_out: usize,
    /// From the start of the launcher to the first word of what it started, in milliseconds. The
    /// default is ssh to the same machine, the best of 15, while other programs ran.
    #[arg(long, default_value_t = 650.0)]
    launch_ms: f64,
}

/// What was measured, in milliseconds of one processor and in KiB. Fitted to mpiexec's, an agent's
/// and a rank's own processor time (/proc/PID/schedstat) in jobs of 1 to 64 hosts, all of them one
/// machine (`-launcher fork`), and of 1, 16 and 64 ranks of one host (docs/simulation.md).
struct Constants {
    /// mpiexec without hosts.
    head_ms: f64,
    /// A host that a process starts itself: its launcher, its order.
    port_ms: f64,
    /// The frames of a host, at mpiexec and at each host on their way.
    host_ms: f64,
    /// An agent without ranks: to find the programs, to make the node memory.
    agent_ms: f64,
    /// A rank, for its agent: to start it, to pass it the node memory, to reap it.
    rank_ms: f64,
    /// A rank itself, from exec to the end of MPI_Init.
    init_ms: f64,
    /// Memory of mpiexec or an agent, of a port, of a host behind another, of a rank in its agent,
    /// and of a rank itself without its peers.
    process_kib: f64,
    port_kib: f64,
    behind_kib: f64,
    local_kib: f64,
    rank_kib: f64,
    /// A peer, in each rank: a byte tells whether the endpoints of a page of 64, 128 bytes each,
    /// were made, which happens when one of them is looked at (transport/src/endpoints.rs). The
    /// group of MPI_COMM_WORLD is a range.
    peer_bytes: f64,
}

const MEASURED: Constants = Constants {
    head_ms: 2.1,
    port_ms: 0.20,
    host_ms: 0.02,
    agent_ms: 1.8,
    rank_ms: 0.12,
    init_ms: 1.3,
    process_kib: 272.0,
    port_kib: 8.2,
    behind_kib: 1.6,
    local_kib: 1.0,
    rank_kib: 290.0,
    peer_bytes: 1.0 / 64.0,
};

/// Processor time of whole jobs on that machine, user and system, the best of three: hosts, ranks
/// of each, milliseconds. None of them was fitted to.
const JOBS: &[(u32, u32, f64)] =
    &[(1, 16, 25.6), (2, 16, 49.2), (5, 16, 125.9), (10, 1, 35.2), (10, 4, 92.1), (10, 16, 267.0)];

/// From its launch until all agents of a group of hosts are ready, and how many steps that are.
fn tree_ms(hosts: usize, options: &Options) -> (f64, u32) {
    let c = &MEASURED;
    let leaf = options.launch_ms + c.agent_ms;
    if hosts == 1 {
        return (leaf, 1);
    }
    // It starts its own agent without a launcher, and the others one after another.
    let others = groups(&vec![(); hosts - 1], options.fan_out);
    let largest = others.iter().map(Vec::len).max().unwrap_or(1);
    let (below, steps) = tree_ms(largest, options);
    let own = c.agent_ms + (others.len() + 1) as f64 * c.port_ms + hosts as f64 * c.host_ms;
    (options.launch_ms + own + below, steps + 1)
}

/// What all processors together spend on a job whose hosts need no launcher.
fn work_ms(hosts: u32, ppn: u32) -> f64 {
    let c = &MEASURED;
    let rank = c.rank_ms + c.init_ms;
    c.head_ms + f64::from(hosts) * (c.port_ms + c.host_ms + c.agent_ms + f64::from(ppn) * rank)
}

/// The whole text.
pub fn report(options: &Options) -> String {
    let c = &MEASURED;
    let (nodes, ppn) = (options.nodes, options.ppn);
    let cores = options.cores.unwrap_or(ppn);
    let size = u64::from(nodes) * u64::from(ppn);
    let first = groups(&vec![(); nodes as usize], options.fan_out);
    let largest = first.iter().map(Vec::len).max().unwrap_or(1);
    let (below, steps) = tree_ms(largest, options);
    let ports = first.len() as f64;
    let launch = c.head_ms + ports * c.port_ms + below;
    let frames = f64::from(nodes) * c.host_ms;
    let spawn = f64::from(ppn) * c.rank_ms;
    let init = f64::from(ppn.div_ceil(cores)) * c.init_ms;
    let mut text = format!(
        "# mpiexec on {nodes} nodes of {ppn} ranks ({size} in all), on paper\n\
         # at most {} hosts from each: {steps} steps; a launcher takes {} ms\n",
        if options.fan_out == 0 { "any number of".to_owned() } else { options.fan_out.to_string() },
        options.launch_ms
    );
    let ms = |name: &str, value: f64| vec![name.to_owned(), format!("{value:.1}")];
    text.push_str(&aligned(&[
        ms("# Time, ms: agents are started, a step after another", launch),
        ms("mpiexec hears of each host, twice", 2.0 * frames),
        ms("agents start their ranks, one after another", spawn),
        ms("ranks load and pass MPI_Init", init),
        ms("in all", launch + 2.0 * frames + spawn + init),
    ]));
    let behind = f64::from(nodes) - ports;
    let head = c.process_kib + ports * c.port_kib + behind * c.behind_kib;
    let router = c.process_kib + (options.fan_out.min(largest) + 1) as f64 * c.port_kib;
    let agent = c.process_kib + f64::from(ppn) * c.local_kib;
    let peers = size as f64 * c.peer_bytes / 1024.0;
    let rank = c.rank_kib + peers;
    let layout = u32::try_from(size).ok().map(|size| NodeLayout::of_part(ppn, size).total_bytes());
    let mib = |name: &str, kib: f64| vec![name.to_owned(), format!("{:.1}", kib / 1024.0)];
    let mut rows = vec![
        mib("# Memory, MiB: mpiexec", head),
        mib("a node: its agent", agent),
        mib("a node: what starts other hosts from it, where it does", router),
        mib("a rank: its own", rank),
        mib("a rank: of that what it keeps of peers it does not talk to", peers),
        mib("a node: all of its ranks", rank * f64::from(ppn)),
    ];
    match layout {
        Some(bytes) => rows.push(mib(
            "a node: its shared memory, at most; untouched pages cost nothing",
            bytes as f64 / 1024.0,
        )),
        None => rows.push(vec!["a node: its shared memory: more ranks than 32 bits".into()]),
    }
    let _ = write!(text, "{}", aligned(&rows));
    text.push_str(&validation());
    text
}

/// The same sums for jobs that ran.
fn validation() -> String {
    let mut rows = vec![
        [
            "# Validation, processor ms: hosts",
            "ranks of each",
            "measured",
            "by these sums",
            "error",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for (hosts, ppn, measured) in JOBS {
        let predicted = work_ms(*hosts, *ppn);
        rows.push(vec![
            hosts.to_string(),
            ppn.to_string(),
            format!("{measured:.1}"),
            format!("{predicted:.1}"),
            format!("{:+.0} %", (predicted / measured - 1.0) * 100.0),
        ]);
    }
    format!(
        "{}# Measured on two processors, all hosts on one machine, up to 64 hosts and 160 ranks:\n\
         # the above is an extrapolation by three orders of magnitude. Not in it: network, file\n\
         # system, name service, the program's own start (docs/simulation.md).\n",
        aligned(&rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(nodes: u32, fan_out: usize) -> Options {
        Options { nodes, ppn: 96, cores: None, fan_out, launch_ms: 100.0 }
    }

    #[test]
    fn steps_grow_with_the_logarithm() {
        let steps = |hosts| tree_ms(hosts, &options(1, 32)).1;
        // What is behind one port of mpiexec: itself, then at most 32 others, and so on.
        assert_eq!([1, 2, 33, 34, 313].map(steps), [1, 2, 2, 3, 3]);
        let (flat, _) = tree_ms(313, &options(1, 0));
        let (deep, _) = tree_ms(313, &options(1, 1));
        assert!(deep > 100.0 * flat, "a chain is a launcher after another: {deep} {flat}");
    }

    #[test]
    fn the_sums_are_near_what_was_measured() {
        for (hosts, ppn, measured) in JOBS {
            let error = work_ms(*hosts, *ppn) / measured - 1.0;
            assert!(error.abs() < 0.25, "{hosts} hosts, {ppn} ranks: {error}");
        }
        assert!(report(&options(10_000, 32)).contains("(960000 in all)"));
    }
}
