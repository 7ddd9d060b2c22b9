//! Ranges of integers as nodes of a tree.
//!
//! The root of a tree stands for all its integers, each node for an interval of them, and its
//! children for equal parts of that; a leaf is one integer. The tree is nowhere kept: a
//! node is its level and its position there. A range is the union of the few largest nodes that lie
//! in it, its cover. So two ranges have an integer in common just where a node of the one is a node
//! of the other's cover, or an ancestor of one; and a range holds an integer just where one of its
//! nodes is on the path from the root to that leaf.
//!
//! # Short paths
//! Of microseconds, most that are meant are the first of a day, an hour, a minute or a second. For
//! these the path ends at that node, with a leaf of its own below it: the node's *start*. A
//! range that holds the first integer of such a node and not the whole node has its end in it; then
//! the start is part of the cover, too.
use std::collections::BTreeMap;

/// A node. The order is that of levels, and within a level that of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// 0 for the root. Starts have levels beyond those of the leaves.
    pub level: u32,
    /// How many nodes of its level come before it.
    pub position: u64,
}

/// A tree.
#[derive(Clone, Copy, Debug)]
pub struct Tree {
    /// How many children a node has, by how high it is above the leaves, from 1.
    children: &'static [u8],
    /// How high nodes are that have starts, in ascending order.
    starts: &'static [usize],
}

/// A microsecond to a second, a minute, an hour, a day; and days by the quarters.
const MICROSECONDS: [u8; 31] = [
    4, 4, 4, 5, 5, 5, 5, 5, 5, // 1,000,000
    4, 3, 5, // 60
    4, 3, 5, // 60
    4, 6, // 24
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
];

impl Tree {
    /// All microseconds that a u64 counts from the start of a day.
    pub const OF_MICROSECONDS: Self = Self {
        children: &MICROSECONDS,
        starts: &[9, 12, 15, 17],
    };

    /// All integers of so many bits, an even number.
    pub const fn of_bits(bits: u32) -> Self {
        const QUARTERS: [u8; 32] = [4; 32];
        Self {
            children: QUARTERS.split_at(bits as usize / 2).0,
            starts: &[],
        }
    }

    /// How many integers it has.
    pub fn size(self) -> u128 {
        self.unit(self.children.len())
    }

    /// How many a node has that is so high above the leaves.
    fn unit(self, height: usize) -> u128 {
        let children = self.children[..height].iter();
        children.map(|children| u128::from(*children)).product()
    }

    /// The node of this height that an integer is in.
    fn node(self, at: u64, height: usize) -> Node {
        Node {
            level: (self.children.len() - height) as u32,
            position: (u128::from(at) / self.unit(height)) as u64,
        }
    }

    /// The start of a node.
    fn start_of(self, node: Node) -> Node {
        Node {
            level: self.children.len() as u32 + 1 + node.level,
            ..node
        }
    }

    /// Those that a node of this height lies in, without itself, from the lowest.
    fn ancestors(self, node: Node, height: usize) -> impl Iterator<Item = Node> {
        let mut ancestor = node;
        self.children[height..].iter().map(move |children| {
            ancestor.level -= 1;
            ancestor.position /= u64::from(*children);
            ancestor
        })
    }

    /// The nodes from the root to the leaf of an integer, in their order.
    pub fn path(self, at: u64) -> Vec<Node> {
        let mut starts = self.starts.iter().copied().rev();
        let started = starts.find(|height| u128::from(at).is_multiple_of(self.unit(*height)));
        let height = started.unwrap_or(0);
        let lowest = self.node(at, height);
        let mut path: Vec<Node> = self.ancestors(lowest, height).collect();
        path.reverse();
        path.push(lowest);
        path.extend(started.map(|_| self.start_of(lowest)));
        path
    }

    /// The nodes of the cover of the integers from `from` until before `to`, marked true, and their
    /// ancestors, marked false, in the order of nodes. Of a level, a cover has at most twice as many
    /// as a node has siblings; they have at most two ancestors on each.
    pub fn cover(self, from: u64, to: u128) -> BTreeMap<Node, bool> {
        let mut nodes = BTreeMap::new();
        let mut add = |height, position: u128| {
            let level = (self.children.len() - height) as u32;
            let position = position as u64;
            let node = Node { level, position };
            nodes.insert(node, true);
            let mut ancestors = self.ancestors(node, height);
            // Those of an ancestor that is known are.
            while let Some(ancestor) = ancestors.next()
                && nodes.insert(ancestor, false).is_none()
            {}
        };
        // What is left to be covered, by positions of a level: from the leaves up, what has no
        // parent inside goes.
        let (mut first, mut end) = (u128::from(from), to);
        for (height, children) in self.children.iter().enumerate() {
            let children = u128::from(*children);
            while first < end && first % children != 0 {
                add(height, first);
                first += 1;
            }
            while first < end && end % children != 0 {
                end -= 1;
                add(height, end);
            }
            (first, end) = (first / children, end / children);
            if first >= end {
                break;
            }
        }
        if first < end {
            add(self.children.len(), 0);
        }
        for height in self.starts {
            let unit = self.unit(*height);
            if !to.is_multiple_of(unit) && to - to % unit >= u128::from(from) {
                let node = self.node(to as u64, *height);
                nodes.insert(self.start_of(node), true);
            }
        }
        nodes
    }
}
