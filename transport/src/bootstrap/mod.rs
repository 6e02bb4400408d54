// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a process learns who it is: an inherited descriptor, else an abstract socket named in the
//! environment, else nothing (a job of one).
//!
//! The order, and what each finding means:
//! 1. Variables of our mpiexec: join it (launched.rs). If they are stale (that mpiexec is gone) or
//!    nested (a living process is that rank already), they are not meant for us: go on, with the
//!    reason kept for the user.
//! 2. The PMI socket or the PMIx server of another launcher that started several processes: join
//!    them (keyspace.rs, by pmi.rs or pmix/). Other signs of such a launcher: a named error
//!    (foreign.rs).
//! 3. Otherwise this is a job of one, with a private node memory.

pub mod contract;
mod foreign;
pub(crate) mod keyspace;
mod launched;
pub mod names;
mod pmi;
pub mod pmix;
pub mod service;

use crate::error::{Error, Kind, Result};
use crate::node::{Claim, Node, NodePlan, RankState};
use keyspace::Joined;
use launched::Environment;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// How this process came to its job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Started by our mpiexec.
    Launched,
    /// Started by another launcher, which speaks PMI or PMIx: it ends the job, but announces no
    /// deaths.
    Foreign,
    /// A job of one. The reason is set when the environment suggested something else (a stale or
    /// nested environment), and is worth one line to the user.
    Singleton { reason: Option<String> },
}

/// Who this process is and what it shares with the others.
pub struct Job {
    /// Index of this process in the job, whose processes are numbered host by host.
    pub rank: u32,
    /// Its rank for the user, who may have laid ranks on the hosts in another order.
    pub world_rank: u32,
    /// Processes in the job.
    pub size: u32,
    /// Index among the processes of this host.
    pub local_rank: u32,
    /// Processes of the job on this host. Local ranks are the ranks `first_local_rank ..`.
    pub local_size: u32,
    /// Rank of local rank 0 (one host: 0).
    pub first_local_rank: u32,
    /// 256-bit job key: authenticates every connection of the job.
    pub key: [u8; 32],
    /// Name of this host, without a look-up.
    pub host: String,
    /// How it was started.
    pub origin: Origin,
    /// The node's shared memory; a private one for a job of one.
    pub node: Arc<Node>,
}

/// Joins the job that started this process, or makes a job of one.
///
/// # Errors
/// A named error when the environment says that this process is one of several and it cannot join
/// them: a foreign launcher, another build, a refused socket. Never N silent jobs of one.
pub fn attach() -> Result<Job> {
    crate::node::watch_forks();
    let variable = |name: &str| std::env::var(name).ok();
    let reason = match Environment::read(&variable)? {
        None => {
            launched::refuse_without_environment()?;
            None
        }
        Some(environment) => match environment.join()? {
            launched::Joined::Rank { local_rank, node } => {
                return enter(local_rank, node, Origin::Launched);
            }
            launched::Joined::NotMeant(reason) => Some(reason),
        },
    };
    let variable = |name: &str| foreign_variable(name, &variable);
    match attach_foreign(&variable).inspect_err(|_| foreign::let_the_first_speak(&variable))? {
        Joined::Rank(job) => Ok(*job),
        Joined::NotMeant(other) => singleton(reason.or(Some(other))),
        Joined::Nobody => singleton(reason),
    }
}

/// Joins a job of another launcher, by what it speaks.
fn attach_foreign(variable: &dyn Fn(&str) -> Option<String>) -> Result<Joined> {
    for join in [pmi::join, pmix::join] {
        match join(variable)? {
            Joined::Nobody => {}
            found => return Ok(found),
        }
    }
    foreign::check(variable)?;
    Ok(Joined::Nobody)
}

/// The descriptor of this number, if it is open here and is what the caller looks for: a duplicate,
/// since another copy of this library in the process may own the number already. The inherited one
/// stays open, and is kept from our children.
fn inherited(raw: RawFd, is_it: impl FnOnce(BorrowedFd<'_>) -> bool) -> Option<OwnedFd> {
    // SAFETY: fcntl on a number that may not be open answers EBADF and does nothing else.
    if unsafe { libc::fcntl(raw, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: the descriptor is open, and borrowed only in this function, which closes nothing.
    let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
    if !is_it(borrowed) {
        return None;
    }
    let own = rustix::io::fcntl_dupfd_cloexec(borrowed, 3).ok()?;
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(own)
}

/// Bytes from hexadecimal digits; `None` for anything else.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| {
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap_or(0);
        (0..text.len()).step_by(2).map(byte).collect()
    })
}

