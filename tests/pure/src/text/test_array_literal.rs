use super::array_literal::array_literal;
use crate::random::Random;

fn literal(texts: &[&str]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    array_literal(&texts)
}

#[test]
fn plain_words_need_no_quotes() {
    assert_eq!(literal(&[]), "{}");
    assert_eq!(literal(&["a", "b_2", "größe"]), "{a,b_2,größe}");
}

#[test]
fn what_the_input_function_would_read_otherwise_is_quoted() {
    assert_eq!(literal(&["", "NULL", "Null"]), r#"{"","NULL","Null"}"#);
    assert_eq!(literal(&["a b", "a,b", "{a}"]), r#"{"a b","a,b","{a}"}"#);
    assert_eq!(literal(&[r#"a"b"#, r"a\b"]), r#"{"a\"b","a\\b"}"#);
}

/// The members of an array of texts, by the rules of the server's manual, «Array Input and Output Syntax».
fn read(literal: &str) -> Vec<String> {
    let inner = literal
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .expect("braces");
    let mut members = Vec::new();
    if inner.is_empty() {
        return members;
    }
    let (mut member, mut was_quoted, mut quoted) = (String::new(), false, false);
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            '\\' => member.extend(chars.next()),
            ',' if !quoted => {
                members.push(std::mem::take(&mut member));
                was_quoted = false;
            }
            _ => {
                assert!(
                    quoted || !"{} \t".contains(c),
                    "{literal}: {c} outside of quotes"
                );
                member.push(c);
            }
        }
        assert!(
            was_quoted || !member.eq_ignore_ascii_case("null"),
            "{literal}: NULL"
        );
    }
    members.push(member);
    members
}

#[test]
fn every_list_is_read_as_it_was_written() {
    let mut random = Random::new(1);
    let letters = ['a', 'N', '"', '\\', ',', '{', '}', ' ', '\'', 'ü', '_', '0'];
    for _ in 0..1_000 {
        let texts = random.several(4, |random| {
            random
                .several(5, |random| *random.one_of(&letters))
                .into_iter()
                .collect::<String>()
        });
        assert_eq!(read(&array_literal(&texts)), texts);
    }
}
