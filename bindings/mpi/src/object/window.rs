// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Windows: memory that a group exposes (MPI-5.0 chapter 12). How it is accessed is in `rma`.

use crate::abi::Code;
use crate::object::attribute::AttributeTable;
use crate::object::comm::Comm;
use crate::object::errhandler::ErrhandlerRef;
use crate::object::info::InfoData;
use crate::object::shared_memory::Mapping;
use crate::rma::control::Control;
use crate::rma::epoch::Epochs;
use crate::rma::network::ExposedTo;
use crate::rma::origin::Origin;
use crate::rma::target::Target;
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::rc::Rc;
use strait_transport::envelope::Peer;

/// Code of MPI_WIN_NULL.
pub const WIN_NULL: Code = 0x110;

/// How a window was made; canonical numbers are the standard ABI's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Flavor {
    /// The user's memory.
    Create = 311,
    /// Memory of ours.
    Allocate = 312,
    /// Memory that is attached and detached.
    Dynamic = 313,
    /// Memory that all members can load and store.
    Shared = 314,
}

/// Canonical MPI_WIN_UNIFIED: what is stored locally and what others access is one memory.
pub const UNIFIED: c_int = 321;

/// What one member exposes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// Bytes.
    pub bytes: usize,
    /// Bytes of one unit of a target displacement.
    pub unit: i64,
    /// Where it begins in the memory that the members share.
    pub offset: usize,
    /// Where it begins in the memory of its owner.
    pub address: u64,
    /// The owner's place among those of this host; `None`: it is on another one.
    pub place: Option<u32>,
}

/// How the memory of a target is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Mapped here, from this address on.
    Mapped(*mut u8),
    /// Through the kernel, from this address of the peer on.
    Kernel(Peer, u64),
    /// By messages.
    Messages,
}

/// Values behind predefined attributes, in the caller's numbers: calls give pointers to them.
#[derive(Debug)]
pub struct Facts {
    /// MPI_WIN_SIZE
    pub bytes: isize,
    /// MPI_WIN_DISP_UNIT
    pub unit: c_int,
    /// MPI_WIN_CREATE_FLAVOR
    pub flavor: c_int,
    /// MPI_WIN_MODEL
    pub model: c_int,
}

/// A window.
pub struct Win {
    /// Its handle.
    pub code: Cell<Code>,
    /// The members, with contexts of their own: the user may free the communicator.
    pub comm: Comm,
    /// How it was made.
    pub flavor: Flavor,
    /// This member's memory.
    pub base: *mut c_void,
    /// What the members expose, by rank.
    pub regions: Vec<Region>,
    /// Memory that we made; unmapped with the window.
    pub memory: Option<Mapping>,
    /// The mapping holds all members' regions, at their offsets.
    pub shared: bool,
    /// Members of a host reach each other's memory through the kernel.
    pub kernel: bool,
    /// Locks of the members that are on this host.
    pub control: Control,
    /// What may be accessed now.
    pub epochs: RefCell<Epochs>,
    /// This process as the origin of accesses by messages.
    pub origin: RefCell<Origin>,
    /// Whether it ever was that: nothing is to be flushed otherwise.
    pub is_origin: Cell<bool>,
    /// The same as their target.
    pub target: RefCell<Target>,
    /// What the network may access by itself, once somebody asked for it.
    pub exposed: RefCell<ExposedTo>,
    /// Calls that may be all that a program makes while it waits for another.
    pub idle_calls: Cell<u32>,
    /// Address and bytes of what is attached (dynamic windows).
    pub attached: RefCell<Vec<(usize, usize)>>,
    /// Values of predefined attributes.
    pub facts: Box<Facts>,
    /// Name.
    pub name: RefCell<String>,
    /// Hints.
    pub info: RefCell<InfoData>,
    /// Error handler.
    pub errhandler: RefCell<ErrhandlerRef>,
    /// Attributes.
    pub attributes: RefCell<AttributeTable>,
}

/// A window as it is shared.
pub type WinRef = Rc<Win>;

impl Win {
    /// What messages call it.
    pub fn describe(&self) -> String {
        let name = self.name.borrow();
        match name.as_str() {
            "" => format!("a window of {} (handle {:#x})", self.regions.len(), self.code.get()),
            name => format!("window \"{name}\""),
        }
    }

    /// A member's region as this process can load and store it; `None` if it cannot.
    pub fn reachable(&self, rank: usize) -> Option<(*mut c_void, Region)> {
        let region = *self.regions.get(rank)?;
        if rank == self.comm.rank as usize {
            return Some((self.base, region));
        }
        let memory = self.memory.as_ref().filter(|_| self.shared)?;
        Some((memory.base().wrapping_add(region.offset).cast(), region))
    }

    /// The process of a member.
    #[inline]
    pub fn peer(&self, rank: u32) -> Peer {
        self.comm.group.members.at(rank as usize)
    }

    /// A member's place among those of this host.
    #[inline]
    pub fn place(&self, rank: u32) -> Option<usize> {
        self.regions[rank as usize].place.map(|place| place as usize)
    }

    /// How accesses reach a member's memory.
    #[inline]
    pub fn reach(&self, rank: u32) -> Reach {
        if rank == self.comm.rank {
            return Reach::Mapped(self.base.cast());
        }
        let region = &self.regions[rank as usize];
        if region.place.is_none() {
            return Reach::Messages;
        }
        match &self.memory {
            Some(memory) if self.shared => Reach::Mapped(memory.base().wrapping_add(region.offset)),
            _ if self.kernel => Reach::Kernel(self.peer(rank), region.address),
            _ => Reach::Messages,
        }
    }

    /// Whether members may send requests, which must be served.
    pub fn is_served(&self) -> bool {
        (0..self.regions.len() as u32).any(|rank| self.reach(rank) == Reach::Messages)
    }

    /// The context of replies; that of requests is the communicator's own.
    pub fn reply_context(&self) -> u32 {
        self.comm.context + 2
    }

    /// Whether this process exposes the bytes `from .. to`: offsets in its region, or addresses of
    /// what it attached.
    pub fn exposes(&self, from: i64, to: i64) -> bool {
        let (Ok(from), Ok(to)) = (usize::try_from(from), usize::try_from(to)) else {
            return false;
        };
        match self.flavor {
            Flavor::Dynamic => {
                let attached = self.attached.borrow();
                attached.iter().any(|(start, bytes)| *start <= from && to <= start + bytes)
            }
            _ => to <= self.regions[self.comm.rank as usize].bytes,
        }
    }
}

/// Lays regions out one after another: without gaps, or each on its own multiple of `alignment`.
/// The offsets and the total; `None` if that is more than there are addresses.
pub fn lay_out(sizes: &[usize], alignment: usize) -> Option<(Vec<usize>, usize)> {
    let mut end = 0usize;
    let mut offsets = Vec::with_capacity(sizes.len());
    for size in sizes {
        let offset = end.checked_next_multiple_of(alignment)?;
        offsets.push(offset);
        end = offset.checked_add(*size)?;
    }
    isize::try_from(end).ok()?;
    Some((offsets, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_follow_each_other() {
        assert_eq!(lay_out(&[3, 0, 5], 1), Some((vec![0, 3, 3], 8)));
        assert_eq!(lay_out(&[3, 0, 65, 1], 64), Some((vec![0, 64, 64, 192], 193)));
        assert_eq!(lay_out(&[], 64), Some((vec![], 0)));
        assert_eq!(lay_out(&[usize::MAX, 2], 1), None);
        assert_eq!(lay_out(&[isize::MAX as usize, 2], 1), None);
    }
}
