// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Communicators: a group, two contexts, and what users hang on them.
//!
//! An intercommunicator has a remote group; ranks of its point-to-point calls name remote
//! processes. Both groups use the same two contexts: a process is in only one of them.

use crate::abi::Code;
use crate::object::attribute::AttributeTable;
use crate::object::errhandler::ErrhandlerRef;
use crate::object::group::Group;
use crate::object::info::InfoData;
use crate::object::topology::Topology;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use strait_collectives::select::{Hosts, Named};
use strait_transport::envelope::Peer;
use strait_transport::lane::shm::desk::Board;

/// Code of MPI_COMM_NULL.
pub const COMM_NULL: Code = 0x100;
/// Code of MPI_COMM_WORLD.
pub const COMM_WORLD: Code = 0x101;
/// Code of MPI_COMM_SELF.
pub const COMM_SELF: Code = 0x102;

/// The info key that names an algorithm for one collective: `allreduce circulant window=4`. All
/// members must set it alike, before their first collective call, since the calls of such a
/// communicator go by messages also within a host. `strait tune` measures by it.
pub const ALGORITHM_HINT: &str = "strait_algorithm";

/// What such a communicator says of its members: `one` or `several`, as the tuning table calls it.
pub const HOSTS_HINT: &str = "strait_hosts";

/// A communicator.
pub struct Comm {
    /// Its handle.
    pub code: Cell<Code>,
    /// Context of point-to-point traffic; that of collective traffic is the next number.
    pub context: u32,
    /// The local group. This process is always a member.
    pub group: Group,
    /// This process's rank in the local group.
    pub rank: u32,
    /// The remote group of an intercommunicator.
    pub remote: Option<Group>,
    /// Whether the local group comes first in the union of both (intercommunicators): the group of
    /// the leader with the lower peer index.
    pub local_first: bool,
    /// A private intracommunicator context of the local group (intercommunicators), for the
    /// local phases of collective calls.
    pub local_context: u32,
    /// Error handler.
    pub errhandler: RefCell<ErrhandlerRef>,
    /// Attributes.
    pub attributes: RefCell<AttributeTable>,
    /// Name.
    pub name: RefCell<String>,
    /// Info hints.
    pub info: RefCell<InfoData>,
    /// Members whose loss was acknowledged: the first so many that this process heard of.
    pub acknowledged: Cell<usize>,
    /// Negative once it is revoked, else 0: a tag or rank together with it is none then.
    bar: Cell<i32>,
    /// Collective calls so far: their tag.
    pub collective_count: Cell<u64>,
    /// Its place in the node memory, once its first blocking collective call has settled whether
    /// there is one.
    pub board: OnceCell<Option<RefCell<Board>>>,
    /// The algorithm that the hint [`ALGORITHM_HINT`] asks for.
    pub algorithm: Cell<Option<Named>>,
    /// Where its members are, once a call by messages has asked.
    pub hosts: OnceCell<Hosts>,
    /// Virtual topology.
    pub topology: RefCell<Option<Topology>>,
    /// Buffer attached to this communicator for buffered sends.
    pub buffer: RefCell<Option<crate::object::request::BsendBuffer>>,
    /// Partitioned channels that are being matched.
    pub channels: RefCell<crate::object::partitioned::Channels>,
}

impl Comm {
    /// A communicator without attributes, with the given parts.
    pub fn new(context: u32, group: Group, remote: Option<Group>, handler: ErrhandlerRef) -> Comm {
        let rank = group.rank.expect("a process is a member of its own communicators");
        Comm {
            code: Cell::new(COMM_NULL),
            context,
            group,
            rank,
            remote,
            local_first: true,
            local_context: 0,
            errhandler: RefCell::new(handler),
            attributes: RefCell::new(AttributeTable::default()),
            name: RefCell::new(String::new()),
            info: RefCell::new(InfoData::default()),
            acknowledged: Cell::new(0),
            bar: Cell::new(0),
            collective_count: Cell::new(0),
            board: OnceCell::new(),
            algorithm: Cell::new(None),
            hosts: OnceCell::new(),
            topology: RefCell::new(None),
            buffer: RefCell::new(None),
            channels: RefCell::default(),
        }
    }

    /// Context of collective traffic.
    pub fn collective_context(&self) -> u32 {
        self.context + 1
    }

    /// Whether it is an intercommunicator.
    pub fn is_inter(&self) -> bool {
        self.remote.is_some()
    }

    /// The group that point-to-point ranks name.
    #[inline]
    pub fn target_group(&self) -> &Group {
        self.remote.as_ref().unwrap_or(&self.group)
    }

    /// The peer of a target rank.
    #[inline]
    pub fn peer(&self, rank: i32) -> Option<Peer> {
        self.target_group().members.get(usize::try_from(rank).ok()?)
    }

    /// Whether it is revoked.
    #[inline]
    pub fn is_revoked(&self) -> bool {
        self.bar.get() < 0
    }

    /// What a rank or tag is combined with by "or", to be refused if the communicator is revoked.
    #[inline(always)]
    pub fn bar(&self) -> i32 {
        self.bar.get()
    }

    /// Marks it as revoked; whether it was so before.
    pub fn revoke(&self) -> bool {
        self.bar.replace(i32::MIN) < 0
    }

    /// The tag of the next collective call.
    pub fn next_collective_tag(&self) -> u32 {
        let count = self.collective_count.get();
        self.collective_count.set(count + 1);
        (count & 0x3FFF_FFFF) as u32
    }

    /// What messages call it.
    pub fn describe(&self) -> String {
        match self.code.get() {
            COMM_WORLD => "MPI_COMM_WORLD".into(),
            COMM_SELF => "MPI_COMM_SELF".into(),
            code => {
                let name = self.name.borrow();
                if name.is_empty() {
                    format!("a communicator of {} (handle {code:#x})", self.group.size())
                } else {
                    format!("communicator \"{name}\"")
                }
            }
        }
    }
}

/// A communicator as it is shared.
pub type CommRef = Rc<Comm>;
