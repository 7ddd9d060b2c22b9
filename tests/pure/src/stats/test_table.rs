//! The table of counters, against a map.
use crate::random::Random;
use crate::stats::table::{COUNTERS, CounterTable, Counts, Subject};
use std::collections::BTreeMap;

const SIZE: usize = 16;

fn subject(random: &mut Random, relations: usize) -> Subject {
    Subject {
        database: random.below(2) as u32 + 1,
        relation: random.below(relations) as u32,
        form: random.below(3) as u32,
    }
}

fn counts(random: &mut Random) -> Counts {
    let mut counts = [0; COUNTERS];
    counts[random.below(COUNTERS)] = random.below(5) as u64;
    counts
}

fn shown(table: &CounterTable<SIZE>) -> BTreeMap<(u32, u32, u32), (Counts, i64)> {
    let mut shown = BTreeMap::new();
    table.for_each(|one, counts, since| {
        let before = shown.insert((one.database, one.relation, one.form), (counts, since));
        assert!(before.is_none(), "{one:?} is there twice");
    });
    shown
}

/// Random steps, with more subjects than there is room for.
#[test]
fn counts_as_a_map_does() {
    let mut random = Random::new(1);
    let table = CounterTable::<SIZE>::new();
    let mut map: BTreeMap<(u32, u32, u32), (Counts, i64)> = BTreeMap::new();
    let mut uncounted = 0;
    for now in 0..20_000 {
        let one = subject(&mut random, 5);
        let key = (one.database, one.relation, one.form);
        let more = counts(&mut random);
        match random.below(10) {
            0 => {
                table.remove(one);
                map.remove(&key);
            }
            1 => {
                let which = |other: Subject| other.database == one.database;
                table.restart(now, which);
                for ((database, ..), value) in &mut map {
                    if *database == one.database {
                        *value = ([0; COUNTERS], now);
                    }
                }
            }
            2..6 => {
                let known = map.get_mut(&key);
                assert_eq!(table.add(one, &more), known.is_some());
                if let Some((sum, _)) = known {
                    sum.iter_mut()
                        .zip(more)
                        .for_each(|(sum, more)| *sum += more);
                }
            }
            _ => {
                let fits = map.contains_key(&key) || map.len() < SIZE;
                assert_eq!(table.add_or_begin(one, &more, now), fits);
                if fits {
                    let (sum, _) = map.entry(key).or_insert(([0; COUNTERS], now));
                    sum.iter_mut()
                        .zip(more)
                        .for_each(|(sum, more)| *sum += more);
                } else {
                    uncounted += more.iter().sum::<u64>();
                }
            }
        }
        assert_eq!(shown(&table), map);
        assert_eq!(table.uncounted(), uncounted);
    }
    assert!(uncounted > 0);
}

/// What one thread adds is not lost by what another one adds.
#[test]
fn threads_add_up() {
    let table = CounterTable::<SIZE>::new();
    let one = Subject {
        database: 1,
        relation: 2,
        form: 3,
    };
    table.add_or_begin(one, &[1; COUNTERS], 0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10_000).for_each(|_| assert!(table.add(one, &[1; COUNTERS]))));
        }
    });
    assert_eq!(shown(&table)[&(1, 2, 3)], ([40_001; COUNTERS], 0));
}
