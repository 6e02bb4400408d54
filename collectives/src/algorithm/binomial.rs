// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Binomial trees. Ranks are counted from the tree's root; number `v` has the children
//! `v + 2^k` for the bits below its lowest set bit, and its subtree is `v .. v + 2^low(v)`.
//!
//! ```text
//! 0 -- 4        five ranks: 0 is the parent of 1, 2 and 4; 2 is the parent of 3
//! |-- 2 -- 3
//! +-- 1
//! ```
//!
//! Upward, a rank appends the vectors of ever larger neighbouring intervals, so a tree rooted at
//! rank 0 combines in rank order; a tree rooted elsewhere needs an operation that commutes.
//!
//! A chain has at most floor(log2 p) messages; each tree has p - 1 messages. Gather and scatter
//! carry whole subtrees: sum of min(2^low(v), p - v) blocks.
#![forbid(unsafe_code)]

use super::fold::Fold;
use super::{Cost, Parameters};
use crate::schedule::{Blocks, Buffer, Builder, Extent, Refused, Step};
use crate::shape::{Rank, Shape};
use std::ops::Range;

/// A tree over consecutive ranks, seen from one of them.
struct Tree {
    members: Range<Rank>,
    root: Rank,
    /// My number, counted from the root.
    v: u32,
}

impl Tree {
    fn new(b: &Builder, members: Range<Rank>, root: Rank) -> Tree {
        let mut tree = Tree { members, root, v: 0 };
        let (rank, size) = (b.rank(), tree.size());
        tree.v = if rank >= root { rank - root } else { size - (root - rank) };
        tree
    }

    fn size(&self) -> u32 {
        self.members.end - self.members.start
    }

    fn rank(&self, v: u32) -> Rank {
        let index = u64::from(self.root - self.members.start) + u64::from(v);
        self.members.start + (index % u64::from(self.size())) as u32
    }

    fn parent(&self) -> Rank {
        self.rank(self.v & (self.v - 1))
    }

    /// The numbers of my children, nearest first.
    fn children(&self) -> impl DoubleEndedIterator<Item = u32> + use<> {
        let (v, size) = (self.v, self.size());
        let bits = if v == 0 { 32 } else { v.trailing_zeros() };
        (0..bits)
            .map(move |k| u64::from(v) + (1u64 << k))
            .filter_map(move |child| (child < u64::from(size)).then_some(child as u32))
    }

    /// How many ranks the subtree of `v` has.
    fn subtree(&self, v: u32) -> u32 {
        subtree(v, self.size())
    }
}

fn subtree(v: u32, size: u32) -> u32 {
    if v == 0 { size } else { (1 << v.trailing_zeros()).min(size - v) }
}

/// Down the tree: `at` is where the data lies at the root and shall lie elsewhere.
pub(super) fn spread(
    b: &mut Builder,
    members: Range<Rank>,
    root: Rank,
    at: Blocks,
) -> Result<(), Refused> {
    let tree = Tree::new(b, members, root);
    if tree.v != 0 {
        b.add(Step::Recv { from: tree.parent(), into: at })?;
    }
    for child in tree.children().rev() {
        b.add(Step::Send { to: tree.rank(child), what: at })?;
    }
    Ok(())
}

/// Up the tree: everybody's input combined; at the root the fold then holds the result.
pub(super) fn combine(
    b: &mut Builder,
    members: Range<Rank>,
    root: Rank,
    fold: &mut Fold,
) -> Result<(), Refused> {
    let tree = Tree::new(b, members, root);
    let mut moves = tree.children().count() as u32;
    for child in tree.children() {
        moves -= 1;
        let received = fold.landing(b, moves)?;
        b.add(Step::Recv { from: tree.rank(child), into: received })?;
        fold.append(b, received)?;
    }
    if tree.v != 0 {
        b.add(Step::Send { to: tree.parent(), what: fold.result() })?;
    }
    Ok(())
}

