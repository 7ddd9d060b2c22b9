//! The text of an array.

/// The text of an array of texts, as its input function reads it: `{a,"b c"}`.
pub fn array_literal(texts: &[String]) -> String {
    let members: Vec<String> = texts.iter().map(|text| member(text)).collect();
    format!("{{{}}}", members.join(","))
}

fn member(text: &str) -> String {
    let plain = !text.is_empty()
        && !text.eq_ignore_ascii_case("null")
        && text.chars().all(|c| c.is_alphanumeric() || c == '_');
    if plain {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}
