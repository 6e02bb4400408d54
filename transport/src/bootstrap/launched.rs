// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Joins the job of our mpiexec: finds the node memory, claims the rank's record, and ties this
//! process's life to the launcher's.
//!
//! Invariants:
//! 1. A process is one rank exactly if it won the claim on the record. Whoever loses it to a living
//!    process was started inside a rank and is a job of one.
//! 2. With an inherited descriptor the claim comes before the connection, so that a nested process
//!    does not trouble the launcher; without one, the connection brings the descriptor.
//! 3. Once the socket is armed, the kernel kills us when the launcher's end closes. The socket
//!    stays open until the process ends.

use super::contract::{ENV_JOB, ENV_NODE_FD, ENV_RANK, ENV_SIZE, ENV_SOCKET, Hello};
use crate::error::{Error, Kind, Result};
use crate::node::{Claim, Node, RankState};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, recvmsg, send, socket_with,
};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::time::Duration;

/// How long the launcher may take to answer; it answers at once unless it is stopped.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The connection to the launcher (invariant 3).
static LAUNCHER: OnceLock<OwnedFd> = OnceLock::new();

/// What our mpiexec put into the environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Environment {
    job: [u8; 16],
    socket: String,
    rank: u32,
    size: u32,
    node_descriptor: Option<RawFd>,
}

/// How joining ended, when it did not fail.
pub(super) enum Joined {
    /// This process is this rank of the node.
    Rank { local_rank: u32, node: Node },
    /// The environment is not meant for this process, for this reason.
    NotMeant(String),
}

fn refuse<T>(text: String) -> Result<T> {
    Err(Error::new(Kind::Bootstrap(text)))
}

fn system(what: &str, errno: rustix::io::Errno) -> Error {
    Error::system(what, errno.raw_os_error())
}

impl Environment {
    /// Reads it; `None` when our mpiexec is not in it.
    pub(super) fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Environment>> {
        let Some(job) = variable(ENV_JOB) else { return Ok(None) };
        let required = |name: &str| match variable(name) {
            Some(text) => Ok(text),
            None => refuse(format!(
                "the environment is torn: {ENV_JOB} is set, but {name} is not. Start the program \
                 with mpiexec, or unset {ENV_JOB} to run it alone"
            )),
        };
        let number = |name: &str| {
            let text = required(name)?;
            text.parse::<u32>().or_else(|_| refuse(format!("{name} is no number: {text}")))
        };
        let Some(job) = parse_job(&job) else {
            return refuse(format!("{ENV_JOB} is not 32 hexadecimal digits: {job}"));
        };
        let (rank, size) = (number(ENV_RANK)?, number(ENV_SIZE)?);
        if rank >= size {
            return refuse(format!("{ENV_RANK} is {rank}, but {ENV_SIZE} is {size}"));
        }
        let node_descriptor = variable(ENV_NODE_FD)
            .and_then(|text| text.parse::<RawFd>().ok())
            .filter(|descriptor| *descriptor > 2);
        let socket = required(ENV_SOCKET)?;
        Ok(Some(Environment { job, socket, rank, size, node_descriptor }))
    }

    /// Joins.
    pub(super) fn join(&self) -> Result<Joined> {
        match self.inherited() {
            Some(descriptor) => self.join_inherited(Node::open(descriptor)?),
            None => self.join_by_socket(),
        }
    }

    /// Leaves a report without joining; `false` where nobody would find it, or where a process
    /// around this one is the rank.
    pub(super) fn report(&self, code: i32, text: &str) -> bool {
        let node = self.inherited().and_then(|descriptor| Node::open(descriptor).ok());
        let Some(node) = node.filter(|node| self.check(node).is_ok()) else { return false };
        let record = node.record(self.local_rank(&node));
        if record.pid() != 0 {
            return false;
        }
        record.leave_report(text);
        node.request_abort(self.rank, code);
        true
    }

    fn join_inherited(&self, node: Node) -> Result<Joined> {
        self.check(&node)?;
        if let Some(reason) = self.claim(&node)? {
            return Ok(Joined::NotMeant(reason));
        }
        let socket = match self.connect()? {
            Ok(socket) => socket,
            Err(reason) => return Ok(Joined::NotMeant(reason)),
        };
        self.say_hello(&socket, false)?;
        self.arm(socket)?;
        Ok(Joined::Rank { local_rank: self.local_rank(&node), node })
    }