pub(super) fn bcast(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (root, ranks) = (b.shape().root, b.shape().ranks);
    let at = if b.rank() == root { b.input() } else { b.output() };
    spread(b, 0..ranks, root, at)
}

/// The messages of one tree, each with `blocks` blocks.
pub(super) fn tree_cost(ranks: u32, blocks: u32) -> Cost {
    let messages = u64::from(ranks - 1);
    Cost { rounds: u64::from(ranks.ilog2()), messages, blocks: messages * u64::from(blocks) }
}

pub(super) fn bcast_cost(shape: &Shape, _: Parameters) -> Cost {
    tree_cost(shape.ranks, shape.blocks)
}

pub(super) fn reduce(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (root, ranks) = (b.shape().root, b.shape().ranks);
    let mut fold = Fold::new(b, (b.rank() == root).then(|| b.output()));
    combine(b, 0..ranks, root, &mut fold)?;
    fold.finish(b)
}

pub(super) fn reduce_cost(shape: &Shape, _: Parameters) -> Cost {
    tree_cost(shape.ranks, shape.blocks)
}

pub(super) fn reduce_ordered(b: &mut Builder, parameters: Parameters) -> Result<(), Refused> {
    let (rank, root, ranks) = (b.rank(), b.shape().root, b.shape().ranks);
    if root == 0 {
        return reduce(b, parameters);
    }
    let mut fold = Fold::new(b, None);
    combine(b, 0..ranks, 0, &mut fold)?;
    if rank == 0 {
        b.add(Step::Send { to: root, what: fold.result() })?;
    } else if rank == root {
        b.add(Step::Recv { from: 0, into: b.output() })?;
    }
    Ok(())
}

/// The tree, and one more message where the root is not rank 0.
pub(super) fn reduce_ordered_cost(shape: &Shape, _: Parameters) -> Cost {
    let tree = tree_cost(shape.ranks, shape.blocks);
    let more = u64::from(shape.root != 0);
    Cost {
        rounds: tree.rounds + more,
        messages: tree.messages + more,
        blocks: tree.blocks + more * u64::from(shape.blocks),
    }
}

pub(super) fn gather(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (root, ranks) = (b.shape().root, b.shape().ranks);
    let tree = Tree::new(b, 0..ranks, root);
    let own = b.input();
    if tree.v == 0 {
        b.add(Step::Copy { what: own, into: Blocks::one(Buffer::Output, root) })?;
        for child in tree.children() {
            gather_subtree(b, &tree, child)?;
        }
        return Ok(());
    }
    let size = tree.subtree(tree.v);
    if size == 1 {
        return b.add(Step::Send { to: tree.parent(), what: own }).map(drop);
    }
    let held = b.scratch(vec![Extent(0); size as usize])?;
    b.add(Step::Copy { what: own, into: Blocks::one(held, 0) })?;
    for child in tree.children() {
        let (at, count) = (child - tree.v, tree.subtree(child));
        let into = Blocks::new(held, at..at + count);
        b.add(Step::Recv { from: tree.rank(child), into })?;
    }
    b.add(Step::Send { to: tree.parent(), what: Blocks::new(held, 0..size) }).map(drop)
}

/// At the root: the blocks of a child's subtree into the output, in two pieces if it wraps.
fn gather_subtree(b: &mut Builder, tree: &Tree, child: u32) -> Result<(), Refused> {
    let (from, count, ranks) = (tree.rank(child), tree.subtree(child), tree.size());
    if from + count <= ranks {
        let into = Blocks::new(Buffer::Output, from..from + count);
        return b.add(Step::Recv { from, into }).map(drop);
    }
    let held = b.scratch(vec![Extent(0); count as usize])?;
    let split = ranks - from;
    b.add(Step::Recv { from, into: Blocks::new(held, 0..count) })?;
    b.add(Step::Copy {
        what: Blocks::new(held, 0..split),
        into: Blocks::new(Buffer::Output, from..ranks),
    })?;
    b.add(Step::Copy {
        what: Blocks::new(held, split..count),
        into: Blocks::new(Buffer::Output, 0..count - split),
    })?;
    Ok(())
}

