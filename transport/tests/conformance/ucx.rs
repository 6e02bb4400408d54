// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Lanes over UCX of one process, each with a worker of its own, over the transports that work
//! without hardware. UCX is installed by `cargo xtask test`.

use crate::suite::World;
use std::marker::PhantomData;
use strait_transport::envelope::Peer;
use strait_transport::lane::directory::MemoryDirectory;
use strait_transport::lane::fabric::Settings;
use strait_transport::lane::ucx::library::Library;
use strait_transport::lane::ucx::objects::{Objects, Wanted};
use strait_transport::lane::ucx::{UcxLane, UcxPort};

pub trait Transports {
    const NAMES: &str;
}

pub struct Tcp;
impl Transports for Tcp {
    const NAMES: &str = "tcp";
}

/// Memory shared by POSIX names, long messages copied by the kernel.
pub struct Posix;
impl Transports for Posix {
    const NAMES: &str = "posix,cma";
}

pub struct Sysv;
impl Transports for Sysv {
    const NAMES: &str = "sysv";
}

pub struct UcxWorld<T> {
    lanes: Vec<Option<UcxLane>>,
    directory: MemoryDirectory,
    transports: PhantomData<T>,
}

impl<T: Transports> World for UcxWorld<T> {
    type Lane = UcxLane;

    fn new(peers: u32) -> UcxWorld<T> {
        let directories = MemoryDirectory::all(peers);
        let directory = directories[0].clone();
        let library = Library::open().expect("libucx0 is installed by `cargo xtask test`");
        let lanes = directories.into_iter().enumerate().map(|(rank, directory)| {
            let mut settings = vec![("TLS".into(), T::NAMES.into())];
            if library.knows_loopback() {
                settings.push(("NET_DEVICES".into(), "lo".into()));
            }
            let wanted = Wanted { settings, size: peers };
            let objects = Objects::open(library, &wanted).expect(T::NAMES);
            let mut settings = Settings::new(rank as u32, peers, [1; 16], [2; 32]);
            settings.report = Box::new(|line| panic!("no strangers here: {line}"));
            let port = UcxPort::new(objects, false).expect(T::NAMES);
            Some(UcxLane::with_directory(port, settings, Box::new(directory)))
        });
        UcxWorld { lanes: lanes.collect(), directory, transports: PhantomData }
    }

    fn lane(&mut self, peer: u32) -> Option<&mut UcxLane> {
        self.lanes[peer as usize].as_mut()
    }

    fn kill(&mut self, peer: u32) {
        self.lanes[peer as usize] = None;
        self.directory.announce_loss(Peer(peer));
    }
}
