//! The closed sets of values: what options take, what results say, what tables of state hold.
//!
//! Each is an enum whose derived `Serialize` and `Deserialize` carry the texts, in snake_case.
//! Here is the one way from a value to its text, and back.
use crate::error::{OrRaise, Report, SqlState};
use crate::pg::value::text;
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor, value};
use serde::ser::{Impossible, Serialize, Serializer};
use std::fmt::{self, Display};

/// The text of a value, as it is passed, shown and stored.
///
/// The type is an enum without fields, as all closed sets are.
pub fn name<T: Serialize>(value: T) -> &'static str {
    value.serialize(VariantName).expect("a variant has a name")
}

/// The value with this text; None if the set has none.
pub fn parse<T: DeserializeOwned>(text: &str) -> Option<T> {
    T::deserialize(VariantOf(text)).ok()
}

/// The value that a caller's text names. `what` says what it is a text of, and `plural` what
/// the hint calls those that there are: `resolution`, `resolutions`.
///
/// # Errors
/// 22023, with the list of all values in the hint.
pub fn parse_argument<T: DeserializeOwned>(what: &str, plural: &str, text: &str) -> T {
    T::deserialize(VariantOf(text))
        .unwrap_or_else(|Unknown(names)| unrecognized(what, plural, text, names).raise())
}

/// The value of an argument with this name.
///
/// # Errors
/// As [`parse_argument`].
pub fn argument<T: DeserializeOwned>(name: &str, text: &str) -> T {
    try_argument(name, text).or_raise()
}

/// As [`argument`], with the error for the caller to decide about.
pub fn try_argument<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Box<Report>> {
    T::deserialize(VariantOf(text)).map_err(|Unknown(names)| {
        let what = format!("value for argument \"{name}\"");
        Box::new(unrecognized(&what, "values", text, names))
    })
}

/// 22023 for a text that names none of these values.
pub fn unrecognized(what: &str, plural: &str, text: &str, names: &[&str]) -> Report {
    Report::new(
        SqlState::InvalidParameterValue,
        format!("unrecognized {what}: \"{}\"", text::abbreviated(text)),
    )
    .hint(format!("Available {plural}: {}.", names.join(", ")))
}

/// Reads a variant by its name.
struct VariantOf<'t>(&'t str);

/// No variant has this name; these are the names.
#[derive(Debug)]
struct Unknown(&'static [&'static str]);

impl<'de> Deserializer<'de> for VariantOf<'_> {
    type Error = Unknown;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unknown> {
        let name: value::StrDeserializer<'_, Unknown> = self.0.into_deserializer();
        visitor.visit_enum(name)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl Display for Unknown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "none of {}", self.0.join(", "))
    }
}

impl std::error::Error for Unknown {}

impl serde::de::Error for Unknown {
    fn custom<T: Display>(_message: T) -> Self {
        Self(&[])
    }

    fn unknown_variant(_variant: &str, names: &'static [&'static str]) -> Self {
        Self(names)
    }
}

/// Gives the name of a variant, and refuses all other values.
struct VariantName;

/// What is no variant has no name.
#[derive(Debug)]
struct NoVariant;

impl Display for NoVariant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("not a variant without fields")
    }
}

impl std::error::Error for NoVariant {}

impl serde::ser::Error for NoVariant {
    fn custom<T: Display>(_message: T) -> Self {
        Self
    }
}

/// Methods of a serializer that refuse their value.
macro_rules! refuse {
    ($($method:ident($($typ:ty),*) -> $result:ty;)*) => {
        $(fn $method(self, $(_: $typ),*) -> Result<$result, NoVariant> {
            Err(NoVariant)
        })*
    };
}

type Never = Impossible<&'static str, NoVariant>;

impl Serializer for VariantName {
    type Ok = &'static str;
    type Error = NoVariant;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    fn serialize_unit_variant(
        self,
        _set: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<&'static str, NoVariant> {
        Ok(variant)
    }

    refuse! {
        serialize_bool(bool) -> &'static str;
        serialize_i8(i8) -> &'static str;
        serialize_i16(i16) -> &'static str;
        serialize_i32(i32) -> &'static str;
        serialize_i64(i64) -> &'static str;
        serialize_u8(u8) -> &'static str;
        serialize_u16(u16) -> &'static str;
        serialize_u32(u32) -> &'static str;
        serialize_u64(u64) -> &'static str;
        serialize_f32(f32) -> &'static str;
        serialize_f64(f64) -> &'static str;
        serialize_char(char) -> &'static str;
        serialize_str(&str) -> &'static str;
        serialize_bytes(&[u8]) -> &'static str;
        serialize_none() -> &'static str;
        serialize_unit() -> &'static str;
        serialize_unit_struct(&'static str) -> &'static str;
        serialize_seq(Option<usize>) -> Never;
        serialize_tuple(usize) -> Never;
        serialize_tuple_struct(&'static str, usize) -> Never;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Never;
        serialize_map(Option<usize>) -> Never;
        serialize_struct(&'static str, usize) -> Never;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Never;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<&'static str, NoVariant> {
        Err(NoVariant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<&'static str, NoVariant> {
        Err(NoVariant)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<&'static str, NoVariant> {
        Err(NoVariant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Light {
        Red,
        DeepGreen,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Open {
        Known,
        #[serde(other)]
        Rest,
    }

    #[test]
    fn a_value_has_its_text_and_the_text_its_value() {
        assert_eq!(name(Light::DeepGreen), "deep_green");
        assert_eq!(parse("deep_green"), Some(Light::DeepGreen));
        assert_eq!(parse("red"), Some(Light::Red));
        assert_eq!(parse::<Light>("DeepGreen"), None);
        assert_eq!(parse::<Light>(""), None);
    }

    #[test]
    fn an_unknown_text_is_told_all_values() {
        let Unknown(names) = Light::deserialize(VariantOf("blue")).unwrap_err();
        assert_eq!(names, ["red", "deep_green"]);
    }

    #[test]
    fn a_set_may_have_a_value_for_all_other_texts() {
        assert_eq!(parse("known"), Some(Open::Known));
        assert_eq!(parse("anything"), Some(Open::Rest));
    }
}
