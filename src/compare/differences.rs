//! The differences of one conflict, for results and for people.
use crate::error::{NumberedRow, RowOrigin};
use crate::pg::value::document::{JsonbDatum, object_of_documents};
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use crate::pg::value::value_type::{JsonForm, object_of_values};
use crate::settings;
use crate::target::{Column, StoredRow, Target, UniqueIndex, VisibleColumns};
use std::ffi::CStr;
use std::fmt::Write;

/// Values in error texts are cut at this many bytes, on a character boundary.
const SHOWN_BYTES: usize = 64;

/// What a stored row is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arriving {
    /// A payload that was sent to be stored.
    Payload,
    /// The row that a table should hold.
    Expected,
}

impl Arriving {
    fn name(self) -> &'static CStr {
        match self {
            Self::Payload => c"payload",
            Self::Expected => c"expected",
        }
    }
}

/// A payload that conflicts with the row stored under its key.
///
/// Generic over how the payload's values are had, so that every path can use it
/// without copying a row.
pub struct Differences<'a, P> {
    pub target: &'a Target,
    /// The index that found the stored row.
    pub arbiter: &'a UniqueIndex,
    pub stored: &'a StoredRow<'a>,
    /// The payload's value of a column, by its position.
    pub payload: P,
    /// The columns that differ, by position; empty if only a digest tells that
    /// the payload is another.
    pub columns: &'a [usize],
    /// Whether `stored` is the original payload (see `remember`), not what the table
    /// holds now.
    pub against_original: bool,
    /// Which stored values may be shown.
    pub readable: &'a VisibleColumns,
    /// Which of the payload's values may be shown.
    pub sent: &'a VisibleColumns,
}

impl<'v, P: Fn(usize) -> SqlValue<'v>> Differences<'_, P> {
    /// These columns of the payload, in a form that can be read again.
    pub fn payload_object(&self, columns: impl IntoIterator<Item = usize>) -> JsonbDatum {
        self.target
            .object(columns, JsonForm::Readable, |c| (self.payload)(c))
    }

    /// `{"amount": {"stored": 10.00, "payload": 12.00}, …}`, with `arriving` as the name of
    /// the second value. A stored value that the caller may not read is left out.
    pub fn to_jsonb(&self, arriving: Arriving) -> JsonbDatum {
        let difference = |c: &usize| {
            let column = self.column(*c);
            let stored = self.readable.shows(*c).then(|| self.stored.value(*c));
            let stored = stored.map(|value| (c"stored", &column.values, value));
            let arriving = (arriving.name(), &column.values, (self.payload)(*c));
            let both = stored.into_iter().chain([arriving]);
            let name = column.c_name.as_c_str();
            (name, object_of_values(JsonForm::Shown, both))
        };
        let differences: Vec<_> = self.columns.iter().map(difference).collect();
        object_of_documents(&differences)
    }

    /// A sentence: `Key (order_id)=(7f3e) is stored with amount=10.00; the
    /// payload has amount=12.00.`
    ///
    /// `by` says who stored the row, when it was another row of the call.
    pub fn to_sentence(&self, by: Option<NumberedRow>) -> String {
        let key_names = self.target.key_list(self.arbiter);
        let by = by.map(|row| format!(" by {row}")).unwrap_or_default();
        let how = if self.against_original || self.columns.is_empty() {
            "first arrived"
        } else {
            "is stored"
        };
        if !settings::show_values() {
            let differing = self.target.column_list(self.columns.iter().copied());
            let of = if differing.is_empty() { "" } else { " of " };
            return format!(
                "Key ({key_names}) {how}{by} with other values{of}{differing} than the payload has."
            );
        }
        let key_values = self.key_values();
        let mut sentence = format!("Key ({key_names})=({key_values}) {how}{by} with ");
        if self.columns.is_empty() {
            sentence.push_str("other values than the payload has.");
            return sentence;
        }
        let (shown, hidden): (Vec<usize>, Vec<usize>) = self
            .columns
            .iter()
            .copied()
            .partition(|c| self.readable.shows(*c));
        sentence.push_str(&self.list(&shown, |c| self.stored.value(c)));
        if !hidden.is_empty() {
            if !shown.is_empty() {
                sentence.push_str(" and ");
            }
            let hidden = self.target.column_list(hidden);
            let _ = write!(sentence, "other values of {hidden}");
        }
        let sent: Vec<usize> = self
            .columns
            .iter()
            .copied()
            .filter(|c| self.sent.shows(*c))
            .collect();
        if !sent.is_empty() {
            let _ = write!(
                sentence,
                "; the payload has {}",
                self.list(&sent, &self.payload)
            );
        }
        sentence.push('.');
        sentence
    }

    /// A sentence about two rows of one call: `One row with key (order_id)=(7f3e) has
    /// amount=10.00; another has amount=12.00.`
    pub fn within_call(&self, origin: RowOrigin) -> String {
        let key_names = self.target.key_list(self.arbiter);
        if !settings::show_values() {
            let differing = self.target.column_list(self.columns.iter().copied());
            let nouns = match origin {
                RowOrigin::Source => "Rows",
                _ => "Payloads",
            };
            return format!("{nouns} with the same key ({key_names}) differ in {differing}.");
        }
        format!(
            "One {} with key ({key_names})=({}) has {}; another has {}.",
            origin.noun(),
            self.key_values(),
            self.list(self.columns, |c| self.stored.value(c)),
            self.list(self.columns, &self.payload)
        )
    }

    /// A sentence about two rows of one call, of which one deletes what is stored under the key:
    /// `One row with key (order_id)=(7f3e) deletes it; another does not.`
    pub fn one_deletes(&self, origin: RowOrigin) -> String {
        let key_names = self.target.key_list(self.arbiter);
        let values = if settings::show_values() {
            format!("=({})", self.key_values())
        } else {
            String::new()
        };
        format!(
            "One {} with key ({key_names}){values} deletes what is stored; another does not.",
            origin.noun()
        )
    }

    fn key_values(&self) -> String {
        let keys = self.arbiter.keys.iter().map(|key| key.column);
        let values = keys.map(|c| show_value(self.target.column(c), (self.payload)(c)));
        values.collect::<Vec<_>>().join(", ")
    }

    /// `name=value, …`
    fn list<'l>(&self, columns: &[usize], value: impl Fn(usize) -> SqlValue<'l>) -> String {
        let shown = columns.iter().map(|c| {
            let column = self.column(*c);
            let name = text::quote_identifier(&column.name);
            format!("{name}={}", show_value(column, value(*c)))
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// The columns whose stored values may be shown, by position.
    pub fn shown_columns(&self) -> impl Iterator<Item = usize> {
        let columns = self.columns.iter().copied();
        columns.filter(|c| self.readable.shows(*c))
    }

    fn column(&self, column: usize) -> &Column {
        &self.target.columns[column]
    }
}

/// A value for people: as its type shows it, cut where it is long.
pub fn show_value(column: &Column, value: SqlValue<'_>) -> String {
    let Some(shown) = column.values.show_value(value) else {
        return "null".to_owned();
    };
    let bytes = shown.to_bytes();
    if bytes.len() <= SHOWN_BYTES {
        return text::from_server_bytes(bytes);
    }
    let cut = text::cut(bytes, SHOWN_BYTES);
    format!("{}{}", text::from_server_bytes(cut), text::ellipsis())
}
