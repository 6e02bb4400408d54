// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Lanes over libfabric of one process, each with an endpoint of its own, over the providers that
//! work without hardware. Where libfabric is not installed there is nothing to test.

use crate::suite::World;
use std::marker::PhantomData;
use std::net::Ipv4Addr;
use strait_transport::envelope::Peer;
use strait_transport::lane::directory::MemoryDirectory;
use strait_transport::lane::fabric::Settings;
use strait_transport::lane::ofi::library::Library;
use strait_transport::lane::ofi::objects::Objects;
use strait_transport::lane::ofi::provider::Wanted;
use strait_transport::lane::ofi::{OfiLane, OfiPort};

pub trait Provider {
    const NAME: &str;
}

pub struct Tcp;
impl Provider for Tcp {
    const NAME: &str = "tcp";
}

pub struct Udp;
impl Provider for Udp {
    const NAME: &str = "udp;ofi_rxd";
}

pub struct Shm;
impl Provider for Shm {
    const NAME: &str = "shm";
}

pub struct OfiWorld<P> {
    lanes: Vec<Option<OfiLane>>,
    directory: MemoryDirectory,
    provider: PhantomData<P>,
}

impl<P: Provider> World for OfiWorld<P> {
    type Lane = OfiLane;

    fn new(peers: u32) -> OfiWorld<P> {
        let directories = MemoryDirectory::all(peers);
        let directory = directories[0].clone();
        let lanes = directories.into_iter().enumerate().map(|(rank, directory)| {
            let wanted = Wanted {
                provider: Some(P::NAME.to_owned()),
                hardware: false,
                ip: Some(Ipv4Addr::LOCALHOST),
                ..Wanted::default()
            };
            let library = Library::open().expect("libfabric1 is installed by `cargo xtask test`");
            let objects = Objects::open(library, &wanted).expect(P::NAME);
            let port = OfiPort::new(objects).expect(P::NAME);
            let mut settings = Settings::new(rank as u32, peers, [1; 16], [2; 32]);
            settings.report = Box::new(|line| panic!("no strangers here: {line}"));
            Some(OfiLane::with_directory(port, settings, Box::new(directory)))
        });
        OfiWorld { lanes: lanes.collect(), directory, provider: PhantomData }
    }

    fn lane(&mut self, peer: u32) -> Option<&mut OfiLane> {
        self.lanes[peer as usize].as_mut()
    }

    fn kill(&mut self, peer: u32) {
        self.lanes[peer as usize] = None;
        self.directory.announce_loss(Peer(peer));
    }
}
