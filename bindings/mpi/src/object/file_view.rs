// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Views of files (MPI-5.0 section 14.3): a displacement, then a filetype again and again. The data
//! of a view is the bytes of its filetypes without the holes; offsets count etypes of it.
//!
//! Invariant: the runs of a filetype never go back (MPI_File_set_view refuses others), so that data
//! and file have the same order.

use crate::abi::Code;
use crate::datatype::Type;
use crate::error::{Result, class, error};
use std::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;

/// How values are written in a file (MPI-5.0 section 14.5).
#[derive(Clone)]
pub enum Representation {
    /// As in memory.
    Native,
    /// As in memory: all processes of a job have the same one.
    Internal,
    /// Big-endian, fixed sizes.
    External32,
    /// A user's functions.
    User(Rc<UserRepresentation>),
}

/// What MPI_Register_datarep was given.
pub struct UserRepresentation {
    /// Its name.
    pub name: String,
    /// Reading conversion; null: bytes are as in memory.
    pub read: *const c_void,
    /// Writing conversion; null: bytes are as in memory.
    pub write: *const c_void,
    /// `int (*)(MPI_Datatype, MPI_Aint *, void *)`
    pub extent: *const c_void,
    /// Passed to all.
    pub extra_state: *mut c_void,
    /// Whether the conversions take an MPI_Count.
    pub large: bool,
}

impl Representation {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Representation::Native => "native",
            Representation::Internal => "internal",
            Representation::External32 => "external32",
            Representation::User(user) => &user.name,
        }
    }
}

/// What of a file a process sees.
#[derive(Clone)]
pub struct View {
    /// Where it begins, in bytes.
    pub displacement: i64,
    /// The unit of offsets, as the user passed it.
    pub etype: Arc<Type>,
    /// The template that is repeated over the file, as the user passed it.
    pub filetype: Arc<Type>,
    /// How values are written.
    pub representation: Representation,
    /// The bytes of an etype in the file.
    pub etype_bytes: i64,
    /// The filetype with the sizes that it has in the file.
    pub layout: Arc<Type>,
}

impl View {
    /// Bytes, from the beginning.
    pub fn bytes() -> View {
        const BYTE: Code = 0x247;
        let byte = crate::datatype::predefined(BYTE).expect("MPI_BYTE exists");
        View {
            displacement: 0,
            etype: byte.clone(),
            filetype: byte.clone(),
            representation: Representation::Native,
            etype_bytes: 1,
            layout: byte.clone(),
        }
    }

    /// Whether its data bytes lie side by side.
    pub fn is_dense(&self) -> bool {
        // Two elements are one run only if they have no holes and no gap between them.
        self.layout.contiguous_bytes(2).is_some()
    }

    /// Calls `found` with place and length in the file of each run of a range of its data, which
    /// [`View::range`] has checked.
    pub fn each_run(&self, from: i64, bytes: usize, found: &mut dyn FnMut(i64, usize)) {
        self.layout.each_run(from, bytes, &mut |at, length| found(self.displacement + at, length));
    }

    /// The first data byte of a range of etypes, if all its bytes have a place in a file.
    pub fn range(&self, offset: i64, bytes: i64) -> Result<i64> {
        let beyond = || error(class::ARG, format!("the offset {offset} is beyond any file"));
        let Some(from) = offset.checked_mul(self.etype_bytes) else {
            return beyond();
        };
        if self.layout.size() == 0 {
            return match bytes {
                0 => Ok(0),
                _ => error(class::ARG, "the filetype of the view has no data"),
            };
        }
        let elements = (i128::from(from) + i128::from(bytes)) / i128::from(self.layout.size()) + 1;
        let end = i128::from(self.displacement)
            + elements * i128::from(self.layout.extent().max(0))
            + i128::from(self.layout.true_ub());
        if end > i128::from(i64::MAX) { beyond() } else { Ok(from) }
    }

    /// The byte of the file where an offset lies.
    pub fn byte_of(&self, offset: i64) -> Result<i64> {
        let from = self.range(offset, 0)?;
        Ok(self.place(from))
    }

    /// Where a data byte lies that [`View::range`] has checked.
    pub fn place(&self, from: i64) -> i64 {
        let mut place = self.displacement;
        self.each_run(from, 1, &mut |at, _| place = at);
        place
    }

    /// The first of `bytes` data bytes from `from` on that lies at `byte` of the file or behind it;
    /// their end if none does.
    pub fn first_at(&self, from: i64, bytes: i64, byte: i64) -> i64 {
        let (mut low, mut high) = (from, from + bytes);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.place(middle) < byte {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The first offset that lies wholly behind a file of that many bytes.
    pub fn end_of(&self, bytes: i64) -> Result<i64> {
        if self.layout.size() == 0 {
            return Ok(0);
        }
        // Each data byte has a byte of the file to itself: no offset before the end is larger.
        let seen = (bytes - self.displacement).max(0) as u64;
        let (mut low, mut high) = (0, seen.div_ceil(self.etype_bytes as u64) as i64);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.range(middle, 0) {
                Ok(from) if self.place(from) < bytes => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datatype::{Form, predefined};

    fn of(displacement: i64, etype: &Arc<Type>, filetype: &Arc<Type>) -> View {
        View {
            displacement,
            etype: etype.clone(),
            filetype: filetype.clone(),
            etype_bytes: etype.size(),
            layout: filetype.clone(),
            ..View::bytes()
        }
    }

    #[test]
    fn offsets_count_etypes_from_the_displacement() {
        let view = View::bytes();
        assert_eq!(view.byte_of(7).unwrap(), 7);
        assert_eq!(view.end_of(7).unwrap(), 7);
        let int = predefined(0x209).unwrap();
        let size = int.size();
        assert!(size > 1);
        let view = of(3, int, int);
        assert_eq!(view.byte_of(2).unwrap(), 3 + 2 * size);
        assert_eq!(view.end_of(2).unwrap(), 0);
        assert_eq!(view.end_of(3 + size).unwrap(), 1);
        assert_eq!(view.end_of(3 + size + 1).unwrap(), 2);
        assert_eq!(view.byte_of(i64::MAX).unwrap_err().code, class::ARG);
    }

    #[test]
    fn holes_are_passed_over() {
        let int = predefined(0x209).unwrap();
        let pairs = Type::vector(Form::Int, 2, 1, 2, int).unwrap();
        let view = of(100, int, &Type::resized(Form::Int, 0, 20, &pairs).unwrap());
        assert!(!view.is_dense());
        let places: Vec<i64> = (0..5).map(|offset| view.byte_of(offset).unwrap()).collect();
        assert_eq!(places, [100, 108, 120, 128, 140]);
        let ends = [0, 100, 101, 104, 108, 109, 120, 121].map(|bytes| view.end_of(bytes).unwrap());
        assert_eq!(ends, [0, 0, 1, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn a_filetype_without_data_takes_none() {
        let int = predefined(0x209).unwrap();
        let view = of(8, int, &Type::contiguous(Form::Int, 0, int).unwrap());
        assert_eq!(view.range(0, 0).unwrap(), 0);
        assert_eq!(view.range(0, 4).unwrap_err().code, class::ARG);
        assert_eq!(view.byte_of(0).unwrap(), 8);
    }
}
