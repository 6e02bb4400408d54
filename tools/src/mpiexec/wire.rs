// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What mpiexec and its agents on other hosts say to each other, over the standard input and output
//! of whatever started the agent (ssh, srun, a script).
//!
//! An agent first writes [`PREFACE`]; what came before it is the chatter of a login shell. Then
//! both sides send frames: kind (1 byte), length (4 bytes, little-endian), body. Bodies are text
//! as the ranks wrote it, standard input as it was read, or JSON. The job's key travels here
//! only, inside the launcher's own channel, never in arguments or in the environment.
//!
//! Above a bound, hosts are reached through others (branch.rs): a frame from or to such a host
//! travels in a frame of the kind `Via`, which begins with the host's number.
//!
//! Not here: descriptors, and what is done about a message (agent.rs, head.rs).
#![forbid(unsafe_code)]

use super::ending::Cause;
use super::failure::Failure;
use super::report::Summary;
use super::request::Request;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::net::Ipv4Addr;

/// First bytes of an agent.
pub const PREFACE: &[u8] = b"\0strait-agent 2\n";
/// Longest body.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
const HEAD_BYTES: usize = 5;

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Standard output of ranks, lines labelled and whole.
    Out = 1,
    /// Standard error of ranks, or of the agent.
    Err = 2,
    /// An [`Event`].
    Event = 3,
    /// A [`Command`].
    Command = 4,
    /// Standard input; empty at its end.
    Stdin = 5,
    /// A frame from or to a host behind this one, or to [`ALL`] of them: see [`via`].
    Via = 6,
}

/// Instead of a host's number: every host behind this one, and this one.
pub const ALL: u32 = u32::MAX;
const VIA_BYTES: usize = 5;

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        [Kind::Out, Kind::Err, Kind::Event, Kind::Command, Kind::Stdin, Kind::Via]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// From mpiexec to an agent.
#[derive(Debug, Serialize, Deserialize)]
pub enum Command {
    /// What to run; the first frame.
    Prepare(Box<Order>),
    /// Instead of it: start agents, on your host and on others.
    Branch(Box<Branch>),
    /// All hosts are ready: start.
    Start,
    /// End the ranks; `forward` the signal that is the cause.
    End { cause: Cause, forward: bool },
    /// Take the next step of the ending at once.
    Hasten,
    /// Send this signal to the ranks.
    Signal(i32),
    /// Where do these processes, which are yours, listen?
    Ask(Vec<u32>),
    /// Here a process of another host listens.
    Address { rank: u32, bytes: Vec<u8> },
    /// These processes are gone: they died, or ended after MPI_Finalize.
    Gone { ranks: Vec<u32>, are_lost: bool },
    /// Values that ranks with another MPI library put (pmi/), of any host.
    Values(Vec<(String, String)>),
    /// All ranks of all hosts came to a fence, and all their values were sent.
    FenceEnds,
    /// I am here.
    Beat,
    /// All hosts are done: go.
    Leave,
}

/// From an agent to mpiexec.
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {
    /// Ready to start.
    Ready,
    /// It cannot start.
    Refused(Failure),
    /// Our ranks need the addresses of these processes of other hosts.
    Wants(Vec<u32>),
    /// Here a process of ours listens.
    Address { rank: u32, bytes: Vec<u8> },
    /// These processes of ours are gone, and the others go on.
    Gone { ranks: Vec<u32>, are_lost: bool },
    /// Values that ranks of ours put, who bring another MPI library.
    Values(Vec<(String, String)>),
    /// They wait at a fence, and their values were sent.
    Fence,
    /// The ranks of this host are being ended, for a cause of our own.
    Ending(Box<Summary>),
    /// The last piece of standard input was taken.
    StdinTaken,
    /// All ranks of this host have ended, and all they said was sent.
    Done(Box<Summary>),
    /// These hosts are lost, or cannot be started.
    Lost(Loss),
    /// I am here.
    Beat,
}

/// Why hosts are lost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Loss {
    /// Their numbers. The first is the one that was started from `by`, and led to the others.
    pub hosts: Vec<usize>,
    /// Who noticed it: the host that had started the first; `None` for mpiexec.
    pub by: Option<String>,
    /// What happened.
    pub why: String,
    /// What was to start it.
    pub launcher: String,
    /// What came instead of an answer.
    pub chatter: String,
}

/// What an agent needs to know that starts others.
#[derive(Debug, Serialize, Deserialize)]
pub struct Branch {
    /// What all its hosts do, with the seat of any of them.
    pub order: Order,
    /// Its hosts; the first is its own.
    pub seats: Vec<Seat>,
    /// How many agents one host starts on others.
    pub fan_out: usize,
}

/// The place of a host in a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seat {
    /// Name of the host, as the user wrote it.
    pub host: String,
    /// Number of the host in the job.
    pub index: usize,
    /// Its first process.
    pub first: u32,
    /// How many it has.
    pub count: u32,
    /// Standard input comes in frames.
    pub feeds_stdin: bool,
}