    fn join_by_socket(&self) -> Result<Joined> {
        let socket = match self.connect()? {
            Ok(socket) => socket,
            Err(reason) => return Ok(Joined::NotMeant(reason)),
        };
        self.say_hello(&socket, true)?;
        let node = Node::open(receive_descriptor(&socket)?)?;
        self.check(&node)?;
        if let Some(reason) = self.claim(&node)? {
            return Ok(Joined::NotMeant(reason));
        }
        self.arm(socket)?;
        Ok(Joined::Rank { local_rank: self.local_rank(&node), node })
    }

    /// The inherited descriptor, if it (still) is the node memory of this job.
    fn inherited(&self) -> Option<OwnedFd> {
        super::inherited(self.node_descriptor?, |fd| Node::is_memory_of(fd, &self.job))
    }

    fn check(&self, node: &Node) -> Result<()> {
        let plan = node.plan_ref();
        let is_here = self.rank < plan.size && self.local_rank(node) < plan.local_size;
        if plan.job != self.job || plan.size != self.size || !is_here {
            return refuse(format!(
                "the environment says rank {} of {}, but the node memory is of another job or host \
                 ({} of {} processes, from number {})",
                self.rank, self.size, plan.local_size, plan.size, plan.first_local_rank
            ));
        }
        Ok(())
    }

    fn local_rank(&self, node: &Node) -> u32 {
        node.process_of(self.rank).wrapping_sub(node.plan_ref().first_local_rank)
    }

    /// Claims the record; `Some(reason)` when it belongs to a process around this one.
    fn claim(&self, node: &Node) -> Result<Option<String>> {
        match node.record(self.local_rank(node)).claim() {
            Claim::Won => Ok(None),
            Claim::Taken { pid } => Ok(Some(format!(
                "process {pid} is rank {} already, and this process was started inside it",
                self.rank
            ))),
            Claim::Ours => refuse(format!(
                "this process joined the job as rank {} before: two copies of the library in one \
                 process, or a program that initialised MPI and then replaced itself by exec",
                self.rank
            )),
            Claim::Used { pid, state } => refuse(format!(
                "rank {} was process {pid}, which {}; one mpiexec runs one MPI program per rank. \
                 Start the second program with an mpiexec of its own",
                self.rank,
                match state {
                    RankState::Finalized => "finalized MPI and is over",
                    _ => "died",
                }
            )),
        }
    }

    /// Connects to the launcher and checks whose it is; the inner error is the reason why there is
    /// no launcher any more.
    fn connect(&self) -> Result<std::result::Result<OwnedFd, String>> {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(|errno| system("cannot create a socket to mpiexec", errno))?;
        let address = SocketAddrUnix::new_abstract_name(self.socket.as_bytes())
            .map_err(|errno| system("the name of mpiexec's socket is impossible", errno))?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => {}
            Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOENT) => {
                return Ok(Err("the mpiexec named in the environment is gone".to_owned()));
            }
            Err(errno) => return Err(system("cannot connect to mpiexec", errno)),
        }
        let owner = rustix::net::sockopt::socket_peercred(&socket)
            .map_err(|errno| system("cannot learn whose mpiexec it is", errno))?;
        let owner = owner.uid.as_raw();
        if !is_trusted(owner) {
            return refuse(format!(
                "the socket named in {ENV_SOCKET} belongs to user {owner}, who is not this user"
            ));
        }
        Ok(Ok(socket))
    }

    fn say_hello(&self, socket: &OwnedFd, wants_descriptor: bool) -> Result<()> {
        let bytes = Hello { rank: self.rank, wants_descriptor }.encode();
        match send(socket, &bytes, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) => refuse("mpiexec took only part of the greeting".to_owned()),
            Err(errno) => Err(system("cannot greet mpiexec", errno)),
        }
    }

    /// From now on the launcher's death kills this process.
    fn arm(&self, socket: OwnedFd) -> Result<()> {
        let raw = socket.as_raw_fd();
        let set = |command, value: libc::c_int| {
            // SAFETY: the three commands take an integer and touch no memory of ours.
            if unsafe { libc::fcntl(raw, command, value) } < 0 {
                let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
                return Err(Error::system("cannot tie this process to mpiexec's life", errno));
            }
            Ok(())
        };
        set(F_SETSIG, libc::SIGKILL)?;
        set(libc::F_SETOWN, std::process::id() as libc::c_int)?;
        set(libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK)?;
        // A death before the signal was armed makes no signal: look once.
        let mut polled = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let events = rustix::event::poll(&mut polled, Some(&now))
            .map_err(|errno| system("cannot poll the socket to mpiexec", errno))?;
        if events != 0 {
            return refuse(format!("mpiexec ended while rank {} joined it", self.rank));
        }
        if LAUNCHER.set(socket).is_err() {
            return refuse("this process joined a job before".to_owned());
        }
        Ok(())
    }
}

