// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A small launcher for tests: the test binary starts itself as the ranks of a job, in the way the
//! bootstrap contract says, and watches over them.
//!
//! A test calls [`Ranks::start`] with its own name; in the started processes the same test finds
//! itself to be a rank ([`is_rank`]) and runs the rank's part instead.
#![allow(dead_code)]

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, accept, bind, listen, recv, sendmsg, socket_with,
};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use strait_transport::bootstrap::contract::{
    ENV_JOB, ENV_NODE_FD, ENV_RANK, ENV_SIZE, ENV_SOCKET, HELLO_BYTES, Hello,
};
use strait_transport::node::{Node, NodePlan};

/// No test waits longer than this for processes.
pub const WATCHDOG: Duration = Duration::from_secs(60);

const ENV_ROLE: &str = "STRAIT_TEST_ROLE";

/// How ranks get the node memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    Inherited,
    BySocket,
}

/// What this process is in a test, if it was started by one.
pub fn role() -> Option<String> {
    std::env::var(ENV_ROLE).ok()
}

pub fn is_rank() -> bool {
    role().as_deref() == Some("rank")
}

/// This test binary, running only this test, in a role.
pub fn myself(test: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(ENV_ROLE, role);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A running job.
pub struct Ranks {
    pub node: Arc<Node>,
    pub children: Vec<Child>,
}

impl Ranks {
    pub fn start(test: &str, size: u32, passing: Passing) -> Ranks {
        let mut job = [0; 16];
        getrandom::fill(&mut job).expect("random numbers");
        let plan = NodePlan { job, key: [7; 32], size, first_local_rank: 0, local_size: size };
        let node = Arc::new(Node::create(&plan).expect("a node"));
        let name: String = job.iter().map(|byte| format!("{byte:02x}")).collect();
        let socket = format!("strait-test-{name}");
        serve(&socket, Arc::clone(&node));
        let inherited = node.descriptor().try_clone_to_owned().expect("a descriptor");
        rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).expect("inheritable");
        let children = (0..size).map(|rank| {
            let mut command = myself(test, "rank");
            command.env(ENV_JOB, &name).env(ENV_SOCKET, &socket);
            command.env(ENV_RANK, rank.to_string()).env(ENV_SIZE, size.to_string());
            if passing == Passing::Inherited {
                command.env(ENV_NODE_FD, inherited.as_raw_fd().to_string());
            }
            command.spawn().expect("a rank")
        });
        Ranks { children: children.collect(), node }
    }

    /// Waits until a condition of the job holds.
    pub fn until(&self, what: &str, mut condition: impl FnMut(&Node) -> bool) {
        wait_until(what, || condition(&self.node));
    }

    /// Waits for a rank's end.
    pub fn end_of(&mut self, rank: usize) -> ExitStatus {
        let mut status = None;
        let child = &mut self.children[rank];
        wait_until("a rank ends", || {
            status = child.try_wait().expect("our child");
            status.is_some()
        });
        status.expect("it ended")
    }

    /// Waits for all; all must succeed.
    pub fn finish(mut self) {
        for rank in 0..self.children.len() {
            let status = self.end_of(rank);
            assert!(status.success(), "rank {rank}: {status}");
        }
    }

    pub fn signal(&self, rank: usize, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.children[rank]);
        rustix::process::kill_process(pid, signal).expect("our child");
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < WATCHDOG, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The launcher's socket: greets whoever connects, and keeps every connection open.
fn serve(name: &str, node: Arc<Node>) {
    let flags = SocketFlags::CLOEXEC;
    let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    bind(&listener, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()).unwrap();
    listen(&listener, 128).unwrap();
    std::thread::spawn(move || {
        let mut connections: Vec<OwnedFd> = Vec::new();
        while let Ok(connection) = accept(&listener) {
            let mut bytes = [0; HELLO_BYTES];
            let got = recv(&connection, &mut bytes[..], RecvFlags::WAITALL).unwrap_or((0, 0)).0;
            if let Some(hello) = Hello::decode(&bytes).filter(|_| got == HELLO_BYTES)
                && hello.wants_descriptor
            {
                pass(&connection, &node);
            }
            connections.push(connection);
        }
    });
}

fn pass(connection: &OwnedFd, node: &Node) {
    let descriptors = [node.descriptor()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(connection, &[IoSlice::new(&[1])], &mut control, SendFlags::NOSIGNAL).unwrap();
}
