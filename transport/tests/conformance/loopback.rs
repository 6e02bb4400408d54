// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A worker talking to itself.

use crate::suite::World;
use strait_transport::envelope::Peer;
use strait_transport::lane::loopback::Loopback;

pub struct LoopbackWorld(Loopback);

impl World for LoopbackWorld {
    type Lane = Loopback;
    const SEVERAL_PEERS: bool = false;

    fn new(peers: u32) -> LoopbackWorld {
        assert_eq!(peers, 1);
        LoopbackWorld(Loopback::new(Peer(0)))
    }

    fn lane(&mut self, _peer: u32) -> Option<&mut Loopback> {
        Some(&mut self.0)
    }

    fn kill(&mut self, _peer: u32) {
        unreachable!("a worker does not survive itself")
    }
}
