//! Ranges as nodes of a tree, against the ranges themselves.
use crate::overwrite::cover::{Node, cover, path};
use crate::random::Random;
use std::collections::BTreeSet;

/// Numbers near each other, near the ends, and anywhere.
fn number(random: &mut Random, bits: u32) -> u128 {
    let whole = 1u128 << bits;
    let anywhere = u128::from(random.word()) % whole;
    match random.below(4) {
        0 => random.below(70) as u128 % whole,
        1 => whole - 1 - random.below(70) as u128 % whole,
        2 => anywhere & !((whole - 1) >> random.below(bits as usize + 1)),
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
    fn of(bits: u32, from: u128, to: u128) -> Self {
        let nodes = cover(bits, from as u64, to);
        let with = |wanted| nodes.iter().filter(move |(_, is)| **is == wanted);
        Self {
            from,
            to,
            exclusive: with(true).map(|(node, _)| *node).collect(),
            shared: with(false).map(|(node, _)| *node).collect(),
        }
    }

    fn any(random: &mut Random, bits: u32) -> Self {
        let (a, b) = (number(random, bits), number(random, bits));
        Self::of(bits, a.min(b), a.max(b) + 1)
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
    for _ in 0..30_000 {
        let bits = *random.one_of(&[16, 32, 64]);
        let (a, b) = (Range::any(&mut random, bits), Range::any(&mut random, bits));
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
        let next = Range::of(bits, a.to.min((1 << bits) - 1), 1 << bits);
        assert_eq!(a.excludes(&next.exclusive, &next.shared), a.to == 1 << bits);
    }
}

#[test]
fn a_range_excludes_just_the_values_in_it() {
    let mut random = Random::new(2);
    for _ in 0..30_000 {
        let bits = *random.one_of(&[16, 32, 64]);
        let range = Range::any(&mut random, bits);
        let near = [
            range.from,
            range.to - 1,
            range.to,
            range.from.wrapping_sub(1),
        ];
        let mut values: Vec<u128> = near.into_iter().filter(|v| *v < 1 << bits).collect();
        values.push(number(&mut random, bits));
        for value in values {
            let nodes: BTreeSet<Node> = path(bits, value as u64).collect();
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
    for _ in 0..30_000 {
        let bits = *random.one_of(&[16, 32, 64]);
        let range = Range::any(&mut random, bits);
        assert!(range.exclusive.is_disjoint(&range.shared));
        assert!(range.exclusive.len() as u32 <= 3 * bits && range.shared.len() as u32 <= bits);
        let nodes: Vec<Node> = path(bits, range.from as u64).collect();
        assert_eq!(nodes.len() as u32, bits / 2 + 1);
        assert!(nodes.is_sorted());
    }
}

#[test]
fn the_whole_is_the_root_and_nothing_is_no_node() {
    for bits in [0, 16, 32, 64] {
        let root: Vec<Node> = path(bits, 0).take(1).collect();
        assert_eq!(
            cover(bits, 0, 1 << bits).into_iter().collect::<Vec<_>>(),
            [(root[0], true)]
        );
        assert!(cover(bits, 0, 0).is_empty());
    }
}
