//! Records of the extension's own tables, read by the names of their columns.
//!
//! A statement's first row becomes a value that derives `Deserialize`: a field takes the column of
//! its name. A column is read only as what its type in the row says, whatever the table has become
//! meanwhile; what does not fit the field is an error, never another reading of its bytes. Texts
//! and documents are copied, so that a record outlives its statement.
use crate::error::{Report, SqlState};
use crate::pg::statement::spi::{Connection, Parameter};
use crate::pg::value::sql_value::SqlValue;
use pgrx::pg_sys;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor, value,
};
use std::fmt::{self, Display};
use std::marker::PhantomData;

impl Connection {
    /// Runs one statement as [`Connection::execute`] does, and gives the first row that it
    /// returned.
    ///
    /// # Errors
    /// What the statement raises; 55000 for a row that is no `T`.
    pub fn execute_returning<T: DeserializeOwned>(
        &self,
        sql: &str,
        parameters: &[Parameter],
    ) -> Option<T> {
        (self.execute(sql, parameters) > 0).then(|| self.first_record())
    }

    /// Runs one statement as [`Connection::query`] does, and gives the first row that it
    /// returned.
    ///
    /// # Errors
    /// As [`Connection::execute_returning`].
    pub fn query_record<T: DeserializeOwned>(
        &self,
        sql: &str,
        parameters: &[Parameter],
    ) -> Option<T> {
        (self.query(sql, parameters) > 0).then(|| self.first_record())
    }

    /// The first row that the last statement returned.
    fn first_record<T: DeserializeOwned>(&self) -> T {
        let columns = self.first_row();
        let found = |wanted: &str| {
            let mut columns = columns.iter();
            columns.find_map(|(name, value)| (*name == wanted.as_bytes()).then_some(*value))
        };
        record(found).unwrap_or_else(|error| error.raise())
    }
}

/// A record of the columns that `column` finds by their names.
///
/// # Errors
/// One that tells which column is missing, or is no value of its field.
pub fn record<'r, T: DeserializeOwned>(
    column: impl Fn(&str) -> Option<SqlValue<'r>>,
) -> Result<T, RowError> {
    T::deserialize(Row {
        column,
        row: PhantomData,
    })
}

/// Why a row is none of the wanted records.
#[derive(Debug)]
pub struct RowError(String);

impl RowError {
    /// 55000
    pub fn raise(self) -> ! {
        Report::new(
            SqlState::ObjectNotInPrerequisiteState,
            "cannot read a record of the extension",
        )
        .detail(format!("The server's row does not fit: {}.", self.0))
        .raise()
    }
}

impl Display for RowError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for RowError {}

impl serde::de::Error for RowError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// A row, as a struct whose fields are its columns.
struct Row<'r, F: Fn(&str) -> Option<SqlValue<'r>>> {
    column: F,
    row: PhantomData<&'r ()>,
}

impl<'de, 'r, F: Fn(&str) -> Option<SqlValue<'r>>> Deserializer<'de> for Row<'r, F> {
    type Error = RowError;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, RowError> {
        Err(RowError("a row is read as a struct only".to_owned()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowError> {
        visitor.visit_map(Fields {
            column: self.column,
            names: fields.iter(),
            name: "",
        })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The columns of the fields, one after the other.
struct Fields<F> {
    column: F,
    names: std::slice::Iter<'static, &'static str>,
    name: &'static str,
}

impl<'de, 'r, F: Fn(&str) -> Option<SqlValue<'r>>> MapAccess<'de> for Fields<F> {
    type Error = RowError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, RowError> {
        let Some(name) = self.names.next() else {
            return Ok(None);
        };
        self.name = name;
        let name: value::StrDeserializer<'_, RowError> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, RowError> {
        let name = self.name;
        let value =
            (self.column)(name).ok_or_else(|| RowError(format!("it has no column \"{name}\"")))?;
        let of_column = |error: RowError| RowError(format!("column \"{name}\": {error}"));
        seed.deserialize(value).map_err(of_column)
    }
}

/// A value that is not NULL, or an error that says that it is.
fn required<T>(value: Option<T>) -> Result<T, RowError> {
    value.ok_or_else(|| RowError("is null".to_owned()))
}

/// The text in a column of that type.
fn text_of(value: SqlValue<'_>) -> Result<String, RowError> {
    required((!value.is_null()).then_some(()))?;
    let other_type = || RowError(format!("type {} is no text", value.typid()));
    value.to_text().ok_or_else(other_type)
}

impl<'de> Deserializer<'de> for SqlValue<'_> {
    type Error = RowError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        let word = required(self.to_datum())?.value();
        match self.typid() {
            pg_sys::BOOLOID => visitor.visit_bool(word != 0),
            pg_sys::INT4OID => visitor.visit_i32(word as i32),
            pg_sys::INT8OID | pg_sys::TIMESTAMPTZOID => visitor.visit_i64(word as i64),
            pg_sys::OIDOID | pg_sys::XIDOID => visitor.visit_u32(word as u32),
            pg_sys::TEXTOID => visitor.visit_string(text_of(self)?),
            pg_sys::JSONBOID => required(self.visit_jsonb(visitor))?,
            typid => Err(RowError(format!("type {typid} is none that is read here"))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        if self.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, RowError> {
        let name: value::StringDeserializer<RowError> = text_of(self)?.into_deserializer();
        visitor.visit_enum(name)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
