// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Datatypes: what they mean, how they are made, and how their bytes are moved.
//!
//! A [`Type`] is immutable and shared. It knows its type map as a tree of constructors (`Body`),
//! its bounds, and what MPI_Type_get_contents must answer. The first use (or a commit) flattens the
//! tree to a program (program.rs) that packs and unpacks any range of bytes.
//!
//! Invariants:
//! 1. Packed bytes come in the order of the type map, not of addresses.
//! 2. `lb` and `ub` follow markers where there are any (MPI_Type_create_resized); else they are the
//!    bounds of the children, `ub` rounded up so that the extent is a multiple of the alignment.
//! 3. All sums were checked when the type was made: nothing overflows later.
//!
//! Not here: handles, names that users give, attributes, and whether a handle was committed.

mod array;
mod bounds;
mod build;
mod count;
mod external;
mod in_file;
mod named;
mod program;
mod runs;

pub use array::{DEFAULT_LENGTH, Distribution};
pub use build::{Fault, Form, Order};
pub use named::{
    Class, ContiguousSizes, absent_name, codes, is_absent, match_size, predefined, value_index,
};

use crate::abi::{Code, LB};
use bounds::Bounds;
use named::{Named, Part};
use program::Program;
use std::fmt;
use std::sync::{Arc, OnceLock};
use strait_collectives::reduce::Basic;
use strait_transport::payload::{Layout, Payload};

/// How a type was made; the numbers are the standard ABI's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Combiner {
    Named = 101,
    Dup = 102,
    Contiguous = 103,
    Vector = 104,
    Hvector = 105,
    Indexed = 106,
    Hindexed = 107,
    IndexedBlock = 108,
    HindexedBlock = 109,
    Struct = 110,
    Subarray = 111,
    Darray = 112,
    F90Real = 113,
    F90Complex = 114,
    F90Integer = 115,
    Resized = 116,
}

/// The arguments that a type was made of, as MPI_Type_get_contents returns them. Enum-like integers
/// (the order, the distributions, [`DEFAULT_LENGTH`]) are canonical.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Contents {
    pub integers: Vec<i32>,
    pub addresses: Vec<i64>,
    /// Large counts; only types made by a `_c` function have them.
    pub counts: Vec<i64>,
    pub types: Vec<Arc<Type>>,
}

/// The type map as a tree.
enum Body {
    Named {
        parts: Vec<Part>,
    },
    Marker,
    /// `count` blocks of `length` children each, `stride` bytes apart.
    Strided {
        child: Arc<Type>,
        count: i64,
        length: i64,
        stride: i64,
    },
    /// Blocks of children: displacement in bytes, and number.
    Blocks {
        child: Arc<Type>,
        blocks: Vec<(i64, i64)>,
    },
    /// Blocks of different children.
    Struct {
        fields: Vec<(i64, i64, Arc<Type>)>,
    },
    /// The map of another type.
    Same {
        child: Arc<Type>,
    },
}

/// A datatype.
pub struct Type {
    body: Body,
    bounds: Bounds,
    /// The one kind of predefined type that it consists of.
    basic: Option<Basic>,
    combiner: Combiner,
    contents: Contents,
    /// Code and name, if it is predefined.
    name: Option<(Code, &'static str)>,
    program: OnceLock<Program>,
}

impl Type {
    fn named(named: &'static Named) -> Type {
        let parts = named.parts();
        let bounds = Bounds::of_parts(&parts, named.basic.bytes() as i64, named.alignment());
        Type {
            body: Body::Named { parts },
            bounds,
            basic: Some(named.basic),
            combiner: Combiner::Named,
            contents: Contents::default(),
            name: Some((named.code, named.name)),
            program: OnceLock::new(),
        }
    }

    fn marker(code: Code, name: &'static str) -> Type {
        Type {
            body: Body::Marker,
            bounds: Bounds::of_marker(code == LB),
            basic: None,
            combiner: Combiner::Named,
            contents: Contents::default(),
            name: Some((code, name)),
            program: OnceLock::new(),
        }
    }

    /// Bytes of data in one element.
    #[inline]
    pub fn size(&self) -> i64 {
        self.bounds.size
    }

