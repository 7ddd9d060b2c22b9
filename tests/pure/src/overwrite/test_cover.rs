//! Ranges as nodes of a tree, against the ranges themselves.
use crate::overwrite::cover::{Node, Tree};
use crate::random::Random;
use std::collections::BTreeSet;

const TREES: [Tree; 4] = [
    Tree::of_bits(16),
    Tree::of_bits(32),
    Tree::of_bits(64),
    Tree::OF_MICROSECONDS,
];

const SECOND: u128 = 1_000_000;
const DAY: u128 = 86_400 * SECOND;

/// How many integers of a tree can be a value.
fn size(tree: Tree) -> u128 {
    tree.size().min(1 << 64)
}

/// Numbers near each other, near the ends, round ones, and anywhere.
fn number(random: &mut Random, tree: Tree) -> u128 {
    let whole = size(tree);
    let anywhere = u128::from(random.word()) % whole;
    let unit = *random.one_of(&[1, SECOND, 60 * SECOND, 3600 * SECOND, DAY]);
    match random.below(6) {
        0 => random.below(70) as u128 % whole,
        1 => whole - 1 - random.below(70) as u128 % whole,
        2 => anywhere & !((whole - 1) >> random.below(65)),
        3 => (DAY * 9000 + unit * random.below(70) as u128) % whole,
        4 => (DAY * 9000 + unit * random.below(70) as u128 + random.below(3) as u128) % whole,
        _ => anywhere,
    }
}

/// A range, and all that is locked for it.
struct Range {
    from: u128,
    to: u128,
    exclusive: BTreeSet<Node>,
    shared: BTreeSet<Node>,
}

impl Range {
    fn of(tree: Tree, from: u128, to: u128) -> Self {
        let nodes = tree.cover(from as u64, to);
        let with = |wanted| nodes.iter().filter(move |(_, is)| **is == wanted);
        Self {
            from,
            to,
            exclusive: with(true).map(|(node, _)| *node).collect(),
            shared: with(false).map(|(node, _)| *node).collect(),
        }
    }

    fn any(random: &mut Random, tree: Tree) -> Self {
        let (a, b) = (number(random, tree), number(random, tree));
        Self::of(tree, a.min(b), a.max(b).max(a.min(b) + 1))
    }

    /// Whether it and somebody who holds other nodes cannot both have theirs.
    fn excludes(&self, exclusive: &BTreeSet<Node>, shared: &BTreeSet<Node>) -> bool {
        !self.exclusive.is_disjoint(exclusive)
            || !self.exclusive.is_disjoint(shared)
            || !self.shared.is_disjoint(exclusive)
    }
}

#[test]
fn ranges_exclude_each_other_just_where_they_overlap() {
    let mut random = Random::new(1);
    for _ in 0..500 {
        let tree = *random.one_of(&TREES);
        let (a, b) = (Range::any(&mut random, tree), Range::any(&mut random, tree));
        let overlap = a.from < b.to && b.from < a.to;
        assert_eq!(
            a.excludes(&b.exclusive, &b.shared),
            overlap,
            "{}..{} {}..{}",
            a.from,
            a.to,
            b.from,
            b.to
        );
        let next = Range::of(tree, a.to.min(size(tree) - 1), tree.size());
        assert_eq!(
            a.excludes(&next.exclusive, &next.shared),
            a.to >= size(tree)
        );
    }
}

#[test]
fn a_range_excludes_just_the_values_in_it() {
    let mut random = Random::new(2);
    for _ in 0..500 {
        let tree = *random.one_of(&TREES);
        let range = Range::any(&mut random, tree);
        let near = [
            range.from,
            range.to - 1,
            range.to,
            range.from.wrapping_sub(1),
        ];
        let mut values: Vec<u128> = near.into_iter().filter(|v| *v < size(tree)).collect();
        values.push(number(&mut random, tree));
        for value in values {
            let nodes: BTreeSet<Node> = tree.path(value as u64).into_iter().collect();
            let inside = range.from <= value && value < range.to;
            assert_eq!(
                range.excludes(&BTreeSet::new(), &nodes),
                inside,
                "{}..{} {value}",
                range.from,
                range.to
            );
        }
    }
}

#[test]
fn nothing_is_locked_twice_and_there_are_few() {
    let mut random = Random::new(3);
    for _ in 0..500 {
        let tree = *random.one_of(&TREES);
        let range = Range::any(&mut random, tree);
        assert!(range.exclusive.is_disjoint(&range.shared));
        assert!(range.exclusive.len() <= 192 && range.shared.len() <= 64);
        let nodes = tree.path(range.from as u64);
        assert!(nodes.len() <= 33 && nodes.is_sorted());
    }
}

#[test]
fn days_of_timestamps_have_as_few_as_dates() {
    let tree = Tree::OF_MICROSECONDS;
    for (at, length) in [
        (0, 16),
        (DAY, 16),
        (DAY + 3600 * SECOND, 18),
        (DAY + 60 * SECOND, 21),
        (DAY + SECOND, 24),
        (DAY + 1, 32),
    ] {
        assert_eq!(tree.path(at as u64).len(), length, "{at}");
    }
    let year: BTreeSet<Node> = (9000..9365)
        .flat_map(|day| tree.path((day * DAY) as u64))
        .collect();
    assert!(year.len() < 365 * 3, "{}", year.len());
    let month = Range::of(tree, 9000 * DAY, 9031 * DAY);
    assert!(month.exclusive.len() < 12 && month.shared.len() < 24);
}

#[test]
fn the_whole_is_the_root_and_nothing_is_no_node() {
    for tree in [&TREES[..], &[Tree::of_bits(0)]].concat() {
        let root = tree.path(0);
        assert_eq!(
            tree.cover(0, tree.size()).into_iter().collect::<Vec<_>>(),
            [(root[0], true)]
        );
        assert!(tree.cover(0, 0).is_empty());
    }
}
