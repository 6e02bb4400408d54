// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A type map flattened: runs of bytes, repeats of them, lists.
//!
//! Invariants:
//! 1. A node's runs, in order, are the bytes of the type map in its order; nothing is sorted.
//! 2. A node knows its packed bytes, so that any offset is found by a division (repeat, blocks) or
//!    a binary search (list) at each level, and never by walking from the start.
//! 3. Runs that follow each other in memory and in the map are one run; a repeat that is one run is
//!    stored as that run. So a type that is contiguous looks it.
//!
//! Offsets were checked when the type was made; they fit in 64 bits.

use super::{Body, Type};
use std::ptr;
use std::sync::Arc;

/// What to move, relative to a place.
pub(super) enum Node {
    /// Nothing.
    Empty,
    /// Bytes side by side.
    Run { bytes: usize },
    /// A child again and again.
    Repeat { count: usize, stride: i64, child: Arc<Node> },
    /// Runs of the same length.
    Blocks { offsets: Vec<i64>, bytes: usize },
    /// Different nodes; `starts` are their packed offsets and the total.
    List { starts: Vec<usize>, parts: Vec<Placed> },
}

impl Node {
    pub fn bytes(&self) -> usize {
        match self {
            Node::Empty => 0,
            Node::Run { bytes } => *bytes,
            Node::Repeat { count, child, .. } => count * child.bytes(),
            Node::Blocks { offsets, bytes } => offsets.len() * bytes,
            Node::List { starts, .. } => starts.last().copied().unwrap_or(0),
        }
    }
}

/// A node at an offset.
#[derive(Clone)]
pub(super) struct Placed {
    pub offset: i64,
    pub node: Arc<Node>,
}

impl Placed {
    fn run(offset: i64, bytes: usize) -> Placed {
        let node = if bytes == 0 { Node::Empty } else { Node::Run { bytes } };
        Placed { offset, node: Arc::new(node) }
    }

    fn empty() -> Placed {
        Placed::run(0, 0)
    }

    fn moved(&self, by: i64) -> Placed {
        Placed { offset: self.offset.wrapping_add(by), node: self.node.clone() }
    }

    /// `count` of them, `stride` bytes apart.
    fn repeated(self, count: i64, stride: i64) -> Placed {
        if count <= 0 || matches!(*self.node, Node::Empty) {
            return Placed::empty();
        }
        if count == 1 {
            return self;
        }
        let times = count as usize;
        match &*self.node {
            Node::Run { bytes } if *bytes as i64 == stride => {
                Placed::run(self.offset, bytes * times)
            }
            Node::Repeat { count: inner, stride: step, child }
                if step.checked_mul(*inner as i64) == Some(stride) =>
            {
                let node =
                    Node::Repeat { count: inner * times, stride: *step, child: child.clone() };
                Placed { offset: self.offset, node: Arc::new(node) }
            }
            _ => {
                let node = Node::Repeat { count: times, stride, child: self.node };
                Placed { offset: self.offset, node: Arc::new(node) }
            }
        }
    }

    /// One after another.
    fn sequence(parts: impl Iterator<Item = Placed>) -> Placed {
        let mut merged: Vec<Placed> = Vec::new();
        for part in parts {
            match (&*part.node, merged.last_mut()) {
                (Node::Empty, _) => continue,
                (Node::Run { bytes }, Some(last)) => {
                    if let Node::Run { bytes: before } = *last.node
                        && last.offset.wrapping_add(before as i64) == part.offset
                    {
                        *last = Placed::run(last.offset, before + bytes);
                        continue;
                    }
                }
                _ => {}
            }
            merged.push(part);
        }
        match merged.len() {
            0 => Placed::empty(),
            1 => merged.remove(0),
            _ => Placed::listed(merged),
        }
    }

    /// At least two parts that cannot be merged into runs.
    fn listed(parts: Vec<Placed>) -> Placed {
        let run_bytes = |part: &Placed| match *part.node {
            Node::Run { bytes } => Some(bytes),
            _ => None,
        };
        let first = parts[0].offset;
        if let Some(bytes) = run_bytes(&parts[0])
            && parts.iter().all(|part| run_bytes(part) == Some(bytes))
        {
            let step = parts[1].offset.wrapping_sub(first);
            let even = |pair: &[Placed]| pair[1].offset.wrapping_sub(pair[0].offset) == step;
            if parts.windows(2).all(even) {
                return Placed::run(first, bytes).repeated(parts.len() as i64, step);
            }
            let offsets = parts.iter().map(|part| part.offset.wrapping_sub(first)).collect();
            return Placed { offset: first, node: Arc::new(Node::Blocks { offsets, bytes }) };
        }
        let mut starts = Vec::with_capacity(parts.len() + 1);
        let mut total = 0;
        for part in &parts {
            starts.push(total);
            total += part.node.bytes();
        }
        starts.push(total);
        Placed { offset: 0, node: Arc::new(Node::List { starts, parts }) }
    }
}

