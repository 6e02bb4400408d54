// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a library can do on this machine, by doing it: two lanes in this process exchange messages,
//! and one reads and writes the other's memory.

use super::port::Port;
use super::{FabricLane, Settings};
use crate::envelope::Peer;
use crate::error::{Error, Kind, Result, Submit};
use crate::lane::directory::MemoryDirectory;
use crate::lane::remote::{Access, RemoteMemory, Way};
use crate::lane::{Get, Inbox, Lane};
use crate::wire::header::{FLAG_FETCHABLE, Header, MessageKind};
use std::time::{Duration, Instant};

/// Messages there and back.
const TRIPS: u32 = 200;
/// Bytes of the read.
const READ_BYTES: usize = 64 * 1024;
/// What has not done it by then does not work.
const PATIENCE: Duration = Duration::from_secs(3);

/// What it did.
#[derive(Clone, Debug)]
pub struct Works {
    /// Device or interface.
    pub device: String,
    /// A message of 8 bytes, one way.
    pub microseconds: f64,
    /// Memory was read.
    pub reads: bool,
    /// Memory of a window was written, and that was confirmed.
    pub writes: bool,
}

#[derive(Default)]
struct Heard {
    messages: u32,
    /// Ends by their tokens.
    ends: Vec<(u64, bool)>,
    lost: Option<Error>,
}

impl Inbox for Heard {
    fn message(&mut self, _from: Peer, _header: &Header, _body: &[u8]) {
        self.messages += 1;
    }

    fn lost(&mut self, _peer: Peer, error: Error) {
        self.lost = Some(error);
    }

    fn fetched(&mut self, token: u64, end: Get) {
        self.ends.push((token, matches!(end, Get::Done)));
    }
}

/// Tries two ports of this process. What is broken may crash it.
///
/// # Errors
/// What they could not do, in words.
pub fn try_ports<P: Port>(mut open: impl FnMut() -> Result<P>) -> Result<Works> {
    let mut lanes = Vec::new();
    for (rank, directory) in (0..2).zip(MemoryDirectory::all(2)) {
        let mut settings = Settings::new(rank, 2, [0; 16], [0; 32]);
        settings.report = Box::new(|_| {});
        lanes.push(FabricLane::with_directory(open()?, settings, Box::new(directory)));
    }
    let mut heard = [Heard::default(), Heard::default()];
    // The first trips connect the two.
    exchange(&mut lanes, &mut heard, 10)?;
    let begun = Instant::now();
    exchange(&mut lanes, &mut heard, TRIPS)?;
    let one_way = begun.elapsed().as_secs_f64() * 1e6 / f64::from(2 * TRIPS);
    let reads = read(&mut lanes, &mut heard)?;
    let writes = write(&mut lanes, &mut heard)?;
    Ok(Works { device: lanes[0].facts().device.clone(), microseconds: one_way, reads, writes })
}

fn exchange<P: Port>(
    lanes: &mut [FabricLane<P>],
    heard: &mut [Heard; 2],
    trips: u32,
) -> Result<()> {
    let mut header = Header::with_token(MessageKind::Eager, 1);
    header.body = 8;
    for _ in 0..trips {
        for from in 0..2 {
            let (to, target) = (1 - from, heard[1 - from].messages + 1);
            let mut sent = false;
            until(lanes, heard, |lanes, heard| {
                sent |=
                    !sent && lanes[from].short(Peer(to as u32), &header, &[7; 8]) == Submit::Sent;
                heard[to].messages >= target
            })?;
        }
    }
    Ok(())
}

fn read<P: Port>(lanes: &mut [FabricLane<P>], heard: &mut [Heard; 2]) -> Result<bool> {
    let (source, mut into) = (vec![0x5a_u8; READ_BYTES], vec![0_u8; READ_BYTES]);
    let Some(loan) = lanes[0].lend(1, source.as_ptr(), READ_BYTES) else { return Ok(false) };
    let mut header = Header::with_token(MessageKind::Rts, 1);
    (header.flags, header.body) = (FLAG_FETCHABLE, 16);
    let (mut sent, target) = (false, heard[1].messages + 1);
    let told = until(lanes, heard, |lanes, heard| {
        sent |= !sent && lanes[0].short(Peer(1), &header, &[0; 16]) == Submit::Sent;
        heard[1].messages >= target
    });
    // SAFETY: `into` is left alone until the end was heard; if it never is, it is leaked below.
    let begun = told.map(|()| unsafe { lanes[1].get(Peer(0), loan.range, into.as_mut_ptr(), 2) });
    let ended = match begun {
        Ok(begun) => end_of(lanes, heard, begun, 2),
        Err(error) => Err(error),
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => {
            // The library may still work on them.
            std::mem::forget((source, into));
            return Err(error);
        }
    };
    lanes[0].take_back(1);
    Ok(ended && into == source)
}

/// Waits for the end of what the second lane has begun; whether it was done.
fn end_of<P: Port>(
    lanes: &mut [FabricLane<P>],
    heard: &mut [Heard; 2],
    begun: Get,
    token: u64,
) -> Result<bool> {
    let of = |heard: &[Heard; 2]| heard[1].ends.iter().find(|(of, _)| *of == token).copied();
    match begun {
        Get::Begun => {
            until(lanes, heard, |_, heard| of(heard).is_some())?;
            Ok(of(heard).is_some_and(|(_, done)| done))
        }
        end => Ok(matches!(end, Get::Done)),
    }
}

fn write<P: Port>(lanes: &mut [FabricLane<P>], heard: &mut [Heard; 2]) -> Result<bool> {
    let (mut source, mut into) = (vec![0xa5_u8; READ_BYTES], vec![0_u8; READ_BYTES]);
    // SAFETY: `into` is left alone until it is concealed, or leaked below.
    let Some(exposed) = (unsafe { lanes[0].expose(into.as_mut_ptr(), READ_BYTES) }) else {
        return Ok(false);
    };
    let Some(memory) = lanes[1].enter_memory(Peer(0), &exposed.name) else {
        lanes[0].conceal(exposed.number);
        return Ok(false);
    };
    let (local, bytes, way) = (source.as_mut_ptr(), READ_BYTES, Way::Write);
    let access = Access { memory, offset: 0, local, bytes, way };
    // SAFETY: `source` is left alone until the end was heard; if it never is, it is leaked below.
    let begun = unsafe { lanes[1].access(Peer(0), access, 3) };
    let confirming = lanes[1].confirm(Peer(0), 4);
    let written = end_of(lanes, heard, begun, 3);
    let ended = written.and_then(|written| Ok(written && end_of(lanes, heard, confirming, 4)?));
    match ended {
        Ok(ended) => {
            lanes[1].leave_memory(memory);
            lanes[0].conceal(exposed.number);
            Ok(ended && into == source)
        }
        Err(error) => {
            // The library may still work on them.
            std::mem::forget((source, into));
            Err(error)
        }
    }
}

fn until<P: Port>(
    lanes: &mut [FabricLane<P>],
    heard: &mut [Heard; 2],
    mut holds: impl FnMut(&mut [FabricLane<P>], &[Heard; 2]) -> bool,
) -> Result<()> {
    let begun = Instant::now();
    while !holds(lanes, heard) {
        for (lane, heard) in lanes.iter_mut().zip(heard.iter_mut()) {
            lane.poll(heard, 16);
        }
        if let Some(error) = heard.iter().find_map(|heard| heard.lost.clone()) {
            return Err(error);
        }
        if begun.elapsed() > PATIENCE {
            return Err(Error::new(Kind::Protocol(format!("nothing came within {PATIENCE:?}"))));
        }
    }
    Ok(())
}
