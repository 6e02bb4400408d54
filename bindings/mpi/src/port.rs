// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ports: where the leaders of two groups of processes meet (MPI-5.0 section 11.9). A port is a
//! listening socket; its name says where it is, and has a secret that who calls must know.
//!
//! ```text
//! caller                                     acceptor
//!   magic secret                       -->     24 bytes
//!   <--  one byte, when MPI_Comm_accept takes the call
//!   length, bytes                     <-->     what the leaders swap (meeting.rs)
//! ```
//!
//! Sockets are never waited for with the entry lock held, nor for long: other messages of this
//! process go on meanwhile.

use crate::entry::Entry;
use crate::error::{Result, advise, class, error, make};
use crate::meeting::Way;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use strait_transport::outside;

/// First bytes of a call.
const MAGIC: [u8; 8] = *b"STRAITp1";
/// Bytes of the secret in a port's name.
const SECRET_BYTES: usize = 16;
/// First part of a port's name.
const SCHEME: &str = "strait-port-1";
/// The most that leaders swap at once: the cards of 20 million processes.
const SWAP_BYTES_MAX: u64 = 1 << 30;
/// How long a socket is waited for before other messages get their turn.
const PAUSE_MS: i32 = 1;

/// An open port.
pub struct Port {
    listener: TcpListener,
    name: PortName,
}

/// What a port's name says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortName {
    address: SocketAddrV4,
    secret: [u8; SECRET_BYTES],
}

impl PortName {
    /// As text.
    pub fn encode(&self) -> String {
        let secret: String = self.secret.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{SCHEME}/{}/{secret}", self.address)
    }

    /// From text; `None` for anything else.
    pub fn decode(text: &str) -> Option<PortName> {
        let mut parts = text.trim().split('/');
        let (scheme, address, digits) = (parts.next()?, parts.next()?, parts.next()?);
        let sound = scheme == SCHEME && digits.len() == 2 * SECRET_BYTES && digits.is_ascii();
        if !sound || parts.next().is_some() {
            return None;
        }
        let mut secret = [0; SECRET_BYTES];
        for (at, byte) in secret.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(PortName { address: address.parse().ok()?, secret })
    }
}

impl Port {
    /// Listens.
    ///
    /// # Errors
    /// The system refuses a socket.
    pub fn open(ip: Ipv4Addr) -> Result<Port> {
        let made = TcpListener::bind(SocketAddrV4::new(ip, 0)).and_then(|listener| {
            listener.set_nonblocking(true)?;
            match listener.local_addr()? {
                std::net::SocketAddr::V4(address) => Ok((listener, address)),
                std::net::SocketAddr::V6(_) => Err(ErrorKind::AddrNotAvailable.into()),
            }
        });
        match made {
            Ok((listener, address)) => {
                Ok(Port { listener, name: PortName { address, secret: outside::random()? } })
            }
            Err(problem) => {
                error(class::OTHER, format!("no port can be opened on {ip}: {problem}"))
            }
        }
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.name.encode()
    }

    /// A call to this port, once it comes. Who does not know the secret is left alone. `trouble` is
    /// asked now and then, and ends the wait by an error.
    pub fn accept(
        entry: &mut Entry,
        name: &str,
        mut trouble: impl FnMut() -> Result,
    ) -> Result<Line> {
        entry.publish_call();
        let mut strangers: Vec<Stranger> = Vec::new();
        loop {
            let Some(port) = entry.ports.get(name) else {
                return Err(advise(
                    class::PORT,
                    format!("the port {name} is not open in this process"),
                    "pass a name that MPI_Open_port gave to this process, and not yet closed",
                ));
            };
            while let Ok((stream, _)) = port.listener.accept() {
                strangers.push(Stranger { line: Line::over(stream), heard: Vec::new() });
            }
            let secret = port.name.secret;
            let listener = port.listener.as_raw_fd();
            let mut found = None;
            strangers.retain_mut(|stranger| match stranger.look(&secret) {
                Some(true) if found.is_none() => {
                    found = stranger.line.socket.try_clone().ok();
                    false
                }
                said => said != Some(false),
            });
            if let Some(socket) = found {
                let mut line = Line { socket };
                line.send_all(entry, &[1])?;
                return Ok(line);
            }
            trouble()?;
            let waiting = strangers.iter().filter(|stranger| stranger.heard.len() < CALL_BYTES);
            let mut sockets: Vec<RawFd> = waiting.map(|s| s.line.socket.as_raw_fd()).collect();
            sockets.push(listener);
            pause(entry, &sockets, libc::POLLIN);
        }
    }
}

/// Bytes of a call.
const CALL_BYTES: usize = MAGIC.len() + SECRET_BYTES;

/// Who has called and not yet said the secret.
struct Stranger {
    line: Line,
    heard: Vec<u8>,
}

impl Stranger {
    /// Whether the secret is right; nothing while it is not all there.
    fn look(&mut self, secret: &[u8; SECRET_BYTES]) -> Option<bool> {
        let mut bytes = [0; CALL_BYTES];
        let wanted = CALL_BYTES - self.heard.len();
        if wanted > 0 {
            match self.line.receive(&mut bytes[..wanted]) {
                Ok(0) => return Some(false),
                Ok(count) => self.heard.extend(&bytes[..count]),
                Err(problem) if problem.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => return Some(false),
            }
        }
        let (magic, said) = self.heard.split_first_chunk()?;
        let said: &[u8; SECRET_BYTES] = said.try_into().ok()?;
        // The time that this takes tells nothing of where they differ.
        let differs = said.iter().zip(secret).fold(0, |sum, (a, b)| sum | (a ^ b));
        Some(*magic == MAGIC && differs == 0)
    }
}

