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

/// All ranges of a width that is small enough for all pairs of them.
fn all_ranges(bits: u32) -> Vec<Range> {
    let whole = 1 << bits;
    let from = |from| (from + 1..=whole).map(move |to| Range::of(bits, from, to));
    (0..whole).flat_map(from).collect()
}

/// Some of the widths that values have. Every level is made in the same way, so few will do beside
/// all those of a small width.
fn some_ranges(seed: u64, mut check: impl FnMut(&mut Random, u32, &Range)) {
    let mut random = Random::new(seed);
    for _ in 0..500 {
        let bits = *random.one_of(&[16, 32, 64]);
        let range = Range::any(&mut random, bits);
        check(&mut random, bits, &range);
    }
}

fn check_pair(a: &Range, b: &Range) {
    let overlap = a.from < b.to && b.from < a.to;
    let excluded = a.excludes(&b.exclusive, &b.shared);
    assert_eq!(
        excluded, overlap,
        "{}..{} {}..{}",
        a.from, a.to, b.from, b.to
    );
}

#[test]
fn ranges_exclude_each_other_just_where_they_overlap() {
    let ranges = all_ranges(4);
    for a in &ranges {
        ranges.iter().for_each(|b| check_pair(a, b));
    }
    some_ranges(1, |random, bits, range| {
        check_pair(range, &Range::any(random, bits));
        if range.to < 1 << bits {
            check_pair(range, &Range::of(bits, range.to, 1 << bits));
        }
    });
}

fn check_value(bits: u32, range: &Range, value: u128) {
    let nodes: BTreeSet<Node> = path(bits, value as u64).collect();
    let inside = range.from <= value && value < range.to;
    let excluded = range.excludes(&BTreeSet::new(), &nodes);
    assert_eq!(excluded, inside, "{}..{} {value}", range.from, range.to);
}

#[test]
fn a_range_excludes_just_the_values_in_it() {
    for range in all_ranges(4) {
        (0..1 << 4).for_each(|value| check_value(4, &range, value));
    }
    some_ranges(2, |random, bits, range| {
        let near = [
            range.from,
            range.to - 1,
            range.to,
            range.from.wrapping_sub(1),
            number(random, bits),
        ];
        let values = near.into_iter().filter(|value| *value < 1 << bits);
        values.for_each(|value| check_value(bits, range, value));
    });
}

#[test]
fn nothing_is_locked_twice_and_there_are_few() {
    let check = |bits: u32, range: &Range| {
        assert!(range.exclusive.is_disjoint(&range.shared));
        assert!(range.exclusive.len() as u32 <= 3 * bits && range.shared.len() as u32 <= bits);
        let nodes: Vec<Node> = path(bits, range.from as u64).collect();
        assert_eq!(nodes.len() as u32, bits / 2 + 1);
        assert!(nodes.is_sorted());
    };
    all_ranges(6).iter().for_each(|range| check(6, range));
    some_ranges(3, |_, bits, range| check(bits, range));
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