/// A type, ready to be packed and unpacked.
pub(super) struct Program {
    pub root: Placed,
    /// Packed bytes of one element.
    pub bytes: usize,
    pub extent: i64,
}

impl Program {
    pub fn of(of: &Type) -> Program {
        let placed = |child: &Arc<Type>| child.program().root.clone();
        let root = match &of.body {
            Body::Marker => Placed::empty(),
            Body::Named { parts } => {
                Placed::sequence(parts.iter().map(|p| Placed::run(p.offset, p.bytes() as usize)))
            }
            Body::Same { child } => placed(child),
            Body::Strided { child, count, length, stride } => {
                placed(child).repeated(*length, child.extent()).repeated(*count, *stride)
            }
            Body::Blocks { child, blocks } => {
                let one = placed(child);
                let block = |&(at, length): &(i64, i64)| {
                    one.clone().repeated(length, child.extent()).moved(at)
                };
                Placed::sequence(blocks.iter().map(block))
            }
            Body::Struct { fields } => {
                Placed::sequence(fields.iter().map(|(at, length, child)| {
                    placed(child).repeated(*length, child.extent()).moved(*at)
                }))
            }
        };
        let bytes = root.node.bytes();
        debug_assert_eq!(bytes as i64, of.size());
        Program { root, bytes, extent: of.extent() }
    }

    /// Offset of the run that one element is, and whether elements side by side are one run too.
    pub fn run(&self) -> Option<(i64, bool)> {
        match *self.root.node {
            Node::Run { bytes } => Some((self.root.offset, bytes as i64 == self.extent)),
            _ => None,
        }
    }

    /// # Safety
    /// The condition of [`strait_transport::payload::Layout::pack`].
    pub unsafe fn pack(&self, base: *const u8, count: usize, offset: usize, into: &mut [u8]) {
        let mut packed = Packed::<true> { cursor: into.as_mut_ptr(), left: into.len() };
        // SAFETY: the caller's promise; memory is only read through `base` when packing.
        unsafe { self.walk(base.cast_mut(), count, offset, &mut packed) }
    }

    /// # Safety
    /// The condition of [`strait_transport::payload::Layout::unpack`].
    pub unsafe fn unpack(&self, base: *mut u8, count: usize, offset: usize, from: &[u8]) {
        let mut packed = Packed::<false> { cursor: from.as_ptr().cast_mut(), left: from.len() };
        // SAFETY: the caller's promise; the cursor is only read when unpacking.
        unsafe { self.walk(base, count, offset, &mut packed) }
    }

    /// # Safety
    /// As above.
    unsafe fn walk<const PACK: bool>(
        &self,
        base: *mut u8,
        count: usize,
        offset: usize,
        packed: &mut Packed<PACK>,
    ) {
        if self.bytes == 0 {
            return;
        }
        debug_assert!(offset + packed.left <= self.bytes * count);
        let base = base.wrapping_offset(self.root.offset as isize);
        // SAFETY: the caller's promise.
        unsafe { packed.repeat(&self.root.node, count, self.extent, base, offset) }
    }
}

/// The packed side of a walk: `left` bytes from `cursor` on are still to be filled (or consumed).
struct Packed<const PACK: bool> {
    cursor: *mut u8,
    left: usize,
}

impl<const PACK: bool> Packed<PACK> {
    /// Moves a run, or as much of it as is wanted.
    ///
    /// # Safety
    /// `at` has `bytes` bytes of the caller's elements.
    #[inline(always)]
    unsafe fn run(&mut self, at: *mut u8, bytes: usize) {
        let bytes = bytes.min(self.left);
        // SAFETY: both sides have this many bytes, and the packed buffer is not the user's memory.
        unsafe {
            if PACK {
                ptr::copy_nonoverlapping(at, self.cursor, bytes);
            } else {
                ptr::copy_nonoverlapping(self.cursor, at, bytes);
            }
        }
        self.cursor = self.cursor.wrapping_add(bytes);
        self.left -= bytes;
    }

