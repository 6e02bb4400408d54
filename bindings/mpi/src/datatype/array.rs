// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pieces of multidimensional arrays: subarrays, and the share of one process in a distributed one.
//!
//! Both are the same construction, from the dense dimension outwards: what is chosen of a dimension
//! is a list of ranges of indices; an element of the dimension is what was chosen of all denser
//! ones, resized to the bytes between two indices. At the end the extent is that of the whole
//! array.

use super::build::{Arguments, Fault, Form, Order};
use super::{Combiner, Type};
use std::sync::Arc;

/// How a dimension is dealt out to processes; the numbers are the standard ABI's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Distribution {
    /// Not distributed.
    None = 16,
    /// One range each, of the given length or as equal as possible.
    Block = 17,
    /// Ranges of the given length in turns.
    Cyclic = 18,
}

/// "Choose yourself", as the length of a distribution: MPI_DISTRIBUTE_DFLT_DARG. Not the number of
/// an ABI, since 19 is also a length.
pub const DEFAULT_LENGTH: i32 = i32::MIN;

impl Distribution {
    /// The distribution of a canonical code.
    pub fn from_code(code: i32) -> Option<Distribution> {
        Some(match code {
            16 => Distribution::None,
            17 => Distribution::Block,
            18 => Distribution::Cyclic,
            _ => return None,
        })
    }

    /// The ranges (first index, length) of `place` among `places` in a dimension of `size`.
    fn ranges(self, size: i64, length: i32, places: i64, place: i64) -> Result<Ranges, Fault> {
        let given = (length != DEFAULT_LENGTH).then_some(i64::from(length));
        if given.is_some_and(|given| given < 1) && self != Distribution::None {
            return Err(Fault::Argument);
        }
        Ok(match self {
            Distribution::None if places != 1 => return Err(Fault::Argument),
            Distribution::None => vec![(0, size)],
            Distribution::Block => {
                let length = given.unwrap_or((size + places - 1) / places);
                if i128::from(length) * i128::from(places) < i128::from(size) {
                    return Err(Fault::Argument);
                }
                let first = length.saturating_mul(place);
                if first < size { vec![(first, length.min(size - first))] } else { Vec::new() }
            }
            Distribution::Cyclic => {
                let length = given.unwrap_or(1);
                let step = length.checked_mul(places).ok_or(Fault::Overflow)?;
                let mut ranges = Vec::new();
                let mut first = length.checked_mul(place).ok_or(Fault::Overflow)?;
                while first < size {
                    ranges.push((first, length.min(size - first)));
                    first = first.checked_add(step).ok_or(Fault::Overflow)?;
                }
                ranges
            }
        })
    }
}

type Ranges = Vec<(i64, i64)>;

impl Type {
    /// MPI_Type_create_subarray.
    pub fn subarray(
        form: Form,
        sizes: &[i64],
        subsizes: &[i64],
        starts: &[i64],
        order: Order,
        child: &Arc<Type>,
    ) -> Result<Arc<Type>, Fault> {
        let dimensions = sizes.len();
        assert!(subsizes.len() == dimensions && starts.len() == dimensions);
        if dimensions == 0 {
            return Err(Fault::Argument);
        }
        let mut chosen = Vec::with_capacity(dimensions);
        for ((&size, &subsize), &start) in sizes.iter().zip(subsizes).zip(starts) {
            if size < 1 || subsize < 1 || subsize > size || start < 0 || start > size - subsize {
                return Err(Fault::Argument);
            }
            chosen.push(vec![(start, subsize)]);
        }
        let arguments = Arguments::of(form, std::slice::from_ref(child))
            .integers(&[dimensions as i32])
            .counts(sizes)
            .counts(subsizes)
            .counts(starts)
            .integers(&[order as i32]);
        chosen_array(sizes, &chosen, order, child, Combiner::Subarray, arguments)
    }

    /// MPI_Type_create_darray: `rank` of `size` processes in a row-major grid of `places`. Of
    /// each dimension: its size, (distribution, its length as the caller gave it), its places.
    pub fn darray(
        form: Form,
        (size, rank): (i32, i32),
        sizes: &[i64],
        distributions: &[(Distribution, i32)],
        places: &[i32],
        order: Order,
        child: &Arc<Type>,
    ) -> Result<Arc<Type>, Fault> {
        let dimensions = sizes.len();
        assert!(distributions.len() == dimensions && places.len() == dimensions);
        let grid: i128 = places.iter().map(|&places| i128::from(places)).product();
        let positive = places.iter().all(|&p| p > 0) && sizes.iter().all(|&s| s > 0);
        if dimensions == 0 || rank < 0 || rank >= size || !positive || grid != i128::from(size) {
            return Err(Fault::Argument);
        }
        let mut remaining = i64::from(rank);
        let mut processes = i64::from(size);
        let mut chosen = Vec::with_capacity(dimensions);
        for i in 0..dimensions {
            processes /= i64::from(places[i]);
            let place = remaining / processes;
            remaining %= processes;
            let (distribution, length) = distributions[i];
            chosen.push(distribution.ranges(sizes[i], length, places[i].into(), place)?);
        }
        let codes: Vec<i32> = distributions.iter().map(|d| d.0 as i32).collect();
        let lengths: Vec<i32> = distributions.iter().map(|d| d.1).collect();
        let arguments = Arguments::of(form, std::slice::from_ref(child))
            .integers(&[size, rank, dimensions as i32])
            .counts(sizes)
            .integers(&codes)
            .integers(&lengths)
            .integers(places)
            .integers(&[order as i32]);
        chosen_array(sizes, &chosen, order, child, Combiner::Darray, arguments)
    }
}

/// The type of the chosen ranges of each dimension of an array.
fn chosen_array(
    sizes: &[i64],
    chosen: &[Ranges],
    order: Order,
    child: &Arc<Type>,
    combiner: Combiner,
    arguments: Arguments,
) -> Result<Arc<Type>, Fault> {
    let mut inner = child.clone();
    let mut step = child.extent();
    let nothing = || Arguments::of(Form::Large, &[]);
    let mut dimensions: Vec<usize> = (0..sizes.len()).collect();
    if order == Order::C {
        dimensions.reverse();
    }
    for dimension in dimensions {
        let ranges = &chosen[dimension];
        let lengths: Vec<i64> = ranges.iter().map(|range| range.1).collect();
        let at: Option<Vec<i64>> = ranges.iter().map(|range| range.0.checked_mul(step)).collect();
        let at = at.ok_or(Fault::Overflow)?;
        inner = Type::blocks(&lengths, &at, &inner, Combiner::Hindexed, nothing())?;
        step = step.checked_mul(sizes[dimension]).ok_or(Fault::Overflow)?;
        inner = Type::bounded(&inner, 0, step, Combiner::Resized, nothing())?;
    }
    Type::bounded(&inner, 0, step, combiner, arguments)
}
