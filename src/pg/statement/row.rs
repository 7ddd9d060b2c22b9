//! Records of the extension's own tables, read by the names of their columns.
//!
//! A statement's first row becomes a value that derives `Deserialize`: a field takes the column of
//! its name. A column is read only as what its type in the row says, whatever the table has become
//! meanwhile; what does not fit the field is an error, never another reading of its bytes. Texts
//! and documents are copied, so that a record outlives its statement.
use crate::error::{Report, SqlState};
use crate::pg::statement::spi::{Connection, Parameter};
use crate::pg::value::document;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use pgrx::pg_sys;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor, value,
};
use std::ffi::CStr;
use std::fmt::{self, Display};
use std::marker::PhantomData;

/// One column of a row.
#[derive(Clone, Copy)]
pub struct ColumnValue<'r> {
    typid: pg_sys::Oid,
    value: Option<pg_sys::Datum>,
    row: PhantomData<&'r ()>,
}

impl<'r> From<SqlValue<'r>> for ColumnValue<'r> {
    fn from(value: SqlValue<'r>) -> Self {
        Self {
            typid: value.typid(),
            value: value.to_datum(),
            row: PhantomData,
        }
    }
}

impl ColumnValue<'_> {
    /// A value of this type, or NULL.
    ///
    /// # Safety
    /// The value is of the type, and lives for `'r`.
    pub unsafe fn new(typid: pg_sys::Oid, value: Option<pg_sys::Datum>) -> Self {
        Self {
            typid,
            value,
            row: PhantomData,
        }
    }
}

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
        (self.execute(sql, parameters) > 0).then(|| first_row().unwrap_or_else(|e| e.raise()))
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
        (self.query(sql, parameters) > 0).then(|| first_row().unwrap_or_else(|e| e.raise()))
    }
}

/// The first row that the statement before has returned.
fn first_row<T: DeserializeOwned>() -> Result<T, RowError> {
    // SAFETY: the table is the one that SPI has made for the last statement, or null; it stays
    // until the connection closes, and the row is read before this function ends. Each member of
    // the descriptor has a name that ends with a NUL.
    unsafe {
        let table = pg_sys::SPI_tuptable
            .as_ref()
            .filter(|table| table.numvals > 0);
        let table = table.ok_or_else(|| RowError("the statement returned no rows".to_owned()))?;
        let columns = (1..=(*table.tupdesc).natts).map(|number| {
            let attribute = crate::pg::ffi::attribute(table.tupdesc, number - 1);
            let name = CStr::from_ptr(attribute.attname.data.as_ptr()).to_bytes();
            let mut null = false;
            let value = pg_sys::SPI_getbinval(*table.vals, table.tupdesc, number, &raw mut null);
            (
                name,
                ColumnValue::new(attribute.atttypid, (!null).then_some(value)),
            )
        });
        let columns: Vec<_> = columns.collect();
        record(|wanted| {
            let mut columns = columns.iter();
            columns.find_map(|(name, value)| (*name == wanted.as_bytes()).then_some(*value))
        })
    }
}

/// A record of the columns that `column` finds by their names.
///
/// # Errors
/// One that tells which column is missing, or is no value of its field.
pub fn record<'r, T: DeserializeOwned>(
    column: impl Fn(&str) -> Option<ColumnValue<'r>>,
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
struct Row<'r, F: Fn(&str) -> Option<ColumnValue<'r>>> {
    column: F,
    row: PhantomData<&'r ()>,
}

impl<'de, 'r, F: Fn(&str) -> Option<ColumnValue<'r>>> Deserializer<'de> for Row<'r, F> {
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

impl<'de, 'r, F: Fn(&str) -> Option<ColumnValue<'r>>> MapAccess<'de> for Fields<F> {
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

impl ColumnValue<'_> {
    fn required(self) -> Result<pg_sys::Datum, RowError> {
        self.value.ok_or_else(|| RowError("is null".to_owned()))
    }

    /// The text in a column of that type.
    fn text(self) -> Result<String, RowError> {
        let datum = self.required()?;
        match self.typid {
            // SAFETY: a value of this type, by the promise of `new`.
            pg_sys::TEXTOID => Ok(unsafe { text::from_datum(datum) }),
            typid => Err(RowError(format!("type {typid} is no text"))),
        }
    }
}

impl<'de> Deserializer<'de> for ColumnValue<'_> {
    type Error = RowError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        let datum = self.required()?;
        match self.typid {
            pg_sys::BOOLOID => visitor.visit_bool(datum.value() != 0),
            pg_sys::INT4OID => visitor.visit_i32(datum.value() as i32),
            pg_sys::INT8OID | pg_sys::TIMESTAMPTZOID => visitor.visit_i64(datum.value() as i64),
            pg_sys::OIDOID | pg_sys::XIDOID => visitor.visit_u32(datum.value() as u32),
            pg_sys::TEXTOID => visitor.visit_string(self.text()?),
            // SAFETY: a value of this type, by the promise of `new`.
            pg_sys::JSONBOID => unsafe { document::hand_over(datum, visitor) },
            typid => Err(RowError(format!("type {typid} is none that is read here"))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        match self.value {
            None => visitor.visit_none(),
            Some(_) => visitor.visit_some(self),
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
        let name: value::StringDeserializer<RowError> = self.text()?.into_deserializer();
        visitor.visit_enum(name)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
