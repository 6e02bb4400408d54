// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shared-memory lanes of one process, each over a mapping of its own of one node memory. (Lanes of
//! several processes are in shm_processes.rs.)

use crate::suite::World;
use strait_transport::bootstrap;
use strait_transport::lane::shm::ShmLane;
use strait_transport::node::{Node, NodePlan};

pub struct ShmWorld {
    node: Node,
    lanes: Vec<Option<ShmLane>>,
}

impl World for ShmWorld {
    type Lane = ShmLane;

    fn new(peers: u32) -> ShmWorld {
        let plan = NodePlan {
            job: [1; 16],
            key: [2; 32],
            size: peers,
            first_local_rank: 0,
            local_size: peers,
        };
        let node = Node::create(&plan).expect("a node");
        let lanes = (0..peers).map(|rank| {
            let descriptor = node.descriptor().try_clone_to_owned().expect("a descriptor");
            let mapped = Node::open(descriptor).expect("a mapping");
            let job = bootstrap::join(mapped, rank).expect("a record");
            Some(ShmLane::new(&job).expect("a lane"))
        });
        ShmWorld { lanes: lanes.collect(), node }
    }

    fn lane(&mut self, peer: u32) -> Option<&mut ShmLane> {
        self.lanes[peer as usize].as_mut()
    }

    fn kill(&mut self, peer: u32) {
        self.lanes[peer as usize] = None;
        self.node.announce_loss(peer);
    }
}
