use super::json_text::is_refused;

#[test]
fn what_jsonb_takes_is_not_refused() {
    for json in [
        "null",
        r#""\u0041""#,
        r#""\\u0000""#,
        r#""\ud83d\ude00""#,
        r#"{"e9999999": "1e9999999", "a": [true, false]}"#,
        "1e131071",
        "1E-16383",
        "[1.5e+3]",
        r#""\"\\""#,
    ] {
        assert!(!is_refused(json.as_bytes()), "{json}");
    }
}

#[test]
fn the_character_0_is_refused() {
    assert!(is_refused(br#""\u0000""#));
    assert!(is_refused(br#"{"a": ["b", "\\\u0000"]}"#));
}

#[test]
fn half_a_surrogate_pair_is_refused() {
    for json in [
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\ude00\ud83d""#,
        r#""\ud83dx\ude00""#,
        r#""\ud83d\ud83d\ude00""#,
        r#""\ud83d\n""#,
    ] {
        assert!(is_refused(json.as_bytes()), "{json}");
    }
}

#[test]
fn a_number_beyond_every_numeric_is_refused() {
    for json in [
        "1e131072",
        "1E+131072",
        "1e-16384",
        "[1.5e99999999999999999999]",
        "0.e200000",
    ] {
        assert!(is_refused(json.as_bytes()), "{json}");
    }
}
