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