pub(super) fn gather_cost(shape: &Shape, _: Parameters) -> Cost {
    let blocks = (1..shape.ranks).map(|v| u64::from(subtree(v, shape.ranks))).sum();
    Cost { blocks, ..tree_cost(shape.ranks, 1) }
}

pub(super) fn scatter(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let root = b.shape().root;
    let held = (b.rank() == root).then(|| b.input());
    hand_down(b, root, held, |_| Extent(0))
}

pub(super) fn scatter_cost(shape: &Shape, parameters: Parameters) -> Cost {
    gather_cost(shape, parameters)
}

/// Scatters the blocks `held` at the root, one per rank, to everybody's output.
fn hand_down(
    b: &mut Builder,
    root: Rank,
    held: Option<Blocks>,
    extent: impl Fn(Rank) -> Extent,
) -> Result<(), Refused> {
    let ranks = b.shape().ranks;
    let tree = Tree::new(b, 0..ranks, root);
    let output = b.output();
    if let Some(held) = held {
        for child in tree.children().rev() {
            scatter_subtree(b, &tree, child, held.buffer, &extent)?;
        }
        return b.add(Step::Copy { what: Blocks::one(held.buffer, root), into: output }).map(drop);
    }
    let size = tree.subtree(tree.v);
    if size == 1 {
        return b.add(Step::Recv { from: tree.parent(), into: output }).map(drop);
    }
    let extents = (0..size).map(|i| extent(tree.rank(tree.v + i))).collect();
    let held = b.scratch(extents)?;
    b.add(Step::Recv { from: tree.parent(), into: Blocks::new(held, 0..size) })?;
    for child in tree.children().rev() {
        let (at, count) = (child - tree.v, tree.subtree(child));
        let what = Blocks::new(held, at..at + count);
        b.add(Step::Send { to: tree.rank(child), what })?;
    }
    b.add(Step::Copy { what: Blocks::one(held, 0), into: output }).map(drop)
}

/// At the root: the blocks of a child's subtree, gathered into one piece first if they wrap.
fn scatter_subtree(
    b: &mut Builder,
    tree: &Tree,
    child: u32,
    source: Buffer,
    extent: impl Fn(Rank) -> Extent,
) -> Result<(), Refused> {
    let (to, count, ranks) = (tree.rank(child), tree.subtree(child), tree.size());
    if to + count <= ranks {
        let what = Blocks::new(source, to..to + count);
        return b.add(Step::Send { to, what }).map(drop);
    }
    let held = b.scratch((0..count).map(|i| extent(tree.rank(child + i))).collect())?;
    let split = ranks - to;
    b.add(Step::Copy { what: Blocks::new(source, to..ranks), into: Blocks::new(held, 0..split) })?;
    b.add(Step::Copy {
        what: Blocks::new(source, 0..count - split),
        into: Blocks::new(held, split..count),
    })?;
    b.add(Step::Send { to, what: Blocks::new(held, 0..count) }).map(drop)
}

/// The ordered reduction to rank 0, and a scatter from there: few messages for short vectors.
pub(super) fn reduce_scatter(b: &mut Builder, _: Parameters) -> Result<(), Refused> {
    let (rank, ranks) = (b.rank(), b.shape().ranks);
    let mut fold = Fold::new(b, None);
    combine(b, 0..ranks, 0, &mut fold)?;
    let held = (rank == 0).then_some(fold.result());
    hand_down(b, 0, held, |rank| Extent(u64::from(rank)))
}

pub(super) fn reduce_scatter_cost(shape: &Shape, parameters: Parameters) -> Cost {
    let up = tree_cost(shape.ranks, shape.ranks);
    let down = gather_cost(shape, parameters);
    Cost {
        rounds: up.rounds + down.rounds,
        messages: up.messages + down.messages,
        blocks: up.blocks + down.blocks,
    }
}
