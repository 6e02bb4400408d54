// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a process asks of our mpiexec while it runs: names of ports, and more processes. Each
//! request has a connection of its own, beside the one that ties the process to mpiexec's life.

use super::contract::{self, Ask, ENV_NAMES, ENV_SOCKET, words};
use super::{Job, Origin};
use crate::error::{Error, Kind, Result};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long mpiexec may take to answer about a name.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// An open request: answers come, and its end says that nobody works on it any more.
pub struct Request {
    stream: UnixStream,
    heard: Vec<u8>,
}

impl Request {
    /// Asks the mpiexec of this job; `None` if it has none of ours.
    ///
    /// # Errors
    /// It is gone, or does not take the request.
    pub fn send(job: &Job, ask: Ask, request: &[Vec<u8>]) -> Result<Option<Request>> {
        let name = match ask {
            Ask::Names => names_socket(job),
            Ask::Spawn => socket_of(job, ENV_SOCKET),
        };
        let Some(name) = name else { return Ok(None) };
        let system =
            |what: &str, errno: rustix::io::Errno| Error::system(what, errno.raw_os_error());
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|errno| system("cannot create a socket to mpiexec", errno))?;
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes())
            .map_err(|errno| system("the name of mpiexec's socket is impossible", errno))?;
        rustix::net::connect(&socket, &address)
            .map_err(|errno| system("cannot connect to mpiexec", errno))?;
        Request::over(socket, Some(ask), request).map(Some)
    }

    /// Asks over a socket whose other end is, or will be, mpiexec's.
    ///
    /// # Errors
    /// The other end does not take it.
    pub fn over(socket: OwnedFd, ask: Option<Ask>, request: &[Vec<u8>]) -> Result<Request> {
        let mut bytes = ask.map_or(Vec::new(), |ask| ask.encode().to_vec());
        bytes.extend(words::encode(request));
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match rustix::net::send(&socket, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => rest = &rest[sent..],
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => {
                    return Err(Error::system("cannot ask mpiexec", errno.raw_os_error()));
                }
            }
        }
        Ok(Request { stream: UnixStream::from(socket), heard: Vec::new() })
    }

    /// The answer, if it has come whole.
    ///
    /// # Errors
    /// There will be none: whoever should give it is gone.
    pub fn look(&mut self) -> Result<Option<Vec<Vec<u8>>>> {
        let failed = |error: std::io::Error| {
            Error::system("cannot read mpiexec's answer", error.raw_os_error().unwrap_or(0))
        };
        self.stream.set_nonblocking(true).map_err(failed)?;
        let mut piece = [0; 4096];
        loop {
            if let Some((answer, taken)) = words::decode(&self.heard) {
                self.heard.drain(..taken);
                return Ok(Some(answer));
            }
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(Error::new(Kind::Bootstrap("mpiexec ended".into()))),
                Ok(count) => self.heard.extend(&piece[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Waits for the answer, some seconds at most.
    ///
    /// # Errors
    /// As [`Request::look`]; it does not come.
    pub fn wait(&mut self) -> Result<Vec<Vec<u8>>> {
        let until = std::time::Instant::now() + ANSWER_TIME;
        loop {
            if let Some(answer) = self.look()? {
                return Ok(answer);
            }
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Err(Error::new(Kind::Bootstrap("mpiexec does not answer".into())));
            }
            let mut polled =
                [rustix::event::PollFd::new(&self.stream, rustix::event::PollFlags::IN)];
            let left = rustix::event::Timespec::try_from(left).ok();
            let _ = rustix::event::poll(&mut polled, left.as_ref());
        }
    }
}

impl AsFd for Request {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Where the names of this job's family are kept: at the mpiexec that was started first.
pub fn names_socket(job: &Job) -> Option<String> {
    socket_of(job, ENV_NAMES)
}

fn socket_of(job: &Job, variable: &str) -> Option<String> {
    let is_ours = job.origin == Origin::Launched;
    is_ours.then(|| std::env::var(variable).ok()).flatten()
}

/// The port of the processes that spawned this job, if some did.
pub fn parent_port(job: &Job) -> Option<String> {
    socket_of(job, contract::ENV_PARENT)
}
