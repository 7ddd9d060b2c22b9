//! Ranges of integers as nodes of a tree.
//!
//! The root of the tree stands for all integers of a width, each node for an interval of them, and
//! its four children for the quarters of that; a leaf is one integer. The tree is nowhere kept: a
//! node is its level and its position there. A range is the union of the few largest nodes that lie
//! in it, its cover. So two ranges have an integer in common just where a node of the one is a node
//! of the other's cover, or an ancestor of one; and a range holds an integer just where one of its
//! nodes is on the path from the root to that leaf.
use std::collections::BTreeMap;

/// A node. The order is that of levels, and within a level that of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// 0 for the root.
    pub level: u32,
    /// That of its first integer, without the bits that its integers do not share.
    pub position: u64,
}

/// The bits by which two levels differ.
const STEP: u32 = 2;

/// How many children a node has.
const CHILDREN: u128 = 1 << STEP;

impl Node {
    fn of(at: u64, level: u32, levels: u32) -> Self {
        let below = (levels - level) * STEP;
        Self {
            level,
            // The root of 64 bits shifts all of them away.
            position: at.checked_shr(below).unwrap_or(0),
        }
    }

    /// Those that it lies in, without itself.
    fn ancestors(self) -> impl Iterator<Item = Self> {
        (0..self.level).map(move |level| Self::of(self.position, level, self.level))
    }
}

/// The nodes from the root to the leaf of an integer, in their order: one more than half as many as
/// it has bits, an even number.
pub fn path(bits: u32, at: u64) -> impl Iterator<Item = Node> {
    let levels = bits / STEP;
    (0..=levels).map(move |level| Node::of(at, level, levels))
}

/// The nodes of the cover of the integers from `from` until before `to`, marked true, and their
/// ancestors, marked false, in the order of nodes. In a cover are at most six nodes of a level;
/// they have at most two ancestors on each.
pub fn cover(bits: u32, from: u64, to: u128) -> BTreeMap<Node, bool> {
    let mut nodes = BTreeMap::new();
    let mut add = |level, position: u128| {
        let position = position as u64;
        let node = Node { level, position };
        nodes.extend(node.ancestors().map(|ancestor| (ancestor, false)));
        nodes.insert(node, true);
    };
    // What is left to be covered, by positions of a level: from the leaves up, what has no parent
    // inside goes.
    let (mut from, mut to) = (u128::from(from), to);
    for level in (1..=bits / STEP).rev() {
        while from < to && from % CHILDREN != 0 {
            add(level, from);
            from += 1;
        }
        while from < to && to % CHILDREN != 0 {
            to -= 1;
            add(level, to);
        }
        if from == to {
            return nodes;
        }
        (from, to) = (from / CHILDREN, to / CHILDREN);
    }
    if from < to {
        add(0, 0);
    }
    nodes
}
