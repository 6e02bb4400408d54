// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Cached attributes: keyvals with their callbacks, and the table that an object carries
//! (MPI-5.0 section 7.7).

use crate::abi::{CopyFunction, HandleKind};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::rc::Rc;

/// First dynamic keyval; above all predefined ones of the standard ABI, below the MPICH ABI's.
pub const FIRST_KEYVAL: c_int = 0x1_0000;

/// A keyval.
#[derive(Debug)]
pub struct Keyval {
    /// Comm, Datatype or Win.
    pub kind: HandleKind,
    /// Called when the object is duplicated.
    pub copy: CopyFunction,
    /// Called when the attribute is deleted; null: nothing to do.
    pub delete: *const c_void,
    /// Passed to both.
    pub extra_state: *mut c_void,
    /// Freed by the user: no new attributes, callbacks still run for those that exist.
    pub freed: Cell<bool>,
}

/// One attribute.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// The keyval's number.
    pub keyval_code: c_int,
    /// Its callbacks.
    pub keyval: Rc<Keyval>,
    /// The user's pointer-sized value.
    pub value: *mut c_void,
}

/// Attributes in the order in which they were set.
#[derive(Default, Debug)]
pub struct AttributeTable {
    attributes: Vec<Attribute>,
}

impl AttributeTable {
    /// The attribute of a keyval.
    pub fn get(&self, keyval_code: c_int) -> Option<&Attribute> {
        self.attributes.iter().find(|a| a.keyval_code == keyval_code)
    }

    /// Sets or replaces; returns the old one, whose delete callback has run before.
    pub fn set(&mut self, attribute: Attribute) -> Option<Attribute> {
        match self.attributes.iter_mut().find(|a| a.keyval_code == attribute.keyval_code) {
            Some(old) => Some(std::mem::replace(old, attribute)),
            None => {
                self.attributes.push(attribute);
                None
            }
        }
    }

    /// Takes one out.
    pub fn remove(&mut self, keyval_code: c_int) -> Option<Attribute> {
        let at = self.attributes.iter().position(|a| a.keyval_code == keyval_code)?;
        Some(self.attributes.remove(at))
    }

    /// The one set last: deletion at free goes backwards.
    pub fn last(&self) -> Option<Attribute> {
        self.attributes.last().cloned()
    }

    /// All, for copying at dup.
    pub fn all(&self) -> Vec<Attribute> {
        self.attributes.clone()
    }
}
