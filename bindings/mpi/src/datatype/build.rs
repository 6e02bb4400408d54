// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The constructors.
//!
//! Counts and displacements are 64-bit; [`Form`] says only whether MPI_Type_get_contents answers
//! with integers and addresses or with large counts. Blocks without elements are legal and leave
//! nothing in the type map.

use super::bounds::Gather;
use super::{Body, Combiner, Contents, Type, predefined};
use std::sync::{Arc, OnceLock};

/// Why a type cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// A count or block length is negative.
    #[error("a count or block length is negative")]
    Count,
    /// Another argument is out of its range.
    #[error("an argument is out of its range")]
    Argument,
    /// The type cannot be used here.
    #[error("a datatype cannot be used here")]
    Type,
    /// A size or bound does not fit in 64 bits.
    #[error("the size or extent of the datatype does not fit in 64 bits")]
    Overflow,
}

/// Which of the twin functions made the type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// The one with `int` counts.
    Int,
    /// The one with `MPI_Count` counts.
    Large,
}

/// How the dimensions of an array lie in memory; the numbers are the standard ABI's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Order {
    /// The last dimension is the dense one.
    C = 12,
    /// The first dimension is the dense one.
    Fortran = 15,
}

impl Order {
    /// The order of a canonical code.
    pub fn from_code(code: i32) -> Option<Order> {
        match code {
            12 => Some(Order::C),
            15 => Some(Order::Fortran),
            _ => None,
        }
    }
}

type Made = Result<Arc<Type>, Fault>;

/// Gathers the arguments of a constructor for MPI_Type_get_contents.
pub(super) struct Arguments {
    form: Form,
    contents: Contents,
}

impl Arguments {
    pub fn of(form: Form, types: &[Arc<Type>]) -> Arguments {
        Arguments { form, contents: Contents { types: types.to_vec(), ..Contents::default() } }
    }

    /// Integers in both forms.
    pub fn integers(mut self, values: &[i32]) -> Arguments {
        self.contents.integers.extend_from_slice(values);
        self
    }

    /// Integers, or large counts.
    pub fn counts(mut self, values: &[i64]) -> Arguments {
        match self.form {
            Form::Int => self.contents.integers.extend(values.iter().map(|&v| v as i32)),
            Form::Large => self.contents.counts.extend_from_slice(values),
        }
        self
    }

    /// Addresses, or large counts.
    pub fn addresses(mut self, values: &[i64]) -> Arguments {
        match self.form {
            Form::Int => self.contents.addresses.extend_from_slice(values),
            Form::Large => self.contents.counts.extend_from_slice(values),
        }
        self
    }
}

/// Displacements in children, as bytes.
fn in_bytes(displacements: &[i64], child: &Type) -> Result<Vec<i64>, Fault> {
    let scale = |d: &i64| d.checked_mul(child.extent()).ok_or(Fault::Overflow);
    displacements.iter().map(scale).collect()
}

/// Refuses negative counts.
fn natural(counts: &[i64]) -> Result<(), Fault> {
    if counts.iter().any(|&count| count < 0) { Err(Fault::Count) } else { Ok(()) }
}

fn count_of<T>(list: &[T]) -> i64 {
    list.len() as i64
}

impl Type {
    /// A type that is its body's, described by the arguments.
    fn made(body: Body, combiner: Combiner, arguments: Arguments) -> Made {
        let mut gather = Gather::new();
        let basic = match &body {
            Body::Strided { child, count, length, stride } => {
                let last = i128::from((count - 1).max(0)) * i128::from(*stride);
                let block = i128::from((length - 1).max(0)) * i128::from(child.extent());
                if *count > 0 && *length > 0 {
                    let copies = i128::from(*count) * i128::from(*length);
                    let low = last.min(0) + block.min(0);
                    gather.add(child, copies, low, last.max(0) + block.max(0));
                }
                child.basic
            }
            Body::Blocks { child, blocks } => {
                for &(displacement, length) in blocks {
                    gather.add_block(child, displacement.into(), length);
                }
                child.basic
            }
            Body::Struct { fields } => {
                for (displacement, length, child) in fields {
                    gather.add_block(child, (*displacement).into(), *length);
                }
                let mut kinds =
                    fields.iter().filter(|f| f.1 > 0 && f.2.size() > 0).map(|f| f.2.basic);
                kinds.next().flatten().filter(|&first| kinds.all(|kind| kind == Some(first)))
            }
            Body::Same { child } => {
                gather.add_block(child, 0, 1);
                child.basic
            }
            Body::Named { .. } | Body::Marker => unreachable!("made from the table"),
        };
        let bounds = gather.finish()?;
        let contents = arguments.contents;
        let program = OnceLock::new();
        Ok(Arc::new(Type { body, bounds, basic, combiner, contents, name: None, program }))
    }

