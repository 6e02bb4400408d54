// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Windows: memory that a group exposes (MPI-5.0 chapter 12). The accesses themselves (MPI_Put and
//! the rest) are not built yet; what is here is the object, and memory that ranks share.

use crate::abi::Code;
use crate::object::attribute::AttributeTable;
use crate::object::comm::Comm;
use crate::object::errhandler::ErrhandlerRef;
use crate::object::info::InfoData;
use crate::object::shared_memory::Mapping;
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::rc::Rc;

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
