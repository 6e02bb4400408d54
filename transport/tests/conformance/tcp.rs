// SPDX-License-Identifier: Apache-2.0 OR MIT
//! TCP lanes of one process over loopback sockets.

use crate::suite::World;
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
