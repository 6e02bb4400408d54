// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Jobs whose second host is reached by ssh (sshd.rs): what comes through, and what is said when
//! it does not.

use super::{left, script};
use crate::network::Network;
use crate::process::{self, Outcome, Task};
use crate::sshd::Servers;
use crate::suite::cases::Case;
use crate::suite::{Face, Lanes, Suite, programs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The cases; `servers` run on hosts 2 and 3.
pub fn cases<'a>(suite: &'a Suite, network: &'a Network, servers: &'a Servers) -> Vec<Case<'a>> {
    type Body = fn(&Suite, &Network, &Servers) -> Result<(), String>;
    let list: [(&str, Body); 10] = [
        ("a program", program),
        ("a host that starts another", through),
        ("input to a rank there, and its output", input_and_output),
        ("an exit code from there", exit_code),
        ("a rank killed there", killed),
        ("^C", interrupted),
        ("a host key that nobody knows", stranger),
        ("a host where nobody listens, and one that is not", nobody),
        ("a host that is cut off", cut_off),
        ("a host that is frozen, though its sshd answers", frozen),
    ];
    list.into_iter()
        .map(|(name, body)| {
            Case::new(format!("by ssh: {name}"), move || body(suite, network, servers))
        })
        .collect()
}

fn mpiexec(suite: &Suite, network: &Network, ssh: &Path, hosts: &str, ranks: usize) -> Task {
    let before = [network.on().to_owned(), PathBuf::from(network.host(1))];
    let task = suite.mpiexec_below(&before, ranks, Lanes::Shm).args(["-launcher", "ssh"]);
    task.arg("-launcher-exec").arg(ssh).args(["-hosts", hosts])
}

fn on_two(suite: &Suite, network: &Network, servers: &Servers) -> Task {
    mpiexec(suite, network, &servers.ssh(), &network.list(2), 4)
}

fn nothing_left(network: &Network, servers: &Servers) -> Result<(), String> {
    left(network, &servers.processes())
}

fn ends_with(
    network: &Network,
    servers: &Servers,
    outcome: &Outcome,
    code: i32,
    words: &[&str],
) -> Result<(), String> {
    super::says(outcome, code, words)?;
    nothing_left(network, servers)
}

fn program(suite: &Suite, network: &Network, servers: &Servers) -> Result<(), String> {
    let task = on_two(suite, network, servers).arg(programs::scratch(suite, "collectives"));
    let outcome = task.limit(120).run()?;
    if outcome.success() && outcome.out == "ok\n" && outcome.err.is_empty() {
        nothing_left(network, servers)
    } else {
        Err(outcome.describe())
    }
}

/// Host 2 reaches host 3 with the same ssh.
fn through(suite: &Suite, network: &Network, servers: &Servers) -> Result<(), String> {
    let task = mpiexec(suite, network, &servers.ssh(), &network.list(3), 6);
    let task = task.args(["-fan-out", "1"]).arg(programs::scratch(suite, "collectives"));
    let outcome = task.limit(120).run()?;
    if outcome.success() && outcome.out == "ok\n" && outcome.err.is_empty() {
        nothing_left(network, servers)
    } else {
        Err(outcome.describe())
    }
}

/// A thousand lines to the last rank, which is on the other host, and back.
fn input_and_output(suite: &Suite, network: &Network, servers: &Servers) -> Result<(), String> {
    let shell = Task::new("sh").args(["-c", "seq 1000 | exec \"$0\" \"$@\""]);
    let task = shell.arg(network.on()).arg(network.host(1)).arg(suite.bin("mpiexec"));
    let task = task.args(["-n", "4", "-launcher", "ssh", "-launcher-exec"]).arg(servers.ssh());
    let list = network.list(2);
    let task = task.args(["-hosts", &list, "-stdin", "3", "sh", "-c"]);
    let task = task.arg("hostname; while read n; do echo \"$n of rank $PMI_RANK\"; done");
    let outcome = task.limit(60).run()?;
    let host = network.host(2);
    let lines: Vec<&str> = outcome.out.lines().collect();
    let echoed: Vec<&str> = lines.iter().filter(|l| l.ends_with(" of rank 3")).copied().collect();
    let expected: Vec<String> = (1..=1000).map(|n| format!("{n} of rank 3")).collect();
    let there = lines.iter().filter(|line| **line == host).count();
    if outcome.success() && echoed == expected && there == 2 && lines.len() == 1004 {
        nothing_left(network, servers)
    } else {
        Err(format!("{} lines, {there} from {host}: {}", lines.len(), outcome.describe()))
    }
}

fn exit_code(suite: &Suite, network: &Network, servers: &Servers) -> Result<(), String> {
    let line = "if [ $PMI_RANK = 2 ]; then exit 5; fi; sleep 100";
    let outcome = on_two(suite, network, servers).args(["sh", "-c", line]).limit(60).run()?;
    let host = format!("rank 2  host {}", network.host(2));
    ends_with(network, servers, &outcome, 5, &["rank 2 failed first", &host, "exit code 5"])
}

