//! Columns of a row as a JSON object.
use super::Target;
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::value_type::{JsonForm, object_of_values};

impl Target {
    /// Columns (by position) of a row, with the values that `value` gives for them, in the current
    /// context.
    ///
    /// # Errors
    /// What the types' output functions raise; 22P02 and the like for what JSON cannot hold.
    ///
    /// # Panics
    /// If a value is of another type than its column.
    pub fn object<'v>(
        &'v self,
        columns: impl IntoIterator<Item = usize>,
        form: JsonForm,
        value: impl Fn(usize) -> SqlValue<'v>,
    ) -> JsonbDatum {
        let fields = columns.into_iter().map(|c| {
            let column = self.column(c);
            (column.c_name.as_c_str(), &column.values, value(c))
        });
        object_of_values(form, fields)
    }
}