/// A variable, unless our mpiexec set it, which sets some that foreign launchers set, too: what a
/// rank starts has them all, and is a job of one.
fn foreign_variable(name: &str, variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let same = |foreign, own| variable(own).is_some() && variable(foreign) == variable(own);
    let is_ours = name.starts_with("PMI_")
        && same("PMI_RANK", contract::ENV_RANK)
        && same("PMI_SIZE", contract::ENV_SIZE);
    variable(name).filter(|_| !is_ours)
}

/// Leaves a text for the launcher's report, and asks for the job's end, in the name of a process
/// that our launcher started and that has not joined. `false` when there is no such launcher, or
/// this process is not the one that is meant: the caller then says it itself.
pub fn report_unjoined(code: i32, text: &str) -> bool {
    let variable = |name: &str| std::env::var(name).ok();
    let environment = Environment::read(&variable).ok().flatten();
    environment.is_some_and(|environment| environment.report(code, text))
}

/// Makes the launcher look at the node memory; `false` if there is no launcher that could.
pub fn call_launcher() -> bool {
    launched::call_launcher()
}

/// Asks a foreign launcher to end the job, with this exit code.
pub fn abort_foreign(code: i32) {
    keyspace::abort(code);
}

/// MPI_Finalize is over: says so in the record. The tie to the launcher stays until the end.
pub fn finalize(job: &Job) {
    job.node.record(job.local_rank).set_state(RankState::Finalized);
    if job.origin == Origin::Foreign {
        keyspace::finalize();
    }
}

/// Joins a node directly as one of its ranks: what `attach` does after it found the memory, and
/// what tests do that make a node of their own.
///
/// # Errors
/// The record belongs to somebody.
pub fn join(node: Node, local_rank: u32) -> Result<Job> {
    match node.record(local_rank).claim() {
        Claim::Won => enter(local_rank, node, Origin::Launched),
        other => Err(Error::new(Kind::Bootstrap(format!(
            "local rank {local_rank} cannot be claimed: {other:?}"
        )))),
    }
}

/// A job of one with a node memory of its own.
fn singleton(reason: Option<String>) -> Result<Job> {
    let mut plan =
        NodePlan { job: [0; 16], key: [0; 32], size: 1, first_local_rank: 0, local_size: 1 };
    let random = |into: &mut [u8]| {
        getrandom::fill(into).map_err(|error| {
            Error::system("no random numbers", error.raw_os_error().unwrap_or(libc::EIO))
        })
    };
    random(&mut plan.job)?;
    random(&mut plan.key)?;
    let node = Node::create(&plan)?;
    let claim = node.record(0).claim();
    assert_eq!(claim, Claim::Won, "a fresh memory has no owner");
    enter(0, node, Origin::Singleton { reason })
}

/// The record is claimed: fills it and shows it to the others.
fn enter(local_rank: u32, node: Node, origin: Origin) -> Result<Job> {
    let plan = node.plan();
    let rank = plan.first_local_rank + local_rank;
    let record = node.record(local_rank);
    // The word that peers try to read before they trust reads from this process. Peers may try at
    // any time, so it stays for the life of the process.
    let magic: &'static u64 = Box::leak(Box::new(probe_magic(&plan.job, rank)));
    record.publish_probe(std::ptr::from_ref(magic) as u64, *magic);
    crate::wait::settle_policy(&node, local_rank)?;
    record.set_state(RankState::Running);
    let node = Arc::new(node);
    crate::node::name_peers(&node);
    Ok(Job {
        rank,
        world_rank: node.rank_of(rank),
        size: plan.size,
        local_rank,
        local_size: plan.local_size,
        first_local_rank: plan.first_local_rank,
        key: plan.key,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        origin,
        node,
    })
}

/// A word that no other process holds at that address: it tells a peer from a stranger that has
/// its number (other pid namespaces, reused pids).
fn probe_magic(job: &[u8; 16], rank: u32) -> u64 {
    let (low, high) = job.split_at(8);
    let word = |half: &[u8]| u64::from_le_bytes(half.try_into().expect("half of 16 bytes"));
    word(low)
        ^ word(high).rotate_left(32)
        ^ (u64::from(rank) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(set: &[(&str, &str)]) -> Result<()> {
        let variable = |name: &str| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        foreign::check(&|name| foreign_variable(name, &variable))
    }

    #[test]
    fn what_our_mpiexec_set_for_a_rank_is_not_foreign_in_its_children() {
        let ours = [("STRAIT_RANK", "1"), ("STRAIT_SIZE", "2"), ("PMI_FD", "7")];
        let same = [("PMI_RANK", "1"), ("PMI_SIZE", "2")];
        assert!(foreign(&[&ours[..], &same].concat()).is_ok());
        // Another launcher inside a rank of ours.
        let other = [("PMI_RANK", "0"), ("PMI_SIZE", "3")];
        assert!(foreign(&[&ours[..], &other].concat()).is_err());
        assert!(foreign(&same).is_err());
    }
}
