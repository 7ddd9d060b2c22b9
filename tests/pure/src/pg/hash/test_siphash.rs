use super::siphash::SipHash;

fn hash() -> SipHash {
    SipHash::new([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908])
}

/// The vectors that the algorithm's authors publish.
#[test]
fn it_is_that_of_its_authors() {
    let bytes: Vec<u8> = (0..16).collect();
    assert_eq!(hash().finish(), 0x726f_db47_dd0e_0e31);
    assert_eq!(hash().fixed(&bytes[..8]).finish(), 0x93f5_f579_9a93_2462);
    assert_eq!(hash().fixed(&bytes).finish(), 0x3f2a_cc7f_57c2_9bdb);
}

#[test]
fn pieces_cannot_be_moved_between_two_byte_strings() {
    let of = |first: &[u8], second: &[u8]| hash().bytes(first).bytes(second).finish();
    assert_ne!(of(b"ab", b"c"), of(b"a", b"bc"));
    assert_ne!(of(b"", b"a"), of(b"a", b""));
}

#[test]
fn a_key_changes_every_hash() {
    let other = SipHash::new([0x0706_0504_0302_0101, 0x0f0e_0d0c_0b0a_0908]);
    assert_ne!(other.word(7).finish(), hash().word(7).finish());
}
