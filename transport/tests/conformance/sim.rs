// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The simulated network: patient, with delays, small links and stalls, but no refusals by chance
//! (the suite asks for Full where a lane is full, and sees whether it stays).

use crate::suite::World;
use strait_transport::envelope::Peer;
use strait_transport::lane::sim::{SimLane, SimNet, SimPlan};

pub struct SimWorld {
    net: SimNet,
    lanes: Vec<Option<SimLane>>,
}

impl World for SimWorld {
    type Lane = SimLane;
    /// Its dead take some of their messages with them.
    const KEEPS_LAST_WORDS: bool = false;

    fn new(peers: u32) -> SimWorld {
        let net = SimNet::new(SimPlan {
            size: peers,
            seed: 7,
            capacity: 16,
            delay_max: 20,
            stall_one_in: 50,
            stall_max: 100,
            full_one_in: 0,
            short_bytes_max: 200,
            fragment_bytes_max: 8192,
            piece_bytes_max: 8192,
            bulk_bytes_max: 0,
            get: false,
            refuse_get: false,
        });
        let lanes = (0..peers).map(|peer| Some(net.lane(Peer(peer)))).collect();
        SimWorld { net, lanes }
    }

    fn lane(&mut self, peer: u32) -> Option<&mut SimLane> {
        self.lanes[peer as usize].as_mut()
    }

    fn kill(&mut self, peer: u32) {
        self.lanes[peer as usize] = None;
        self.net.kill(Peer(peer));
    }

    fn pass_time(&mut self) {
        self.net.advance(1);
    }
}
