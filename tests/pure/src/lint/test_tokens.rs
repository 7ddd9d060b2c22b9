use super::tokens::{Token, tokens};
use crate::random::Random;

fn name(name: &str) -> Token {
    Token::Name(name.to_owned())
}

fn text(text: &str) -> Token {
    Token::Text(text.to_owned())
}

#[test]
fn names_are_folded_unless_they_are_quoted() {
    assert_eq!(
        tokens(r#"NEW."Id" := Größe$1"#),
        [
            name("new"),
            Token::Sign("."),
            name("Id"),
            Token::Sign(":="),
            name("größe$1"),
        ]
    );
    assert_eq!(tokens(r#""a""b""#), [name(r#"a"b"#)]);
}

#[test]
fn comments_are_no_tokens() {
    assert_eq!(tokens("a -- b := 'c'\n d"), [name("a"), name("d")]);
    assert_eq!(tokens("a /* b /* c */ d */ e"), [name("a"), name("e")]);
    assert_eq!(tokens("a /* b"), [name("a")]);
}

#[test]
fn strings_of_every_kind() {
    assert_eq!(tokens("'it''s'"), [text("it's")]);
    assert_eq!(tokens(r"'a\'"), [text(r"a\")]);
    assert_eq!(tokens(r"E'a\'b'"), [name("e"), text("a'b")]);
    // That is a name with a string behind it.
    assert_eq!(tokens(r"some'a\'"), [name("some"), text(r"a\")]);
    assert_eq!(tokens("$$a 'b$$"), [text("a 'b")]);
    assert_eq!(tokens("$x$a $$ b$x$;"), [text("a $$ b"), Token::Sign(";")]);
    assert_eq!(tokens("'no end"), [text("no end")]);
}

#[test]
fn a_parameter_begins_no_dollar_quote() {
    assert_eq!(tokens("$1$ a"), [Token::Other, Token::Other, name("a")]);
    assert_eq!(
        tokens("$1 || $2"),
        [
            Token::Other,
            Token::Other,
            Token::Other,
            Token::Other,
            Token::Other,
            Token::Other
        ]
    );
}

#[test]
fn unequal_has_one_form() {
    assert_eq!(tokens("a != b"), tokens("a <> b"));
    assert!(tokens("a <> b")[1].is_sign("<>"));
}

/// Reading ends, whatever the source is, and a comment in front changes nothing.
#[test]
fn any_source_is_read_to_its_end() {
    let pieces = [
        "'", "\"", "$$", "$a$", "/*", "*/", "--", "\n", "E'", "\\", "a", "1", ":=", ".", " ", "ü",
        "<<",
    ];
    let mut random = Random::new(4);
    for _ in 0..2_000 {
        let source = random
            .several(12, |random| *random.one_of(&pieces))
            .concat();
        let found = tokens(&source);
        assert!(found.len() <= source.chars().count());
        assert_eq!(tokens(&format!("/* {} */ {source}", "x")), found);
        assert_eq!(tokens(&format!("-- 'x\n{source}")), found);
    }
}

#[test]
fn a_quoted_text_is_read_as_it_was_written() {
    let letters = ['\'', '"', '\\', '$', '-', '/', '*', 'a', '\n', 'ü'];
    let mut random = Random::new(5);
    for _ in 0..1_000 {
        let inner: String = random
            .several(6, |random| *random.one_of(&letters))
            .into_iter()
            .collect();
        assert_eq!(
            tokens(&format!("'{}'", inner.replace('\'', "''"))),
            [text(&inner)]
        );
        assert_eq!(
            tokens(&format!("\"{}\"", inner.replace('"', "\"\""))),
            [name(&inner)]
        );
        assert_eq!(
            tokens(&format!("$q${inner} $q$")),
            [text(&format!("{inner} "))]
        );
    }
}
