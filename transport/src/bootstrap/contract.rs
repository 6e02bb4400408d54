// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What launcher and process agree on: names in the environment, and the first bytes on the socket.
//!
//! The launcher listens on an abstract stream socket, creates the node memory, and starts each
//! process with the variables below. A process that calls MPI_Init connects, sends one [`Hello`],
//! and (only if it asks) gets one byte with the node memory's descriptor. After that the launcher
//! never writes: the process arms the socket so that the launcher's death kills it (O_ASYNC with
//! F_SETSIG SIGKILL), and any byte would do the same. The connection stays open until the process
//! ends; everything else is said in the node memory. A byte from the process means: look there now.
#![forbid(unsafe_code)]

/// Job identity, 32 hex digits.
pub const ENV_JOB: &str = "STRAIT_JOB";
/// Name of the launcher's abstract socket, without the leading NUL byte.
pub const ENV_SOCKET: &str = "STRAIT_SOCKET";
/// Rank of this process in the job.
pub const ENV_RANK: &str = "STRAIT_RANK";
/// Processes in the job.
pub const ENV_SIZE: &str = "STRAIT_SIZE";
/// Number of the program that this process runs, of those of one command line.
pub const ENV_PROGRAM: &str = "STRAIT_APPNUM";
/// "on": ranks go on when one has failed. A knob of its own (config.rs) under other launchers.
pub const ENV_KEEP_GOING: &str = "STRAIT_KEEP_GOING";
/// Number of the inherited descriptor of the node memory; may be gone (sudo, subprocess, srun).
pub const ENV_NODE_FD: &str = "STRAIT_NODE_FD";

/// Name of the abstract socket of the launcher that keeps the names of ports.
pub const ENV_NAMES: &str = "STRAIT_NAMES";
/// Port of the processes that spawned this job.
pub const ENV_PARENT: &str = "STRAIT_PARENT";

/// First bytes of a connection that asks for something: as many as a hello has, so that whoever
/// reads one can tell. [`words`] follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// `publish` with a name and a port, `unpublish` and `lookup` with a name. One answer: `ok`,
    /// with the port that was looked up, or `none`, or `failed` with a sentence.
    Names,
    /// More processes (tools/src/mpiexec/spawned.rs). An answer `started`, or `failed` with a
    /// sentence; then the connection stays until the job that was started is over.
    Spawn,
}

impl Ask {
    /// To bytes.
    pub fn encode(self) -> [u8; HELLO_BYTES] {
        match self {
            Ask::Names => *b"STRAIT-NAMES-1\0\0",
            Ask::Spawn => *b"STRAIT-SPAWN-1\0\0",
        }
    }

    /// From bytes.
    pub fn decode(bytes: &[u8; HELLO_BYTES]) -> Option<Ask> {
        [Ask::Names, Ask::Spawn].into_iter().find(|ask| ask.encode() == *bytes)
    }
}

/// mpiexec's option, for a job that processes ask for: the request comes over its standard input.
pub const SPAWN_OPTION: &str = "--strait-spawned";
/// First word of such a request.
pub const SPAWN_VERSION: &[u8] = b"spawn-1";

/// Lists of strings on a stream.
pub mod words {
    /// The longest list, in bytes: what a request with a large environment takes.
    pub const BYTES_MAX: usize = 16 << 20;

    /// To bytes: the length of all that follows, then length and bytes of each.
    pub fn encode(words: &[Vec<u8>]) -> Vec<u8> {
        let all: usize = words.iter().map(|word| 4 + word.len()).sum();
        let mut bytes = (all as u32).to_le_bytes().to_vec();
        for word in words {
            bytes.extend((word.len() as u32).to_le_bytes());
            bytes.extend(word);
        }
        bytes
    }

    /// The first list of some bytes, and how many it took; `None` while it is not whole. What is no
    /// list is an empty one.
    pub fn decode(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > BYTES_MAX {
            return Some((Vec::new(), bytes.len()));
        }
        let mut rest = rest.get(..length)?;
        let mut words = Vec::new();
        while let Some((each, after)) = rest.split_first_chunk() {
            let each = u32::from_le_bytes(*each) as usize;
            let Some(word) = after.get(..each) else { return Some((Vec::new(), 4 + length)) };
            words.push(word.to_vec());
            rest = &after[each..];
        }
        Some((words, 4 + length))
    }
}

/// First bytes of a connection to the launcher, little-endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Who connects.
    pub rank: u32,
    /// The descriptor is needed.
    pub wants_descriptor: bool,
}

/// Bytes of a hello.
pub const HELLO_BYTES: usize = 16;
/// "STRT"
pub const HELLO_MAGIC: u32 = 0x5452_5453;
/// Version of this contract.
pub const HELLO_VERSION: u32 = 1;

impl Hello {
    /// To bytes.
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[0..4].copy_from_slice(&HELLO_MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&HELLO_VERSION.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.rank.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::from(self.wants_descriptor).to_le_bytes());
        bytes
    }

    /// From bytes; `None` for anything else.
    pub fn decode(bytes: &[u8; HELLO_BYTES]) -> Option<Hello> {
        let word =
            |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        if word(0) != HELLO_MAGIC || word(4) != HELLO_VERSION || word(12) > 1 {
            return None;
        }
        Some(Hello { rank: word(8), wants_descriptor: word(12) == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_trip() {
        let list: Vec<Vec<u8>> = [&b"spawn"[..], b"", b"\0x"].iter().map(|w| w.to_vec()).collect();
        let bytes = words::encode(&list);
        assert_eq!(words::decode(&bytes), Some((list, bytes.len())));
        for length in 0..bytes.len() {
            assert_eq!(words::decode(&bytes[..length]), None);
        }
        assert_eq!(words::decode(&[4, 0, 0, 0, 9, 0, 0, 0]), Some((Vec::new(), 8)));
        assert_eq!(words::decode(&[0xff; 9]), Some((Vec::new(), 9)));
    }

    #[test]
    fn requests_are_no_hellos() {
        for ask in [Ask::Names, Ask::Spawn] {
            assert_eq!(Ask::decode(&ask.encode()), Some(ask));
            assert_eq!(Hello::decode(&ask.encode()), None);
        }
        assert_eq!(Ask::decode(&Hello { rank: 1, wants_descriptor: true }.encode()), None);
    }
}
