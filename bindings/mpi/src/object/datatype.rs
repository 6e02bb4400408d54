// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a datatype handle stands for: the type itself, and what users hang on the handle.

use crate::abi::Code;
use crate::datatype::Type;
use crate::object::attribute::AttributeTable;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Code of MPI_DATATYPE_NULL.
pub const DATATYPE_NULL: Code = 0x200;

/// A datatype handle's object.
pub struct DatatypeObject {
    /// Its handle.
    pub code: Cell<Code>,
    /// Meaning and layout.
    pub ty: Arc<Type>,
    /// May be used in communication.
    pub committed: Cell<bool>,
    /// Name.
    pub name: RefCell<String>,
    /// Attributes.
    pub attributes: RefCell<AttributeTable>,
}

/// As it is shared.
pub type DatatypeRef = Rc<DatatypeObject>;
