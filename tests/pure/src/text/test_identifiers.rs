use super::identifiers::{ListedName, listed_names};

fn names(list: &str) -> Option<Vec<(bool, String)>> {
    let text = |name: ListedName| (name.quoted, String::from_utf8(name.bytes).unwrap());
    let names = listed_names(list.as_bytes(), b',', || {})?;
    Some(names.into_iter().map(text).collect())
}

fn some(names: &[(bool, &str)]) -> Option<Vec<(bool, String)>> {
    Some(
        names
            .iter()
            .map(|(q, name)| (*q, (*name).to_owned()))
            .collect(),
    )
}

#[test]
fn names_are_parted_as_core_parts_them() {
    assert_eq!(names(""), some(&[]));
    assert_eq!(names(" \t\n"), some(&[]));
    assert_eq!(
        names("a, B ,c"),
        some(&[(false, "a"), (false, "B"), (false, "c")])
    );
    assert_eq!(
        names(r#""a,b" , "c""d""e""#),
        some(&[(true, "a,b"), (true, r#"c"d"e"#)])
    );
    assert_eq!(names(r#""""#), some(&[(true, "")]));
    assert_eq!(names(r#""""""#), some(&[(true, "\"")]));
    // A quote counts at the beginning of a name alone.
    assert_eq!(
        names(r#"a"b,"c,d""#),
        some(&[(false, r#"a"b"#), (true, "c,d")])
    );
}

#[test]
fn what_is_no_list_is_refused() {
    for list in [
        "a,", ",a", "a,,b", "a b", r#""a"#, r#""a"b"#, r#""a"" "#, ",", " , ",
    ] {
        assert_eq!(names(list), None, "{list}");
    }
}

#[test]
fn a_list_takes_as_long_as_it_is() {
    let list = format!("\"{}\"", "\"\"".repeat(2_000_000));
    assert_eq!(names(&list).unwrap()[0].1.len(), 2_000_000);
}
