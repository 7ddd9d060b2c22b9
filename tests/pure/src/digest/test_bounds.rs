//! Which range a position is in.
use super::bounds::Bounds;
use crate::random::Random;

fn check(mut starts: Vec<i64>, random: &mut Random) {
    let bounds = Bounds::new(starts.clone());
    starts.sort_unstable();
    assert_eq!(bounds.starts(), starts);
    let around = starts
        .iter()
        .flat_map(|start| [start.saturating_sub(1), *start, start.saturating_add(1)]);
    let anywhere = (0..200).map(|_| random.word() as i64);
    let positions: Vec<i64> = around
        .chain(anywhere)
        .chain([i64::MIN, 0, i64::MAX])
        .collect();
    for position in positions {
        let reached = starts.iter().filter(|start| **start <= position).count();
        assert_eq!(
            bounds.range_of(position),
            reached,
            "{position} in {starts:?}"
        );
    }
}

#[test]
fn a_position_is_in_the_range_whose_bound_it_has_reached() {
    let mut random = Random::new(7);
    check(vec![], &mut random);
    check(vec![3], &mut random);
    check(vec![3, 3, 3], &mut random);
    check(vec![i64::MIN, i64::MAX], &mut random);
    check(vec![-7, 0, 5], &mut random);
    for bits in [1, 4, 11, 12, 30, 63, 64] {
        for count in [1, 2, 17, 1023] {
            let shift = 64 - bits;
            let starts = (0..count).map(|_| random.word() as i64 >> shift).collect();
            check(starts, &mut random);
        }
    }
    // Most bounds lie together, and one far away.
    check((0..1000).chain([i64::MAX / 3]).collect(), &mut random);
}