/// What an agent needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Build of mpiexec: the node memory of another build is another one.
    pub build: String,
    /// Which host this is.
    pub seat: Seat,
    /// Job identity.
    pub job: [u8; 16],
    /// Job key.
    pub key: [u8; 32],
    /// Where mpiexec runs.
    pub directory: OsString,
    /// Its environment.
    pub env: Vec<(OsString, OsString)>,
    /// What the user asked for.
    pub request: Request,
    /// Addresses of the other hosts, as far as mpiexec can look them up.
    pub others: Vec<Ipv4Addr>,
    /// Which rank each process is (spread.rs); empty where that is its number.
    pub ranks: Vec<[u32; 3]>,
    /// Which ranks share a host, for ranks that bring another MPI library.
    pub mapping: String,
    /// The agent runs on the host of mpiexec, in its process group.
    pub is_local: bool,
}

/// Appends a frame.
pub fn write(into: &mut Vec<u8>, kind: Kind, body: &[u8]) {
    assert!(body.len() <= BODY_BYTES_MAX, "a body of {} bytes", body.len());
    into.push(kind as u8);
    into.extend_from_slice(&(body.len() as u32).to_le_bytes());
    into.extend_from_slice(body);
}

/// Appends a frame of the kind `Via` around another one.
pub fn via(into: &mut Vec<u8>, host: u32, kind: Kind, body: &[u8]) {
    assert!(body.len() <= BODY_BYTES_MAX, "a body of {} bytes", body.len());
    into.push(Kind::Via as u8);
    into.extend_from_slice(&((body.len() + VIA_BYTES) as u32).to_le_bytes());
    into.extend_from_slice(&host.to_le_bytes());
    into.push(kind as u8);
    into.extend_from_slice(body);
}

/// The host and the frame inside a body of the kind `Via`; `None` if it is none.
pub fn inside(body: &[u8]) -> Option<(u32, Kind, &[u8])> {
    let (head, rest) = body.split_at_checked(VIA_BYTES)?;
    let host = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let kind = Kind::of(head[4]).filter(|kind| *kind != Kind::Via)?;
    Some((host, kind, rest))
}

/// A message as a body.
pub fn json(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("our messages hold nothing that JSON does not")
}

/// A body as a message; `None` for anything else.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

/// Takes frames out of a stream of bytes.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    start: usize,
    has_preface: bool,
}

impl Reader {
    /// A reader of a stream that begins with the preface.
    pub fn after_preface() -> Reader {
        Reader::default()
    }

    /// A reader of a stream of frames.
    pub fn new() -> Reader {
        Reader { has_preface: true, ..Reader::default() }
    }

    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// What came before the preface, as long as that has not come.
    pub fn chatter(&self) -> Option<&[u8]> {
        (!self.has_preface).then_some(&self.bytes)
    }

    /// The next frame.
    ///
    /// # Errors
    /// The bytes are no frame.
    pub fn next(&mut self) -> Result<Option<(Kind, Vec<u8>)>, String> {
        if !self.has_preface {
            let found = self.bytes.windows(PREFACE.len()).position(|window| window == PREFACE);
            let Some(at) = found else { return Ok(None) };
            self.has_preface = true;
            self.start = at + PREFACE.len();
        }
        let rest = &self.bytes[self.start..];
        let Some((head, body)) = rest.split_at_checked(HEAD_BYTES) else { return Ok(None) };
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let kind = Kind::of(head[0]).filter(|_| length <= BODY_BYTES_MAX + VIA_BYTES);
        let Some(kind) = kind else {
            return Err("what comes from there is not what Strait's mpiexec says".to_owned());
        };
        let Some(body) = body.get(..length) else { return Ok(None) };
        let body = body.to_vec();
        self.start += HEAD_BYTES + length;
        if self.start > 1 << 20 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        Ok(Some((kind, body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut_and_chatter_before_them() {
        let mut bytes = b"Welcome to this host!\n".to_vec();
        bytes.extend_from_slice(PREFACE);
        write(&mut bytes, Kind::Out, b"hello\n");
        write(&mut bytes, Kind::Event, &json(&Event::Wants(vec![3, 4])));
        write(&mut bytes, Kind::Err, b"");
        for cut in 0..bytes.len() {
            let mut reader = Reader::after_preface();
            let mut kinds = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                reader.push(part);
                while let Some((kind, body)) = reader.next().expect("frames") {
                    if kind == Kind::Event {
                        let event: Event = parse(&body).expect("an event");
                        assert!(matches!(event, Event::Wants(list) if list == [3, 4]));
                    }
                    kinds.push(kind);
                }
            }
            assert_eq!(kinds, [Kind::Out, Kind::Event, Kind::Err], "cut at {cut}");
        }
        let mut bytes = Vec::new();
        via(&mut bytes, 7, Kind::Out, b"there\n");
        let mut reader = Reader::new();
        reader.push(&bytes);
        let (kind, body) = reader.next().expect("a frame").expect("whole");
        assert_eq!((kind, inside(&body)), (Kind::Via, Some((7, Kind::Out, &b"there\n"[..]))));
        assert_eq!(inside(&body[..4]), None);
        let mut reader = Reader::new();
        reader.push(b"bash: not found");
        assert!(reader.next().is_err());
    }
}