    /// The same type map under other arguments and other bounds: `lb` and `ub` become markers.
    pub(super) fn bounded(
        child: &Arc<Type>,
        lb: i64,
        extent: i64,
        combiner: Combiner,
        arguments: Arguments,
    ) -> Made {
        let mut bounds = child.bounds.clone();
        bounds.lb = lb;
        bounds.ub = lb.checked_add(extent).ok_or(Fault::Overflow)?;
        (bounds.lb_marked, bounds.ub_marked) = (true, true);
        Ok(Arc::new(Type {
            body: Body::Same { child: child.clone() },
            bounds,
            basic: child.basic,
            combiner,
            contents: arguments.contents,
            name: None,
            program: OnceLock::new(),
        }))
    }

    /// MPI_Type_dup.
    pub fn dup(child: &Arc<Type>) -> Arc<Type> {
        let contents = Contents { types: vec![child.clone()], ..Contents::default() };
        Arc::new(Type {
            body: Body::Same { child: child.clone() },
            bounds: child.bounds.clone(),
            basic: child.basic,
            combiner: Combiner::Dup,
            contents,
            name: None,
            program: OnceLock::new(),
        })
    }

    /// MPI_Type_contiguous.
    pub fn contiguous(form: Form, count: i64, child: &Arc<Type>) -> Made {
        natural(&[count])?;
        let body = Body::Strided { child: child.clone(), count: 1, length: count, stride: 0 };
        let arguments = Arguments::of(form, std::slice::from_ref(child)).counts(&[count]);
        Type::made(body, Combiner::Contiguous, arguments)
    }

    /// MPI_Type_vector: the stride counts children.
    pub fn vector(form: Form, count: i64, length: i64, stride: i64, child: &Arc<Type>) -> Made {
        natural(&[count, length])?;
        let bytes = stride.checked_mul(child.extent()).ok_or(Fault::Overflow)?;
        let body = Body::Strided { child: child.clone(), count, length, stride: bytes };
        let arguments =
            Arguments::of(form, std::slice::from_ref(child)).counts(&[count, length, stride]);
        Type::made(body, Combiner::Vector, arguments)
    }

    /// MPI_Type_create_hvector: the stride counts bytes.
    pub fn hvector(form: Form, count: i64, length: i64, stride: i64, child: &Arc<Type>) -> Made {
        natural(&[count, length])?;
        let body = Body::Strided { child: child.clone(), count, length, stride };
        let arguments = Arguments::of(form, std::slice::from_ref(child))
            .counts(&[count, length])
            .addresses(&[stride]);
        Type::made(body, Combiner::Hvector, arguments)
    }

    /// MPI_Type_indexed: displacements count children.
    ///
    /// # Panics
    /// If the two lists differ in length (here and below: a bug of the caller).
    pub fn indexed(form: Form, lengths: &[i64], at: &[i64], child: &Arc<Type>) -> Made {
        natural(lengths)?;
        let arguments = Arguments::of(form, std::slice::from_ref(child))
            .counts(&[count_of(at)])
            .counts(lengths)
            .counts(at);
        Type::blocks(lengths, &in_bytes(at, child)?, child, Combiner::Indexed, arguments)
    }

    /// MPI_Type_create_hindexed: displacements count bytes.
    pub fn hindexed(form: Form, lengths: &[i64], at: &[i64], child: &Arc<Type>) -> Made {
        natural(lengths)?;
        let arguments = Arguments::of(form, std::slice::from_ref(child))
            .counts(&[count_of(at)])
            .counts(lengths)
            .addresses(at);
        Type::blocks(lengths, at, child, Combiner::Hindexed, arguments)
    }

    /// MPI_Type_create_indexed_block.
    pub fn indexed_block(form: Form, length: i64, at: &[i64], child: &Arc<Type>) -> Made {
        natural(&[length])?;
        let arguments = Arguments::of(form, std::slice::from_ref(child))
            .counts(&[count_of(at), length])
            .counts(at);
        let lengths = vec![length; at.len()];
        Type::blocks(&lengths, &in_bytes(at, child)?, child, Combiner::IndexedBlock, arguments)
    }

