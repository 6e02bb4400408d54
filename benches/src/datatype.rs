// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The datatypes that `-T` knows.
#![forbid(unsafe_code)]

use crate::mpi::raw;

/// What an element is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    Char,
    Int,
    Float,
}

impl Type {
    pub const ALL: [Type; 3] = [Type::Char, Type::Int, Type::Float];

    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Type::Char => 1,
            Type::Int | Type::Float => 4,
        }
    }

    pub fn handle(self) -> raw::Datatype {
        match self {
            Type::Char => raw::CHAR,
            Type::Int => raw::INT,
            Type::Float => raw::FLOAT,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Type::Char => "MPI_CHAR",
            Type::Int => "MPI_INT",
            Type::Float => "MPI_FLOAT",
        }
    }
}
