// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The agent: `mpiexec --strait-agent FD`, started by mpiexec on each host of a job. It runs the
//! ranks of its host as mpiexec runs those of a job (job.rs), sends what they print in frames, and
//! ends with the mpiexec that started it.
//!
//! Not here: what the frames are (wire.rs); who starts agents (launch.rs); agents that start
//! others (branch.rs).

use super::environment::Variables;
use super::failure::Failure;
use super::plan::Plan;
use super::wire::{self, Command, Event, Kind, Order, PREFACE};
use super::{Place, address, branch, spread, start};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashSet};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// The option by which mpiexec starts itself as an agent.
pub const OPTION: &str = "--strait-agent";
/// How often both sides say that they are there.
pub const BEAT_TIME: Duration = Duration::from_secs(5);
/// How long an agent goes on without hearing of mpiexec, which may have been stopped by ^Z.
pub const PATIENCE: Duration = Duration::from_secs(3600);

/// The way back to mpiexec.
pub struct Link {
    /// What it says.
    pub input: OwnedFd,
    /// What was read of that.
    pub reader: wire::Reader,
    /// In mpiexec's process group, on its host.
    pub is_local: bool,
    /// Standard input comes in frames.
    pub feeds_stdin: bool,
    /// A piece of it has not been acknowledged.
    pub owes_stdin: bool,
    /// Ranks of other hosts whose addresses we asked for.
    pub asked: HashSet<u32>,
    /// Ranks of ours whose addresses others wait for.
    pub owed: BTreeSet<u32>,
    /// The agent may go when its ranks have ended.
    pub is_released: bool,
    /// When the next sign of life is due.
    pub beat_at: Instant,
    /// When mpiexec was last heard of.
    pub heard: Instant,
}

/// What mpiexec said.
pub enum Heard {
    /// Nothing now.
    Nothing,
    /// It is gone.
    Gone,
    /// A command.
    Command(Command),
    /// A piece of standard input.
    Stdin(Vec<u8>),
}

impl Link {
    /// The next frame.
    pub fn hear(&mut self) -> Heard {
        loop {
            match self.reader.next() {
                Ok(Some((Kind::Command, body))) => match wire::parse(&body) {
                    Some(command) => return Heard::Command(command),
                    None => return Heard::Gone,
                },
                Ok(Some((Kind::Stdin, body))) => return Heard::Stdin(body),
                Ok(Some(_)) | Err(_) => return Heard::Gone,
                Ok(None) => {}
            }
            let mut bytes = [0; 64 * 1024];
            match rustix::io::read(&self.input, &mut bytes) {
                Ok(0) => return Heard::Gone,
                Ok(count) => {
                    self.heard = Instant::now();
                    self.reader.push(&bytes[..count]);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Heard::Nothing,
                Err(_) => return Heard::Gone,
            }
        }
    }

    /// Waits for a command, before anything else happens here.
    fn await_command(&mut self) -> Option<Command> {
        match self.hear() {
            Heard::Command(command) => Some(command),
            _ => None,
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }
}

/// Runs the agent whose commands come from this descriptor.
pub fn main(descriptor: RawFd) -> u8 {
    // SAFETY: mpiexec names a descriptor that it opened for this process; if it is not open, reads
    // answer EBADF and the agent ends. Nothing else here uses that number: 0 is closed to ranks by
    // their own standard input, and others are kept from them by close-on-exec below.
    let input = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let now = Instant::now();
    let mut link = Link {
        input,
        reader: wire::Reader::new(),
        is_local: false,
        feeds_stdin: false,
        owes_stdin: false,
        asked: HashSet::new(),
        owed: BTreeSet::new(),
        is_released: false,
        beat_at: now + BEAT_TIME,
        heard: now,
    };
    say_raw(PREFACE);
    let order = match link.await_command() {
        Some(Command::Prepare(order)) => order,
        Some(Command::Branch(branch)) => return branch::main(link, *branch),
        _ => return 1,
    };
    let Order { request, others, seat, .. } = &*order;
    let host = &seat.host;
    link.is_local = order.is_local;
    link.feeds_stdin = seat.feeds_stdin;
    let refuse = |failure: Failure| {
        tell(&Event::Refused(failure));
        1
    };
    if order.build != strait_transport::node::BUILD_ID {
        let ours = strait_transport::node::BUILD_ID;
        let text = format!(
            "two builds of Strait in one job: mpiexec is {}, host {host} has {ours}",
            order.build
        );
        return refuse(Failure::with_code(1, text).help("install the same build on all hosts"));
    }
    if let Err(error) = std::env::set_current_dir(&order.directory) {
        let (directory, why) = (order.directory.to_string_lossy(), super::parse::reason(&error));
        let text = format!("cannot run in '{directory}' on host {host}: {why}");
        return refuse(
            Failure::with_code(1, text)
                .help("the directory of mpiexec must exist on all hosts, or use -wdir DIR"),
        );
    }
    let ours: Variables = order.env.iter().cloned().collect();
    let processes = seat.first..seat.first + seat.count;
    let Some(ranks) = spread::of_runs(&order.ranks, request.size()) else {
        return refuse(Failure::with_code(1, "the order of the ranks came here torn"));
    };
    let plan = match Plan::prepare(request, host.clone(), &ours, processes, ranks) {
        Ok(plan) => plan,
        Err(failure) => return refuse(failure),
    };
    let place = Place {
        job: order.job,
        key: order.key,
        index: Some(seat.index),
        address: address::towards(others),
        mapping: order.mapping.clone(),
        link: Some(link),
        asked: super::Asked::default(),
    };
    super::run(&plan, place).unwrap_or_else(refuse)
}

/// Says that everything is ready, and waits until all hosts are.
///
/// # Errors
/// mpiexec is gone, or another host is not ready.
pub fn await_start(link: &mut Link) -> Result<(), Failure> {
    tell(&Event::Ready);
    loop {
        match link.await_command() {
            Some(Command::Start) => break,
            Some(Command::Beat) => {}
            _ => return Err(Failure::with_code(1, "not started")),
        }
    }
    rustix::io::fcntl_setfd(&link.input, rustix::io::FdFlags::CLOEXEC)
        .and_then(|()| rustix::io::ioctl_fionbio(&link.input, true))
        .map_err(|errno| start::system("cannot set up the way to mpiexec", errno.into()))?;
    Ok(())
}

/// A frame, before the relay is there.
fn tell(event: &Event) {
    let mut frame = Vec::new();
    wire::write(&mut frame, Kind::Event, &wire::json(event));
    say_raw(&frame);
}

/// Bytes, before the relay is there.
pub fn say_raw(bytes: &[u8]) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    // If it fails, mpiexec is gone, and the next read finds that out.
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}