fn killed(suite: &Suite, network: &Network, servers: &Servers) -> Result<(), String> {
    let text = "c.barrier()\nif c.rank == 3: os.kill(os.getpid(), signal.SIGKILL)\nc.barrier()";
    let file = script(suite, "ssh-kill.py", text)?;
    let python = suite.python(Face::Mpich)?;
    let outcome = on_two(suite, network, servers).arg(python).arg(file).limit(120).run()?;
    let words = ["rank 3 failed first", "SIGKILL", &network.host(2)];
    ends_with(network, servers, &outcome, 137, &words)
}

fn interrupted(suite: &Suite, network: &Network, servers: &Servers) -> Result<(), String> {
    let task = on_two(suite, network, servers).args(["sh", "-c", "echo here; sleep 100"]);
    let running = task.own_group().limit(60).start()?;
    wait_for("here", 4, &running);
    process::signal_group(running.pid(), "INT");
    ends_with(network, servers, &running.finish()?, 130, &[])
}

/// Waits until these words were written so often.
pub fn wait_for(words: &str, count: usize, running: &process::Running) {
    let begun = Instant::now();
    while running.written().matches(words).count() < count
        && begun.elapsed() < Duration::from_secs(30)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn stranger(suite: &Suite, network: &Network, servers: &Servers) -> Result<(), String> {
    let ssh = servers.ssh_of_a_stranger();
    let outcome = mpiexec(suite, network, &ssh, &network.list(2), 4).arg("true").limit(60).run()?;
    let cannot = format!("error[S0111]: cannot start on host {} (ranks 2-3)", network.host(2));
    let words = ["Host key verification failed", &cannot, "ended with exit code 255", "help:"];
    ends_with(network, servers, &outcome, 1, &words)
}

/// The first host has no sshd, so this mpiexec runs on the second; the other host is nowhere.
fn nobody(suite: &Suite, network: &Network, servers: &Servers) -> Result<(), String> {
    for (host, why) in [
        (network.host(1), "Connection refused"),
        ("no-such-host".to_owned(), "Could not resolve hostname"),
    ] {
        let before = [network.on().to_owned(), PathBuf::from(network.host(2))];
        let task = suite.mpiexec_below(&before, 2, Lanes::Shm).args(["-launcher", "ssh"]);
        let hosts = format!("{},{host}", network.host(2));
        let task = task.arg("-launcher-exec").arg(servers.ssh()).args(["-hosts", &hosts]);
        let outcome = task.arg("true").limit(60).run()?;
        let cannot = format!("error[S0111]: cannot start on host {host} (rank 1)");
        let words = [why, &cannot, "ended with exit code 255", "help:"];
        ends_with(network, servers, &outcome, 1, &words)?;
    }
    Ok(())
}

/// The link goes down amid a job: half a minute later the host counts as lost.
fn cut_off(suite: &Suite, network: &Network, servers: &Servers) -> Result<(), String> {
    let file = script(suite, "ssh-cut.py", "c.barrier()\nprint('ready', flush=True)\nc.recv()")?;
    let python = suite.python(Face::Mpich)?;
    let running = on_two(suite, network, servers).arg(python).arg(file).limit(180).start()?;
    wait_for("ready", 4, &running);
    network.set_link(2, "down")?;
    let outcome = running.finish();
    network.set_link(2, "up")?;
    let lost = format!("error[S0111]: host {} is lost (ranks 2-3)", network.host(2));
    // Its processes end when their beats find that nobody is there any more.
    ends_with(network, servers, &outcome?, 1, &[&lost])
}

/// All of a host's processes are stopped but its sshd, which goes on to answer.
fn frozen(suite: &Suite, network: &Network, servers: &Servers) -> Result<(), String> {
    let file = script(suite, "ssh-frozen.py", "c.barrier()\nprint('ready', flush=True)\nc.recv()")?;
    let python = suite.python(Face::Mpich)?;
    let running = on_two(suite, network, servers).arg(python).arg(file).limit(180).start()?;
    wait_for("ready", 4, &running);
    let is_ssh = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sshd\n")
    };
    let frozen: Vec<u32> = network.processes_of(2).into_iter().filter(|pid| !is_ssh(pid)).collect();
    frozen.iter().for_each(|pid| process::signal(*pid, "STOP"));
    let outcome = running.finish();
    frozen.iter().for_each(|pid| process::signal(*pid, "CONT"));
    let lost = format!(
        "error[S0111]: host {} is lost (ranks 2-3): nothing was heard from it for \
                        30 s",
        network.host(2)
    );
    ends_with(network, servers, &outcome?, 1, &[&lost])
}
