//! Rows that differ have hashes that differ, as random numbers do, though the rows are much alike.
use super::row_hash::RowHash;
use super::sink::Sink;
use super::tag;
use crate::random::Random;

const ROWS: usize = 1 << 16;

/// A part of the hashes of a key and of all columns.
type Part = fn(&[u64; 2]) -> u32;

/// Of so many random numbers of 24 bits, about 128 equal one before them.
fn check(what: &str, hash: impl Fn(&mut RowHash, usize)) {
    let mut random = Random::new(11);
    for _ in 0..3 {
        let key = [random.word(), random.word()];
        let hashes = (0..ROWS).map(|i| {
            let mut row = RowHash::new(key);
            hash(&mut row, i);
            [row.so_far(), row.finish()]
        });
        let hashes: Vec<[u64; 2]> = hashes.collect();
        let parts: [(&str, Part); 4] = [
            ("low", |[_, all]| *all as u32 >> 8),
            ("high", |[_, all]| (*all >> 40) as u32),
            ("low of the key", |[key, _]| *key as u32 >> 8),
            ("high of the key", |[key, _]| (*key >> 40) as u32),
        ];
        for (part, of) in parts {
            let mut words: Vec<u32> = hashes.iter().map(of).collect();
            words.sort_unstable();
            words.dedup();
            let met = ROWS - words.len();
            assert!(
                (60..220).contains(&met),
                "{what}: {met} of {part} with {key:x?}"
            );
        }
    }
}

#[test]
fn rows_that_are_much_alike_have_hashes_as_random_numbers() {
    check("an integer", |row, i| row.integer(i as i64));
    check("a multiple", |row, i| row.integer((i as i64) << 40));
    check("two integers", |row, i| {
        row.integer((i % 1024) as i64);
        row.integer((i / 1024) as i64);
    });
    check("floats", |row, i| row.float(i as f64 / 8.0));
    check("a text", |row, i| {
        row.bytes(tag::TEXT, format!("note {i}").as_bytes())
    });
    check("a uuid", |row, i| {
        row.bytes(tag::UUID, &(i as u128).to_be_bytes())
    });
    check("a numeric", |row, i| {
        let digits = [(i / 10_000) as u16, (i % 10_000) as u16].map(u16::to_ne_bytes);
        row.digits(tag::NUMERIC, 0, &digits);
    });
    check("a time before others", |row, i| {
        row.fixed(tag::TIMESTAMPTZ, (i as u64 * 1_000_000).to_be_bytes());
        row.integer(7);
        row.tag(tag::NULL);
        row.bytes(tag::TEXT, b"paid");
    });
}

#[test]
fn values_are_not_what_lies_beside_them() {
    let hash = |write: &dyn Fn(&mut RowHash)| {
        let mut row = RowHash::new([3, 4]);
        write(&mut row);
        row.finish()
    };
    let mut hashes = vec![
        hash(&|_| {}),
        hash(&|row| row.tag(tag::NULL)),
        hash(&|row| row.integer(0)),
        hash(&|row| row.bytes(tag::TEXT, b"")),
        hash(&|row| row.digits(tag::NUMERIC, 0, &[])),
        hash(&|row| row.written(b"")),
        hash(&|row| [1, 2].into_iter().for_each(|i| row.integer(i))),
        hash(&|row| [2, 1].into_iter().for_each(|i| row.integer(i))),
        hash(&|row| {
            [&b"a"[..], b"bc"]
                .into_iter()
                .for_each(|text| row.bytes(tag::TEXT, text))
        }),
        hash(&|row| {
            [&b"ab"[..], b"c"]
                .into_iter()
                .for_each(|text| row.bytes(tag::TEXT, text))
        }),
    ];
    let count = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), count);
}
