// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Hosts that are joined by two links (`-iface eth0,eth1`): both are used, and when one breaks or
//! drops everything amid a transfer, the job goes on over the other with the right data. That a
//! silent link is noticed takes 3 s; the limits here only end what hangs.

use super::ssh::wait_for;
use super::{ends_with, mpiexec, nothing_left, script};
use crate::network::Network;
use crate::process::{Outcome, Running};
use crate::suite::cases::Case;
use crate::suite::{Face, Suite, programs};
use std::time::Duration;

/// Both ways between each rank and one of the other host: short and long messages, each byte
/// compared, for some seconds after `ready`.
const STREAM: &str = "
import sys
other = (c.rank + 2) % 4
def body(rank, i, n):
    unit = bytes((rank * 7 + i * 13 + k) & 255 for k in range(251))
    return (unit * (n // 251 + 1))[:n]
start, i = time.time(), 0
while True:
    n = (3, 3000, 70000, 300000, 4 << 20)[i % 5]
    mine, theirs = body(c.rank, i, n), bytearray(n)
    requests = [c.Irecv(theirs, other, i), c.Isend(mine, other, i)]
    assert c.sendrecv(i, other, 99999, None, other, 99999) == i
    MPI.Request.Waitall(requests)
    assert theirs == body(other, i, n), (c.rank, i)
    i += 1
    if i == 20: print('ready', flush=True)
    if not c.allreduce(int(i < 20 or time.time() - start < SECONDS), op=MPI.MIN): break
print('right', flush=True)
";

const GOES_ON: &str = "it goes on over another interface";

/// The cases.
pub fn cases<'a>(suite: &'a Suite, network: &'a Network) -> Vec<Case<'a>> {
    let mut list = vec![
        Case::new("two links are both used", || both(suite, network)),
        Case::new("two links, one of which is taken down amid a transfer", || down(suite, network)),
        Case::new("two links, one of which is unplugged at its other end", || {
            unplugged(suite, network)
        }),
        Case::new("two links, one silent, later back, then the other silent", || {
            silent_in_turn(suite, network)
        }),
        Case::new("two links, both silent for a while", || both_silent(suite, network)),
        Case::new("two links, one of which a host does not have", || missing(suite, network)),
        Case::new("two links, and a rank is killed", || killed(suite, network)),
    ];
    for name in ["order", "collectives", "rma_random", "large"] {
        list.push(Case::new(format!("two links, {name}"), move || {
            let task = mpiexec(suite, network, 2, 4).args(["-iface", "eth0,eth1"]);
            let outcome = task.arg(programs::scratch(suite, name)).limit(300).run()?;
            let good = outcome.success() && outcome.out == "ok\n" && outcome.err.is_empty();
            if good { nothing_left(network) } else { Err(outcome.describe()) }
        }));
    }
    list
}

fn begin(suite: &Suite, network: &Network, links: &str, seconds: u32) -> Result<Running, String> {
    let text = STREAM.replace("SECONDS", &seconds.to_string());
    let file = script(suite, &format!("links{seconds}.py"), &text)?;
    let task = mpiexec(suite, network, 2, 4).args(["-iface", links]);
    task.arg(suite.python(Face::Mpich)?).arg(file).limit(120).start()
}

/// It was right, and spoke of lost connections or did not.
fn right(network: &Network, outcome: &Outcome, speaks: bool) -> Result<(), String> {
    let all = outcome.out.matches("right").count() == 4;
    let said = match speaks {
        true => outcome.err.contains(GOES_ON),
        false => outcome.err.is_empty(),
    };
    if outcome.success() && all && said { nothing_left(network) } else { Err(outcome.describe()) }
}

fn both(suite: &Suite, network: &Network) -> Result<(), String> {
    let sent = || Ok([network.sent(1, "eth0")?, network.sent(1, "eth1")?]);
    let before: Result<[u64; 2], String> = sent();
    let before = before?;
    right(network, &begin(suite, network, "eth0,eth1", 3)?.finish()?, false)?;
    let after: Result<[u64; 2], String> = sent();
    let [first, second] = after?;
    let (first, second) = (first - before[0], second - before[1]);
    // Each gets frames by how fast it was beside the other, which other programs change. What is
    // not long goes over one, a hundredth of all.
    if first.min(second) < (first + second) / 20 {
        return Err(format!("{first} bytes left by eth0, and {second} by eth1"));
    }
    // With one interface named nothing goes over the other.
    right(network, &begin(suite, network, "eth0", 1)?.finish()?, false)?;
    match network.sent(1, "eth1")? - before[1] - second {
        few if few < 100_000 => Ok(()),
        many => Err(format!("{many} bytes left by eth1, which was not named")),
    }
}

/// The host itself takes its interface down: connections stay, and nothing comes or goes.
fn down(suite: &Suite, network: &Network) -> Result<(), String> {
    let running = begin(suite, network, "eth0,eth1", 10)?;
    wait_for("ready", 4, &running);
    network.set_link(2, "down")?;
    let outcome = running.finish();
    network.set_link(2, "up")?;
    right(network, &outcome?, true)
}

fn unplugged(suite: &Suite, network: &Network) -> Result<(), String> {
    let running = begin(suite, network, "eth0,eth1", 10)?;
    wait_for("ready", 4, &running);
    network.set_port(2, "down")?;
    let outcome = running.finish();
    network.set_port(2, "up")?;
    right(network, &outcome?, true)
}

/// The first link drops all packets for a while. When it serves again the second one does: had the
/// first not come back, the job would stand still.
fn silent_in_turn(suite: &Suite, network: &Network) -> Result<(), String> {
    let running = begin(suite, network, "eth0,eth1", 30)?;
    wait_for("ready", 4, &running);
    let silence = |link, seconds| {
        network.set_silent(2, link, true)?;
        std::thread::sleep(Duration::from_secs(seconds));
        network.set_silent(2, link, false)
    };
    silence("eth0", 7)?;
    // It is called again after 1, 2, 4 s; a call that nobody answered has 5 s.
    std::thread::sleep(Duration::from_secs(9));
    network.set_silent(2, "eth1", true)?;
    let outcome = running.finish();
    network.set_silent(2, "eth1", false)?;
    right(network, &outcome?, true)
}

/// The last rail is not given up for silence: when the links are back, so is the job.
fn both_silent(suite: &Suite, network: &Network) -> Result<(), String> {
    let running = begin(suite, network, "eth0,eth1", 20)?;
    wait_for("ready", 4, &running);
    // The name stands for both.
    network.set_silent(2, "eth*", true)?;
    std::thread::sleep(Duration::from_secs(8));
    network.set_silent(2, "eth*", false)?;
    let outcome = running.finish()?;
    let all = outcome.out.matches("right").count() == 4;
    if outcome.success() && all { nothing_left(network) } else { Err(outcome.describe()) }
}

/// Both of its connections end: that is its death, not the failure of a link.
fn killed(suite: &Suite, network: &Network) -> Result<(), String> {
    let text = "c.barrier()\nc.sendrecv(1, (c.rank + 2) % 4, source=(c.rank + 2) % 4)\n\
                if c.rank == 3: os.kill(os.getpid(), signal.SIGKILL)\nc.barrier()";
    let file = script(suite, "links-kill.py", text)?;
    let task = mpiexec(suite, network, 2, 4).args(["-iface", "eth0,eth1"]);
    let outcome = task.arg(suite.python(Face::Mpich)?).arg(file).limit(120).run()?;
    if outcome.err.contains(GOES_ON) {
        return Err(outcome.describe());
    }
    ends_with(network, &outcome, 137, &["rank 3 failed first", "SIGKILL", &network.host(2)])
}

fn missing(suite: &Suite, network: &Network) -> Result<(), String> {
    let outcome = begin(suite, network, "eth0,eth7", 1)?.finish()?;
    let words = ["STRAIT_TCP_INTERFACE is `eth7`", "eth0 (10.77.0.", "eth1 (10.78.0."];
    match words.iter().find(|words| !outcome.err.contains(**words)) {
        None if !outcome.success() => nothing_left(network),
        missing => Err(format!("no {missing:?}: {}", outcome.describe())),
    }
}