    /// Moves whole runs of `N` bytes: the copy is a load and a store.
    ///
    /// # Safety
    /// `at` names memory of the caller's elements for each `i` below `count`; all are wanted.
    #[inline(always)]
    unsafe fn runs<const N: usize>(&mut self, count: usize, at: impl Fn(usize) -> *mut u8) {
        debug_assert!(count * N <= self.left);
        for i in 0..count {
            let (user, packed) = (at(i).cast::<[u8; N]>(), self.cursor.cast::<[u8; N]>());
            // SAFETY: as in `run`; byte arrays need no alignment.
            unsafe { if PACK { *packed = *user } else { *user = *packed } }
            self.cursor = self.cursor.wrapping_add(N);
        }
        self.left -= count * N;
    }

    /// Moves runs of `bytes` bytes at `at(first)`, `at(first + 1)`..., the first from `skip` on.
    ///
    /// # Safety
    /// `at` names memory of the caller's elements for each index that is wanted.
    #[inline(always)]
    unsafe fn equal_runs(
        &mut self,
        bytes: usize,
        mut first: usize,
        skip: usize,
        at: impl Fn(usize) -> *mut u8,
    ) {
        // SAFETY: all of these stay within the wanted bytes, for which the caller answers.
        unsafe {
            if skip > 0 {
                self.run(at(first).wrapping_add(skip), bytes - skip);
                first += 1;
            }
            let whole = self.left / bytes;
            let at_whole = |i: usize| at(first + i);
            match bytes {
                1 => self.runs::<1>(whole, at_whole),
                2 => self.runs::<2>(whole, at_whole),
                4 => self.runs::<4>(whole, at_whole),
                8 => self.runs::<8>(whole, at_whole),
                12 => self.runs::<12>(whole, at_whole),
                16 => self.runs::<16>(whole, at_whole),
                24 => self.runs::<24>(whole, at_whole),
                32 => self.runs::<32>(whole, at_whole),
                _ => {
                    for i in 0..whole {
                        self.run(at(first + i), bytes);
                    }
                }
            }
            if self.left > 0 {
                self.run(at(first + whole), self.left);
            }
        }
    }

    /// Moves repeated nodes from packed offset `skip` on.
    ///
    /// # Safety
    /// `base` points to the caller's elements, `count` of `node`; `node` is not empty.
    unsafe fn repeat(
        &mut self,
        node: &Node,
        count: usize,
        stride: i64,
        base: *mut u8,
        skip: usize,
    ) {
        let bytes = node.bytes();
        let at = |i: usize| base.wrapping_offset((i as i64).wrapping_mul(stride) as isize);
        if let Node::Run { bytes } = *node {
            let own = count * bytes - skip;
            // SAFETY: limited to the bytes of this repeat.
            unsafe {
                self.limited(own, |packed| {
                    packed.equal_runs(bytes, skip / bytes, skip % bytes, at);
                });
            }
            return;
        }
        let (mut i, mut skip) = (skip / bytes, skip % bytes);
        while i < count && self.left > 0 {
            // SAFETY: the caller's promise holds for each element.
            unsafe { self.node(node, at(i), skip) };
            skip = 0;
            i += 1;
        }
    }

    /// Runs `f` with no more than `bytes` wanted bytes.
    ///
    /// # Safety
    /// `f`'s.
    #[inline(always)]
    unsafe fn limited(&mut self, bytes: usize, f: impl FnOnce(&mut Self)) {
        let later = self.left.saturating_sub(bytes);
        self.left -= later;
        if self.left > 0 {
            f(self);
        }
        self.left += later;
    }

    /// Moves a node from packed offset `skip` on.
    ///
    /// # Safety
    /// `base` points to the caller's memory of it; `skip` is less than its bytes.
    unsafe fn node(&mut self, node: &Node, base: *mut u8, skip: usize) {
        // SAFETY: the caller's promise, for each part of the node.
        unsafe {
            match node {
                Node::Empty => {}
                Node::Run { bytes } => self.run(base.wrapping_add(skip), bytes - skip),
                Node::Repeat { count, stride, child } => {
                    self.repeat(child, *count, *stride, base, skip)
                }
                Node::Blocks { offsets, bytes } => {
                    let at = |i: usize| base.wrapping_offset(offsets[i] as isize);
                    let own = offsets.len() * bytes - skip;
                    self.limited(own, |packed| {
                        packed.equal_runs(*bytes, skip / bytes, skip % bytes, at)
                    });
                }
                Node::List { starts, parts } => {
                    let mut i = starts.partition_point(|&start| start <= skip) - 1;
                    let mut skip = skip - starts[i];
                    while i < parts.len() && self.left > 0 {
                        let at = base.wrapping_offset(parts[i].offset as isize);
                        self.node(&parts[i].node, at, skip);
                        skip = 0;
                        i += 1;
                    }
                }
            }
        }
    }
}
