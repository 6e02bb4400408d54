// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `-ports`: ranks on all hosts listen on these ports and no other, whatever they go by.

use super::{Between, OFI, TCP, UCX, mpiexec, over, quiet, says, script};
use crate::network::Network;
use crate::suite::cases::Case;
use crate::suite::{Face, Suite};

/// Each rank tells the ports that its own sockets listen on, or are bound to where they cannot
/// listen.
const LISTENS: &str = "\
import re
own = {re.sub(r'\\D', '', os.readlink(f'/proc/self/fd/{fd}')) for fd in os.listdir('/proc/self/fd')
       if os.path.islink(f'/proc/self/fd/{fd}') and 'socket' in os.readlink(f'/proc/self/fd/{fd}')}
c.allreduce(c.rank)
ports = set()
for table, state in ('tcp', '0A'), ('udp', '07'):
    for line in list(open(f'/proc/self/net/{table}'))[1:]:
        words = line.split()
        if words[3] == state and words[9] in own:
            ports.add(int(words[1].split(':')[1], 16))
c.barrier()
print(c.rank, *sorted(ports), flush=True)";

const UDP: Between = Between {
    suffix: " over udp",
    env: &[("STRAIT_LANES", "shm,ofi"), ("STRAIT_OFI_PROVIDER", "udp;ofi_rxd")],
};

pub fn cases<'a>(suite: &'a Suite, network: &'a Network) -> Vec<Case<'a>> {
    let listens = |way: &Between| {
        let way = *way;
        Case::new(format!("-ports np=4 on 2 hosts{}", way.suffix), move || {
            listens(suite, network, way)
        })
    };
    let mut list: Vec<Case<'a>> = [TCP, OFI, UDP, UCX].iter().map(listens).collect();
    list.push(Case::new("-ports that are too few", || too_few(suite, network)));
    list
}

fn job(
    suite: &Suite,
    network: &Network,
    way: Between,
    ports: &str,
) -> Result<crate::process::Outcome, String> {
    let name = format!("ports{}.py", way.suffix.replace(' ', "-"));
    let file = script(suite, &name, LISTENS)?;
    let python = suite.python(Face::Mpich)?;
    let task = over(way, mpiexec(suite, network, 2, 4)).args(["-ports", ports]);
    task.arg(python).arg(file).limit(120).run()
}

fn listens(suite: &Suite, network: &Network, way: Between) -> Result<(), String> {
    let outcome = quiet(job(suite, network, way, "7100-7120")?)?;
    let of_rank = |line: &str| {
        let numbers: Option<Vec<u16>> = line.split(' ').map(|word| word.parse().ok()).collect();
        let (_, ports) = numbers.as_deref().and_then(<[u16]>::split_first)?;
        let inside = ports.iter().all(|port| (7100..=7120).contains(port));
        (!ports.is_empty() && inside).then_some(())
    };
    let good = outcome.out.lines().filter_map(of_rank).count();
    if good == 4 && outcome.out.lines().count() == 4 { Ok(()) } else { Err(outcome.describe()) }
}

fn too_few(suite: &Suite, network: &Network) -> Result<(), String> {
    says(
        &job(suite, network, TCP, "7100")?,
        1,
        &["none of the ports 7100-7100 is free on 10.77.0."],
    )?;
    says(
        &job(suite, network, UCX, "7100-7101")?,
        1,
        &["has 2 ports, 7100-7101, and this host needs 3"],
    )
}