    /// MPI_Type_create_hindexed_block.
    pub fn hindexed_block(form: Form, length: i64, at: &[i64], child: &Arc<Type>) -> Made {
        natural(&[length])?;
        let arguments = Arguments::of(form, std::slice::from_ref(child))
            .counts(&[count_of(at), length])
            .addresses(at);
        let lengths = vec![length; at.len()];
        Type::blocks(&lengths, at, child, Combiner::HindexedBlock, arguments)
    }

    pub(super) fn blocks(
        lengths: &[i64],
        at: &[i64],
        child: &Arc<Type>,
        combiner: Combiner,
        arguments: Arguments,
    ) -> Made {
        assert_eq!(lengths.len(), at.len());
        let blocks = at.iter().copied().zip(lengths.iter().copied());
        let blocks = blocks.filter(|block| block.1 > 0).collect();
        Type::made(Body::Blocks { child: child.clone(), blocks }, combiner, arguments)
    }

    /// MPI_Type_create_struct.
    pub fn structure(form: Form, lengths: &[i64], at: &[i64], types: &[Arc<Type>]) -> Made {
        assert!(lengths.len() == at.len() && at.len() == types.len());
        natural(lengths)?;
        let arguments =
            Arguments::of(form, types).counts(&[count_of(at)]).counts(lengths).addresses(at);
        let fields = at.iter().zip(lengths).zip(types);
        let fields = fields
            .filter(|((_, length), _)| **length > 0)
            .map(|((&at, &length), child)| (at, length, child.clone()))
            .collect();
        Type::made(Body::Struct { fields }, Combiner::Struct, arguments)
    }

    /// MPI_Type_create_resized.
    pub fn resized(form: Form, lb: i64, extent: i64, child: &Arc<Type>) -> Made {
        let arguments = Arguments::of(form, std::slice::from_ref(child)).addresses(&[lb, extent]);
        Type::bounded(child, lb, extent, Combiner::Resized, arguments)
    }

    /// MPI_Type_create_f90_integer.
    pub fn f90_integer(range: i32) -> Made {
        let code = match range {
            ..=2 => 0x2c1,
            3..=4 => 0x2c9,
            5..=9 => 0x2d1,
            10..=18 => 0x2d9,
            19..=38 => 0x2e1,
            _ => return Err(Fault::Argument),
        };
        Type::f90(code, Combiner::F90Integer, &[range])
    }

    /// MPI_Type_create_f90_real; what is undefined is `None`.
    pub fn f90_real(precision: Option<i32>, range: Option<i32>) -> Made {
        let codes = [0x2d2, 0x2da, 0x220];
        Type::f90_floating(codes, Combiner::F90Real, precision, range)
    }

    /// MPI_Type_create_f90_complex; what is undefined is `None`.
    pub fn f90_complex(precision: Option<i32>, range: Option<i32>) -> Made {
        let codes = [0x2db, 0x2e3, 0x224];
        Type::f90_floating(codes, Combiner::F90Complex, precision, range)
    }

    fn f90_floating(
        codes: [u32; 3],
        combiner: Combiner,
        precision: Option<i32>,
        range: Option<i32>,
    ) -> Made {
        const UNDEFINED: i32 = -32766;
        let arguments = [precision.unwrap_or(UNDEFINED), range.unwrap_or(UNDEFINED)];
        let needs = match (precision, range) {
            (None, None) => return Err(Fault::Argument),
            (p, r) => (p.unwrap_or(0), r.unwrap_or(0)),
        };
        // Decimal digits and exponents of single, double, and the ten-byte format.
        let code = match needs {
            (..=6, ..=37) => codes[0],
            (..=15, ..=307) => codes[1],
            (..=18, ..=4931) => codes[2],
            _ => return Err(Fault::Argument),
        };
        Type::f90(code, combiner, &arguments)
    }

    fn f90(code: u32, combiner: Combiner, integers: &[i32]) -> Made {
        let child = predefined(code).ok_or(Fault::Argument)?;
        let contents = Contents { integers: integers.to_vec(), ..Contents::default() };
        Ok(Arc::new(Type {
            body: Body::Same { child: child.clone() },
            bounds: child.bounds.clone(),
            basic: child.basic,
            combiner,
            contents,
            name: None,
            program: OnceLock::new(),
        }))
    }
}
