use crate::random::Random;
use pg_idempotent_lthash::{BYTES, Hash, LtHash};

fn some_row(random: &mut Random) -> Hash {
    let mut row = [0; 32];
    for chunk in row.chunks_mut(8) {
        chunk.copy_from_slice(&random.word().to_le_bytes());
    }
    row
}

fn sum(rows: &[Hash]) -> LtHash {
    let mut sum = LtHash::NONE;
    rows.iter().for_each(|row| sum.add(row));
    sum
}

/// Computed by a program that writes ChaCha12 down a second time.
#[test]
fn digests_are_those_that_are_kept() {
    assert_eq!(
        LtHash::NONE.to_text(),
        "v2:0:e5a00aa9991ac8a5ee3109844d84a55583bd20572ad3ffcd42792f3c36b183ad"
    );
    assert_eq!(
        sum(&[[0; 32]]).to_text(),
        "v2:1:e3c41ab1a0c6bc2795825c8efea64b9dedf9eb934e0695c07cb92c26bc28bdf3"
    );
    let counting: Hash = std::array::from_fn(|i| i as u8);
    assert_eq!(
        sum(&[counting]).to_text(),
        "v2:1:8103595e1478e8a69bbeee85194ee49f5a2cc985d857175452f8bf6f30beeacc"
    );
}

#[test]
fn the_order_of_rows_does_not_count_and_their_number_does() {
    let mut random = Random::new(7);
    for _ in 0..10 {
        let mut rows = random.several(6, some_row);
        let whole = sum(&rows);
        rows.reverse();
        assert!(sum(&rows) == whole);
        assert!(whole.to_text().starts_with(&format!("v2:{}:", rows.len())));
        let more = some_row(&mut random);
        rows.push(more);
        let once = sum(&rows).to_text();
        rows.push(more);
        assert_ne!(sum(&rows).to_text(), once);
        assert_ne!(once, whole.to_text());
    }
}

#[test]
fn parts_are_put_together_and_rows_taken_out() {
    let mut random = Random::new(8);
    for _ in 0..10 {
        let (first, second) = (random.several(4, some_row), random.several(4, some_row));
        let whole = sum(&[first.clone(), second.clone()].concat());
        let mut merged = sum(&first);
        merged.merge(&sum(&second));
        assert!(merged == whole);
        second.iter().for_each(|row| merged.remove(row));
        assert!(merged == sum(&first));
    }
}

#[test]
fn another_process_gets_the_same_sum() {
    let mut random = Random::new(9);
    let whole = sum(&[some_row(&mut random), some_row(&mut random)]);
    let bytes = whole.to_bytes();
    assert!(LtHash::of_bytes(&bytes).is_some_and(|read| read == whole));
    assert!(LtHash::of_bytes(&bytes[1..]).is_none());
    assert!(LtHash::of_bytes(&[]).is_none());
    assert_eq!(bytes.len(), BYTES);
}

/// In lanes of 16 bits, 65536 copies of a row would be none.
#[test]
fn many_copies_are_no_multiple_of_anything() {
    let mut copies = sum(&[[7; 32]]);
    for _ in 0..16 {
        copies.merge(&copies.clone());
    }
    let bytes = copies.to_bytes();
    let (lanes, _) = bytes.as_chunks::<8>();
    assert!(lanes.iter().all(|lane| u64::from_le_bytes(*lane) != 0));
    assert!(copies.to_text().starts_with("v2:65536:"));
}
