// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Hosts that are frozen or slow, and networks that lose packets: the job ends within the time
//! that docs/mpiexec.md states, or is right. The limits here only end what hangs.

use super::ssh::wait_for;
use super::{ends_with, mpiexec, nothing_left, python_job, script};
use crate::network::Network;
use crate::process;
use crate::suite::cases::Case;
use crate::suite::faults as keeping;
use crate::suite::{Face, Suite, programs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The cases.
pub fn cases<'a>(suite: &'a Suite, network: &'a Network) -> Vec<Case<'a>> {
    let mut list = vec![
        Case::new("a host that is frozen", || frozen(suite, network)),
        Case::new("a host that is frozen and had started another", || {
            frozen_inside(suite, network)
        }),
        Case::new("mpiexec is stopped for longer than a host may be silent", || {
            stopped(suite, network)
        }),
        Case::new("a host that runs a fifth of the time", || slow(suite, network)),
    ];
    for name in ["order", "collectives", "large"] {
        list.push(Case::new(format!("{name} with 10 % of the packets lost"), move || {
            lossy(suite, network, name)
        }));
    }
    for (name, least, code) in keeping::POINTS.iter().filter(|(name, ..)| *name != "long") {
        let title = format!("a rank dies and the others go on: {name}");
        let ranks = 4.max(*least);
        list.push(Case::new(title, move || goes_on(suite, network, (ranks, name, *code))));
    }
    list.push(Case::new("a host is lost and the others go on", || without(suite, network)));
    list
}

/// Of ranks on two hosts one dies.
fn goes_on(
    suite: &Suite,
    network: &Network,
    (ranks, point, code): (usize, &str, i32),
) -> Result<(), String> {
    let binary = keeping::compiled(suite, "points")?;
    for seed in ["1", "2"] {
        let task = mpiexec(suite, network, 2, ranks).arg("--keep-going");
        let outcome = task.arg(&binary).args([point, seed]).limit(120).run()?;
        keeping::judge(&outcome, code)?;
    }
    nothing_left(network)
}

/// The agent of a host is killed, and with it its ranks.
fn without(suite: &Suite, network: &Network) -> Result<(), String> {
    let binary = keeping::compiled(suite, "points")?;
    let task = mpiexec(suite, network, 3, 6).arg("--keep-going");
    let running = task.arg(&binary).args(["host", "1"]).limit(120).start()?;
    wait_for("ready", 1, &running);
    network.processes_of(3).iter().for_each(|pid| process::signal(*pid, "KILL"));
    let outcome = running.finish()?;
    let lost = format!("error[S0111]: host {} is lost (ranks 4-5)", network.host(3));
    let good = outcome.code == Some(1) && outcome.out == "ready\nok\n";
    match good && outcome.err.contains(&lost) {
        true => nothing_left(network),
        false => Err(outcome.describe()),
    }
}

/// All of a host's processes are stopped; its network goes on. Half a minute later it is lost.
fn frozen(suite: &Suite, network: &Network) -> Result<(), String> {
    let text = "c.barrier()\nprint('ready', flush=True)\nc.recv()";
    let running = python_job(suite, network, "frozen.py", text)?.limit(180).start()?;
    wait_for("ready", 4, &running);
    let frozen = network.processes_of(2);
    frozen.iter().for_each(|pid| process::signal(*pid, "STOP"));
    let outcome = running.finish();
    frozen.iter().for_each(|pid| process::signal(*pid, "CONT"));
    let lost = format!(
        "error[S0111]: host {} is lost (ranks 2-3): nothing was heard from it for 30 s",
        network.host(2)
    );
    ends_with(network, &outcome?, 1, &[&lost])
}

/// The host in the middle of a chain is stopped: both are lost, and one report says so.
fn frozen_inside(suite: &Suite, network: &Network) -> Result<(), String> {
    let file = script(suite, "inside.py", "c.barrier()\nprint('ready', flush=True)\nc.recv()")?;
    let python = suite.python(Face::Mpich)?;
    let task = mpiexec(suite, network, 3, 6).args(["-fan-out", "1"]).arg(python).arg(file);
    let running = task.limit(180).start()?;
    wait_for("ready", 6, &running);
    let frozen = network.processes_of(2);
    frozen.iter().for_each(|pid| process::signal(*pid, "STOP"));
    let outcome = running.finish();
    frozen.iter().for_each(|pid| process::signal(*pid, "CONT"));
    let lost = format!(
        "error[S0111]: host {} is lost (ranks 2-3): nothing was heard from it for 30 s",
        network.host(2)
    );
    let behind = format!("with it 1 hosts behind it (ranks 4-5): {}", network.host(3));
    ends_with(network, &outcome?, 1, &[&lost, &behind])
}

/// mpiexec itself is stopped, as by ^Z, and goes on: the silence was its own.
fn stopped(suite: &Suite, network: &Network) -> Result<(), String> {
    let text = "c.barrier()\nprint('ready', flush=True)\ntime.sleep(40)\nc.barrier()";
    let running = python_job(suite, network, "stopped.py", text)?.limit(180).start()?;
    wait_for("ready", 4, &running);
    process::signal(running.pid(), "STOP");
    std::thread::sleep(Duration::from_secs(35));
    process::signal(running.pid(), "CONT");
    super::quiet(running.finish()?)?;
    nothing_left(network)
}

/// One host's processes are stopped for 400 ms of each 500: nobody is lost, every sum is right.
fn slow(suite: &Suite, network: &Network) -> Result<(), String> {
    let text = "c.barrier()\nprint('ready', flush=True)\n\
                for i in range(200):\n    assert c.allreduce(c.rank + i) == 6 + 4 * i\n\
                if c.rank == 0: print('right')";
    let file = script(suite, "slow.py", text)?;
    let python = suite.python(Face::Mpich)?;
    let running = mpiexec(suite, network, 2, 4).arg(python).arg(file).limit(300).start()?;
    wait_for("ready", 1, &running);
    let over = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let stopped = network.processes_of(2);
                stopped.iter().for_each(|pid| process::signal(*pid, "STOP"));
                std::thread::sleep(Duration::from_millis(400));
                stopped.iter().for_each(|pid| process::signal(*pid, "CONT"));
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let outcome = running.finish();
        over.store(true, Ordering::Relaxed);
        outcome
    })?;
    if outcome.success() && outcome.out.contains("right") && outcome.err.is_empty() {
        nothing_left(network)
    } else {
        Err(outcome.describe())
    }
}

/// A tenth of what reaches host 2 is lost: the program is right, and something was lost indeed.
fn lossy(suite: &Suite, network: &Network, name: &str) -> Result<(), String> {
    network.set_loss(2, 10)?;
    let task = mpiexec(suite, network, 2, 4).arg(programs::scratch(suite, name));
    let outcome = task.limit(300).run();
    let lost = network.lost(2);
    network.set_loss(2, 0)?;
    let outcome = outcome?;
    if !(outcome.success() && outcome.out == "ok\n") {
        return Err(outcome.describe());
    }
    if lost? == 0 {
        return Err("no packet was lost: nothing was tried".into());
    }
    nothing_left(network)
}