/// Fails in a process of several that our mpiexec started and whose environment was cleaned on the
/// way (`env -i`): the inherited descriptor of the node memory is there, the variables are not.
/// Better a sentence than jobs of one without a word.
pub(super) fn refuse_without_environment() -> Result<()> {
    let Some(node) = inherited_without_a_name() else { return Ok(()) };
    let size = node.plan().size;
    if size == 1 {
        return Ok(());
    }
    refuse(format!(
        "Strait's mpiexec started this program as one of {size} processes, but the environment \
         that tells each one its rank was cleaned on the way\n  \
         help: keep the variables STRAIT_* (env -i and sudo remove them), or clean the environment \
         with mpiexec -genvnone"
    ))
}

/// A node memory among the descriptors that were left open for this program.
fn inherited_without_a_name() -> Option<Node> {
    let ours = |entry: &std::fs::DirEntry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        let is_memory = target.to_string_lossy().starts_with("/memfd:strait-node");
        let raw = entry.file_name().to_str()?.parse::<RawFd>().ok().filter(|_| is_memory)?;
        // SAFETY: the descriptor was just seen to be open, and is borrowed only in this closure,
        // which closes nothing.
        let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
        let flags = rustix::io::fcntl_getfd(borrowed).ok()?;
        let is_inherited = !flags.contains(rustix::io::FdFlags::CLOEXEC);
        borrowed.try_clone_to_owned().ok().filter(|_| is_inherited)
    };
    let open = std::fs::read_dir("/proc/self/fd").ok()?;
    open.flatten().find_map(|entry| ours(&entry)).and_then(|descriptor| Node::open(descriptor).ok())
}

/// One byte to the launcher: it looks at the node memory then. `false` if there is no launcher.
pub(super) fn call_launcher() -> bool {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    LAUNCHER.get().is_some_and(|socket| send(socket, b"!", flags) == Ok(1))
}

/// Linux's number, the same on all architectures; not in every libc crate.
const F_SETSIG: libc::c_int = 10;

/// Our user, root, or the user who called sudo.
fn is_trusted(owner: u32) -> bool {
    let me = rustix::process::geteuid().as_raw();
    let sudo = || std::env::var("SUDO_UID").ok()?.parse::<u32>().ok();
    owner == me
        || owner == rustix::process::getuid().as_raw()
        || owner == 0
        || (me == 0 && sudo() == Some(owner))
}

fn parse_job(text: &str) -> Option<[u8; 16]> {
    super::from_hex(text)?.try_into().ok()
}

/// One byte, and the node memory's descriptor with it.
fn receive_descriptor(socket: &OwnedFd) -> Result<OwnedFd> {
    rustix::net::sockopt::set_socket_timeout(
        socket,
        rustix::net::sockopt::Timeout::Recv,
        Some(ANSWER_TIMEOUT),
    )
    .map_err(|errno| system("cannot bound the wait for mpiexec", errno))?;
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        let mut into = [IoSliceMut::new(&mut byte)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        match recvmsg(socket.as_fd(), &mut into, &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(system("mpiexec did not pass the node memory", errno)),
            Ok(got) => break got,
        }
    };
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    match descriptor {
        Some(descriptor) if got.bytes == 1 => Ok(descriptor),
        _ => refuse("mpiexec closed the connection instead of passing the node memory".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Option<Environment>> {
        Environment::read(&|name| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_is_whole_or_absent_or_an_error() {
        const JOB: &str = "000102030405060708090a0b0c0d0e0f";
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[(ENV_RANK, "1")]).unwrap(), None);
        assert!(read(&[(ENV_JOB, JOB)]).unwrap_err().to_string().contains("torn"));
        let whole = |rank, size, node| {
            read(&[
                (ENV_JOB, JOB),
                (ENV_SOCKET, "name"),
                (ENV_RANK, rank),
                (ENV_SIZE, size),
                (ENV_NODE_FD, node),
            ])
        };
        let read_one = whole("1", "2", "77").unwrap().unwrap();
        assert_eq!((read_one.rank, read_one.size, read_one.node_descriptor), (1, 2, Some(77)));
        assert_eq!(read_one.job[15], 15);
        assert!(whole("2", "2", "77").is_err());
        assert!(whole("x", "2", "77").is_err());
        assert_eq!(whole("0", "1", "0").unwrap().unwrap().node_descriptor, None);
        assert_eq!(parse_job("+1"), None);
        assert_eq!(parse_job(&"é".repeat(16)), None);
    }
}