    /// Lower bound.
    #[inline]
    pub fn lb(&self) -> i64 {
        self.bounds.lb
    }

    /// Upper bound.
    #[inline]
    pub fn ub(&self) -> i64 {
        self.bounds.ub
    }

    /// Bytes from one element to the next in an array.
    #[inline]
    pub fn extent(&self) -> i64 {
        self.bounds.ub - self.bounds.lb
    }

    /// Displacement of the first byte of data.
    #[inline]
    pub fn true_lb(&self) -> i64 {
        self.bounds.true_lb
    }

    /// Displacement behind the last byte of data.
    #[inline]
    pub fn true_ub(&self) -> i64 {
        self.bounds.true_ub
    }

    /// Bytes between the two.
    #[inline]
    pub fn true_extent(&self) -> i64 {
        self.bounds.true_ub - self.bounds.true_lb
    }

    /// The largest alignment of its basic elements.
    pub fn alignment(&self) -> i64 {
        self.bounds.alignment
    }

    /// Basic elements in one element, as MPI_Get_elements counts them: a pair has two.
    pub fn elements(&self) -> i64 {
        self.bounds.elements
    }

    /// The single kind of predefined type that it is made of.
    pub fn basic(&self) -> Option<Basic> {
        self.basic
    }

    /// How many of [`Type::basic`] one element has.
    pub fn basic_count(&self) -> Option<i64> {
        self.basic.map(|basic| self.size() / basic.element.packed_bytes() as i64)
    }

    /// How it was made.
    pub fn combiner(&self) -> Combiner {
        self.combiner
    }

    /// What it was made of.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Its canonical code, if it is predefined.
    pub fn code(&self) -> Option<Code> {
        self.name.map(|name| name.0)
    }

    /// Whether it is one of the C constants.
    #[inline]
    pub fn is_predefined(&self) -> bool {
        self.name.is_some()
    }

    /// The name it has before a user gives it another: that of its C constant, or empty.
    pub fn default_name(&self) -> &'static str {
        self.name.map_or("", |name| name.1)
    }

    /// Flattens it now, so that no communication has to.
    pub fn commit(&self) {
        self.program();
    }

    fn program(&self) -> &Program {
        self.program.get_or_init(|| Program::of(self))
    }

    /// Whether `count` elements are one run of bytes; its displacement and length if they are.
    #[inline]
    pub fn contiguous_bytes(&self, count: i64) -> Option<(i64, usize)> {
        if count == 0 || self.bounds.size == 0 {
            return Some((0, 0));
        }
        let (offset, dense) = self.program().run()?;
        (dense || count == 1).then(|| (offset, self.bounds.size as usize * count as usize))
    }

    /// The payload of `count` elements at `base`.
    #[inline]
    pub fn payload(self: &Arc<Type>, base: *mut u8, count: i64) -> Payload {
        match self.contiguous_bytes(count) {
            Some((offset, bytes)) => {
                Payload::Contiguous { base: base.wrapping_offset(offset as isize), bytes }
            }
            None => {
                let layout: Arc<dyn Layout> = self.clone();
                Payload::Typed { base, count: count as usize, layout }
            }
        }
    }
}

// SAFETY: the program's runs are the data of the type map (tested against a plain one); `pack`
// fills `into` to its end because the caller's range lies within the elements.
unsafe impl Layout for Type {
    fn packed_bytes(&self) -> usize {
        self.bounds.size as usize
    }

    unsafe fn pack(&self, base: *const u8, count: usize, offset: usize, into: &mut [u8]) {
        // SAFETY: the caller's promise.
        unsafe { self.program().pack(base, count, offset, into) }
    }

    unsafe fn unpack(&self, base: *mut u8, count: usize, offset: usize, from: &[u8]) {
        // SAFETY: the caller's promise.
        unsafe { self.program().unpack(base, count, offset, from) }
    }
}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{:?}{:?}", self.combiner, self.contents),
        }
    }
}

impl PartialEq for Type {
    /// Whether both were made in the same way.
    fn eq(&self, other: &Type) -> bool {
        self.name == other.name
            && self.combiner == other.combiner
            && self.contents == other.contents
    }
}
