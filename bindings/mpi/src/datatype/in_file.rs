// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a type is in a file whose representation gives predefined types other sizes than memory
//! does (MPI-5.0 section 14.5): the same construction from other leaves. Displacements that count
//! elements follow the new extents; displacements in bytes are the user's own and stay.

use super::build::{Fault, Form, Order};
use super::{Combiner, Contents, Distribution, Type, predefined};
use crate::abi::Code;
use std::collections::BTreeMap;
use std::sync::Arc;

const BYTE: Code = 0x247;

/// Reads the arguments of a constructor back, in the order in which it was given them.
struct Reader<'a> {
    form: Form,
    integers: std::slice::Iter<'a, i32>,
    addresses: std::slice::Iter<'a, i64>,
    counts: std::slice::Iter<'a, i64>,
}

impl Reader<'_> {
    fn of(contents: &Contents) -> Reader<'_> {
        Reader {
            form: if contents.counts.is_empty() { Form::Int } else { Form::Large },
            integers: contents.integers.iter(),
            addresses: contents.addresses.iter(),
            counts: contents.counts.iter(),
        }
    }

    fn integer(&mut self) -> Result<i32, Fault> {
        self.integers.next().copied().ok_or(Fault::Type)
    }

    fn count(&mut self) -> Result<i64, Fault> {
        match self.form {
            Form::Int => self.integer().map(i64::from),
            Form::Large => self.counts.next().copied().ok_or(Fault::Type),
        }
    }

    fn address(&mut self) -> Result<i64, Fault> {
        let from = match self.form {
            Form::Int => &mut self.addresses,
            Form::Large => &mut self.counts,
        };
        from.next().copied().ok_or(Fault::Type)
    }

    fn integer_list(&mut self, n: i32) -> Result<Vec<i32>, Fault> {
        (0..n).map(|_| self.integer()).collect()
    }

    fn count_list(&mut self, n: i64) -> Result<Vec<i64>, Fault> {
        (0..n).map(|_| self.count()).collect()
    }

    fn address_list(&mut self, n: i64) -> Result<Vec<i64>, Fault> {
        (0..n).map(|_| self.address()).collect()
    }
}

impl Type {
    /// The predefined types that it is made of, each once.
    pub fn leaves(self: &Arc<Type>) -> Vec<Arc<Type>> {
        fn gather(ty: &Arc<Type>, found: &mut BTreeMap<Code, Arc<Type>>) {
            match ty.code() {
                Some(code) if ty.size() > 0 => {
                    found.insert(code, ty.clone());
                }
                _ => ty.contents().types.iter().for_each(|child| gather(child, found)),
            }
        }
        let mut found = BTreeMap::new();
        gather(self, &mut found);
        found.into_values().collect()
    }

    /// The type with leaves of these extents, which are their sizes too.
    pub fn in_file(self: &Arc<Type>, extents: &BTreeMap<Code, i64>) -> Result<Arc<Type>, Fault> {
        if let Some(code) = self.code() {
            return match extents.get(&code) {
                Some(&bytes) if bytes != self.extent() || bytes != self.size() => {
                    Type::contiguous(Form::Large, bytes, predefined(BYTE).ok_or(Fault::Type)?)
                }
                _ => Ok(self.clone()),
            };
        }
        let children = &self.contents().types;
        let inner: Result<Vec<_>, _> =
            children.iter().map(|child| child.in_file(extents)).collect();
        let inner = inner?;
        if inner.iter().zip(children).all(|(new, old)| Arc::ptr_eq(new, old)) {
            return Ok(self.clone());
        }
        self.rebuilt(&inner)
    }