/// Lets other messages go on until one of the sockets has something, or for a moment.
fn pause(entry: &mut Entry, sockets: &[RawFd], events: libc::c_short) {
    if entry.progress() > 0 {
        return;
    }
    let one = |fd: &RawFd| libc::pollfd { fd: *fd, events, revents: 0 };
    let mut polled: Vec<libc::pollfd> = sockets.iter().map(one).collect();
    let count = polled.len() as libc::nfds_t;
    // SAFETY: the array has so many elements, and poll writes nothing else.
    entry.outside(|| unsafe { libc::poll(polled.as_mut_ptr(), count, PAUSE_MS) });
}

/// A connection between two leaders.
pub struct Line {
    socket: OwnedFd,
}

impl Line {
    fn over(stream: TcpStream) -> Line {
        let _ = stream.set_nodelay(true);
        Line { socket: stream.into() }
    }

    /// Over a socket of the user's, which is left as it was.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn beside(socket: BorrowedFd<'_>) -> io::Result<Line> {
        Ok(Line { socket: socket.try_clone_to_owned()? })
    }

    /// Calls a port; comes back when its owner has taken the call.
    pub fn call(entry: &mut Entry, name: &str) -> Result<Line> {
        let Some(port) = PortName::decode(name) else {
            return Err(advise(
                class::PORT,
                format!("`{name}` is not the name of a port"),
                "pass what MPI_Open_port gave, or MPI_Lookup_name found, to the last character",
            ));
        };
        let refused = |problem: io::Error| {
            advise(
                class::PORT,
                format!("nobody can be reached at the port {}: {problem}", port.address),
                "the port must be open (MPI_Open_port, no MPI_Close_port yet), and its host in \
                 reach of this one (mpiexec -iface on both sides names the network)",
            )
        };
        let stream = TcpStream::connect(port.address).map_err(refused)?;
        entry.publish_call();
        let mut line = Line::over(stream);
        let gone = |_| {
            make(
                class::PORT,
                format!("the port {} was closed before it took the call", port.address),
            )
        };
        line.send_all(entry, &[&MAGIC[..], &port.secret].concat()).map_err(gone)?;
        line.receive_all(entry, &mut [0]).map_err(gone)?;
        Ok(line)
    }

    /// What is there now.
    fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (socket, flags) = (self.socket.as_raw_fd(), libc::MSG_DONTWAIT);
        // SAFETY: the memory is writable for so many bytes.
        let got = unsafe { libc::recv(socket, into.as_mut_ptr().cast(), into.len(), flags) };
        usize::try_from(got).map_err(|_| io::Error::last_os_error())
    }

    /// What there is room for now.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (socket, flags) = (self.socket.as_raw_fd(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
        // SAFETY: the memory is readable for so many bytes.
        let sent = unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), flags) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    fn send_all(&mut self, entry: &mut Entry, bytes: &[u8]) -> Result {
        self.transfer(entry, bytes, &mut [])
    }

    fn receive_all(&mut self, entry: &mut Entry, bytes: &mut [u8]) -> Result {
        self.transfer(entry, &[], bytes)
    }

    /// Sends one and receives the other, whichever goes on.
    fn transfer(&mut self, entry: &mut Entry, mine: &[u8], theirs: &mut [u8]) -> Result {
        let (mut sent, mut received) = (0, 0);
        while sent < mine.len() || received < theirs.len() {
            let mut moved = 0;
            if sent < mine.len() {
                let count = going(self.send(&mine[sent..]))?;
                sent += count;
                moved += count;
            }
            if received < theirs.len() {
                let count = match self.receive(&mut theirs[received..]) {
                    Ok(0) => return ended(ErrorKind::UnexpectedEof.into()),
                    other => going(other)?,
                };
                received += count;
                moved += count;
            }
            if moved == 0 {
                let more = if sent < mine.len() { libc::POLLOUT } else { 0 };
                let wanted = if received < theirs.len() { libc::POLLIN } else { 0 };
                pause(entry, &[self.socket.as_raw_fd()], more | wanted);
            }
        }
        Ok(())
    }
}

fn going(result: io::Result<usize>) -> Result<usize> {
    match result {
        Ok(count) => Ok(count),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        Err(problem) => ended(problem),
    }
}

fn ended<T>(problem: io::Error) -> Result<T> {
    error(
        class::PROC_ABORTED,
        format!("the other side ended while both groups were being connected: {problem}"),
    )
}

impl Way for Line {
    fn swap(&mut self, entry: &mut Entry, mine: &[u8]) -> Result<Vec<u8>> {
        let mut length = [0; 8];
        self.transfer(entry, &(mine.len() as u64).to_le_bytes(), &mut length)?;
        let length = u64::from_le_bytes(length);
        if length > SWAP_BYTES_MAX {
            return error(class::OTHER, "the other side is no Strait of this version");
        }
        let mut theirs = vec![0; length as usize];
        self.transfer(entry, mine, &mut theirs)?;
        Ok(theirs)
    }

    fn is_inside(&self, _entry: &Entry) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_the_port_is() {
        let name = PortName { address: "10.1.2.3:4567".parse().unwrap(), secret: [0xa5; 16] };
        let text = name.encode();
        assert_eq!(PortName::decode(&text), Some(name));
        assert_eq!(PortName::decode(&format!(" {text}\n")), Some(name));
        for wrong in ["", "port", &text[1..], &text[..text.len() - 1], &format!("{text}/")] {
            assert_eq!(PortName::decode(wrong), None, "{wrong}");
        }
    }
}
