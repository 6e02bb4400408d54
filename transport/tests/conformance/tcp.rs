// SPDX-License-Identifier: Apache-2.0 OR MIT
//! TCP lanes of one process over loopback sockets.

use crate::suite::World;
use std::net::Ipv4Addr;
use strait_transport::lane::directory::MemoryDirectory;
use strait_transport::lane::tcp::{Settings, TcpLane};

pub struct TcpWorld {
    lanes: Vec<Option<TcpLane>>,
}

impl World for TcpWorld {
    type Lane = TcpLane;

    fn new(peers: u32) -> TcpWorld {
        let directories = MemoryDirectory::all(peers);
        let lanes = directories.into_iter().enumerate().map(|(rank, directory)| {
            let mut settings = Settings::new(rank as u32, peers, [1; 16], [2; 32]);
            settings.report = Box::new(|line| panic!("no strangers here: {line}"));
            Some(TcpLane::with_directory(settings, Box::new(directory)).expect("a lane"))
        });
        TcpWorld { lanes: lanes.collect() }
    }

    fn lane(&mut self, peer: u32) -> Option<&mut TcpLane> {
        self.lanes[peer as usize].as_mut()
    }

    fn kill(&mut self, peer: u32) {
        self.lanes[peer as usize] = None;
    }
}

/// The same with two rails for each pair: each lane listens on two addresses of its own.
pub struct RailWorld {
    lanes: Vec<Option<TcpLane>>,
}

impl World for RailWorld {
    type Lane = TcpLane;

    fn new(peers: u32) -> RailWorld {
        let directories = MemoryDirectory::all(peers);
        let lanes = directories.into_iter().enumerate().map(|(rank, directory)| {
            let mut settings = Settings::new(rank as u32, peers, [1; 16], [2; 32]);
            settings.ip = Ipv4Addr::new(127, 1, rank as u8, 1);
            settings.other_ips = vec![Ipv4Addr::new(127, 1, rank as u8, 2)];
            settings.report = Box::new(|line| panic!("nothing to report here: {line}"));
            Some(TcpLane::with_directory(settings, Box::new(directory)).expect("a lane"))
        });
        RailWorld { lanes: lanes.collect() }
    }

    fn lane(&mut self, peer: u32) -> Option<&mut TcpLane> {
        self.lanes[peer as usize].as_mut()
    }

    fn kill(&mut self, peer: u32) {
        self.lanes[peer as usize] = None;
    }
}
