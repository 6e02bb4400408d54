// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bounds and sizes of a type map, gathered child by child.
//!
//! Markers are what MPI_Type_create_resized leaves in a type map (once MPI_LB and MPI_UB): where
//! one occurs anywhere in a map, the bound is the outermost marker and the data does not count.
//! Sums are made in 128 bits and checked once, at the end.
//!
//! Without markers a copy of a child spans from its lower to its upper bound, padding included, and
//! the whole is padded to the alignment again: as C lays out structs in structs.

use super::Type;
use super::build::Fault;
use super::named::Part;

/// What is known of a type map without walking it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bounds {
    pub size: i64,
    pub lb: i64,
    pub ub: i64,
    pub true_lb: i64,
    pub true_ub: i64,
    /// Whether `lb` and `ub` come from markers.
    pub lb_marked: bool,
    pub ub_marked: bool,
    pub alignment: i64,
    /// Basic elements.
    pub elements: i64,
    /// The size of each of them, if all have the same.
    pub element_bytes: Option<i64>,
    /// Bytes in "external32".
    pub external: i64,
}

impl Bounds {
    pub fn of_parts(parts: &[Part], extent: i64, alignment: i64) -> Bounds {
        let bytes = parts[0].bytes();
        let same = parts.iter().all(|part| part.bytes() == bytes);
        Bounds {
            size: parts.iter().map(Part::bytes).sum(),
            lb: 0,
            ub: extent,
            true_lb: 0,
            true_ub: parts.iter().map(|part| part.offset + part.bytes()).max().unwrap_or(0),
            lb_marked: false,
            ub_marked: false,
            alignment,
            elements: parts.len() as i64,
            element_bytes: same.then_some(bytes),
            external: parts.iter().map(Part::external_bytes).sum(),
        }
    }

    pub fn of_marker(lower: bool) -> Bounds {
        Bounds {
            size: 0,
            lb: 0,
            ub: 0,
            true_lb: 0,
            true_ub: 0,
            lb_marked: lower,
            ub_marked: !lower,
            alignment: 1,
            elements: 0,
            element_bytes: None,
            external: 0,
        }
    }
}

/// Gathers the bounds of a type from copies of its children.
pub(super) struct Gather {
    size: i128,
    elements: i128,
    external: i128,
    data: Option<(i128, i128)>,
    /// Bounds of the children that have data.
    span: Option<(i128, i128)>,
    lower_marker: Option<i128>,
    upper_marker: Option<i128>,
    alignment: i64,
    /// Nothing yet, the common size, or none in common.
    element_bytes: Option<Option<i64>>,
}

impl Gather {
    pub fn new() -> Gather {
        Gather {
            size: 0,
            elements: 0,
            external: 0,
            data: None,
            span: None,
            lower_marker: None,
            upper_marker: None,
            alignment: 1,
            element_bytes: None,
        }
    }

    /// `copies` copies of a child, the outermost of them `low` and `high` bytes away.
    pub fn add(&mut self, child: &Type, copies: i128, low: i128, high: i128) {
        let bounds = &child.bounds;
        self.size = self.size.saturating_add(copies.saturating_mul(bounds.size.into()));
        self.elements = self.elements.saturating_add(copies.saturating_mul(bounds.elements.into()));
        self.external = self.external.saturating_add(copies.saturating_mul(bounds.external.into()));
        if bounds.size > 0 {
            let (from, to) = (low + i128::from(bounds.true_lb), high + i128::from(bounds.true_ub));
            let (lb, ub) = self.data.unwrap_or((from, to));
            self.data = Some((lb.min(from), ub.max(to)));
            let (from, to) = (low + i128::from(bounds.lb), high + i128::from(bounds.ub));
            let (lb, ub) = self.span.unwrap_or((from, to));
            self.span = Some((lb.min(from), ub.max(to)));
            self.alignment = self.alignment.max(bounds.alignment);
            let known = *self.element_bytes.get_or_insert(bounds.element_bytes);
            self.element_bytes = Some(if known == bounds.element_bytes { known } else { None });
        }
        if bounds.lb_marked {
            let at = low + i128::from(bounds.lb);
            self.lower_marker = Some(self.lower_marker.map_or(at, |x| x.min(at)));
        }
        if bounds.ub_marked {
            let at = high + i128::from(bounds.ub);
            self.upper_marker = Some(self.upper_marker.map_or(at, |x| x.max(at)));
        }
    }

    /// `length` copies side by side from `displacement` on.
    pub fn add_block(&mut self, child: &Type, displacement: i128, length: i64) {
        if length > 0 {
            let last = i128::from(length - 1) * i128::from(child.extent());
            let (low, high) = (displacement + last.min(0), displacement + last.max(0));
            self.add(child, length.into(), low, high);
        }
    }

    /// The bounds of all that was added.
    pub fn finish(self) -> Result<Bounds, Fault> {
        let (true_lb, true_ub) = self.data.unwrap_or((0, 0));
        let (lower, upper) = self.span.unwrap_or((0, 0));
        let mut lb = self.lower_marker.unwrap_or(lower);
        let mut ub = self.upper_marker.unwrap_or(upper);
        if self.data.is_none() {
            // A marker alone is both bounds.
            lb = self.lower_marker.or(self.upper_marker).unwrap_or(0);
            ub = self.upper_marker.or(self.lower_marker).unwrap_or(0);
        }
        if self.upper_marker.is_none() {
            let alignment = i128::from(self.alignment);
            ub = lb + (ub - lb + alignment - 1).div_euclid(alignment) * alignment;
        }
        let checked = |value: i128| i64::try_from(value).map_err(|_| Fault::Overflow);
        checked(ub - lb)?;
        checked(true_ub - true_lb)?;
        Ok(Bounds {
            size: checked(self.size)?,
            lb: checked(lb)?,
            ub: checked(ub)?,
            true_lb: checked(true_lb)?,
            true_ub: checked(true_ub)?,
            lb_marked: self.lower_marker.is_some(),
            ub_marked: self.upper_marker.is_some(),
            alignment: self.alignment,
            elements: checked(self.elements)?,
            element_bytes: self.element_bytes.flatten(),
            external: checked(self.external)?,
        })
    }
}