    /// Made again, of other types.
    fn rebuilt(&self, types: &[Arc<Type>]) -> Result<Arc<Type>, Fault> {
        let mut reader = Reader::of(self.contents());
        let (form, child) = (reader.form, types.first().ok_or(Fault::Type)?);
        match self.combiner() {
            Combiner::Dup => Ok(Type::dup(child)),
            Combiner::Contiguous => Type::contiguous(form, reader.count()?, child),
            Combiner::Vector => {
                let (count, length) = (reader.count()?, reader.count()?);
                Type::vector(form, count, length, reader.count()?, child)
            }
            Combiner::Hvector => {
                let (count, length) = (reader.count()?, reader.count()?);
                Type::hvector(form, count, length, reader.address()?, child)
            }
            Combiner::Indexed => {
                let n = reader.count()?;
                let lengths = reader.count_list(n)?;
                Type::indexed(form, &lengths, &reader.count_list(n)?, child)
            }
            Combiner::Hindexed => {
                let n = reader.count()?;
                let lengths = reader.count_list(n)?;
                Type::hindexed(form, &lengths, &reader.address_list(n)?, child)
            }
            Combiner::IndexedBlock => {
                let (n, length) = (reader.count()?, reader.count()?);
                Type::indexed_block(form, length, &reader.count_list(n)?, child)
            }
            Combiner::HindexedBlock => {
                let (n, length) = (reader.count()?, reader.count()?);
                Type::hindexed_block(form, length, &reader.address_list(n)?, child)
            }
            Combiner::Struct => {
                let n = reader.count()?;
                let lengths = reader.count_list(n)?;
                Type::structure(form, &lengths, &reader.address_list(n)?, types)
            }
            Combiner::Resized => {
                let lb = reader.address()?;
                Type::resized(form, lb, reader.address()?, child)
            }
            Combiner::Subarray => {
                let n = reader.integer()?.into();
                let (sizes, subsizes) = (reader.count_list(n)?, reader.count_list(n)?);
                let starts = reader.count_list(n)?;
                let order = Order::from_code(reader.integer()?).ok_or(Fault::Argument)?;
                Type::subarray(form, &sizes, &subsizes, &starts, order, child)
            }
            Combiner::Darray => {
                let (size, rank, n) = (reader.integer()?, reader.integer()?, reader.integer()?);
                let sizes = reader.count_list(n.into())?;
                let (codes, lengths) = (reader.integer_list(n)?, reader.integer_list(n)?);
                let places = reader.integer_list(n)?;
                let order = Order::from_code(reader.integer()?).ok_or(Fault::Argument)?;
                let dealt = codes.iter().zip(lengths).map(|(&code, length)| {
                    Ok((Distribution::from_code(code).ok_or(Fault::Argument)?, length))
                });
                let dealt: Vec<_> = dealt.collect::<Result<_, Fault>>()?;
                Type::darray(form, (size, rank), &sizes, &dealt, &places, order, child)
            }
            _ => Err(Fault::Type),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Code = 0x20a;

    fn halved(ty: &Arc<Type>) -> Arc<Type> {
        let extents =
            ty.leaves().into_iter().map(|leaf| (leaf.code().unwrap(), leaf.external_size()));
        ty.in_file(&extents.collect()).unwrap()
    }

    #[test]
    fn element_displacements_shrink_and_byte_displacements_stay() {
        let long = predefined(LONG).unwrap();
        for form in [Form::Int, Form::Large] {
            let vector = halved(&Type::vector(form, 3, 1, 2, long).unwrap());
            assert_eq!((vector.size(), vector.extent()), (12, 20));
            let bytes = halved(&Type::hvector(form, 3, 1, 16, long).unwrap());
            assert_eq!((bytes.size(), bytes.extent()), (12, 36));
            let part = Type::subarray(form, &[4, 6], &[2, 3], &[1, 2], Order::C, long).unwrap();
            let part = halved(&part);
            assert_eq!((part.size(), part.extent(), part.true_lb()), (24, 96, 32));
            let dealt = [(Distribution::Cyclic, 1), (Distribution::Block, 2)];
            let dealt =
                Type::darray(form, (4, 3), &[4, 4], &dealt, &[2, 2], Order::C, long).unwrap();
            assert_eq!((halved(&dealt).size(), halved(&dealt).extent()), (16, 64));
            let at = Type::hindexed(form, &[1, 2], &[8, 40], long).unwrap();
            assert_eq!((halved(&at).size(), halved(&at).true_ub()), (12, 48));
        }
    }

    #[test]
    fn a_type_of_equal_sizes_is_itself() {
        let vector = Type::vector(Form::Int, 3, 1, 2, predefined(0x209).unwrap()).unwrap();
        assert!(Arc::ptr_eq(&vector, &halved(&vector)));
    }
}
