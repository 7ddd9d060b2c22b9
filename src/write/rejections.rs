//! The payloads of a call that the server refuses, and what is made of them in the end.
use crate::error::RowError;
use crate::outcome::OnError;
use crate::pg::memory::Scratch;
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::value::document::{self, Field, JsonbDatum};
use crate::quarantine::RejectionRecorder;
use crate::stats::{FormScope, Rows};
use crate::target::Target;

/// Collects rejections.
pub struct Rejections {
    on_error: OnError,
    /// How many there are.
    pub count: i64,
    /// Those that are recorded; in the memory of the call.
    records: Option<(RejectionRecorder, Scratch)>,
}

impl Rejections {
    /// None yet.
    pub fn new(on_error: OnError) -> Self {
        Self {
            on_error,
            count: 0,
            records: None,
        }
    }

    /// Whether rows that the server refuses are set aside.
    pub fn are_wanted(&self) -> bool {
        self.on_error.rejects()
    }

    /// Adds one. The current memory is that of the call.
    pub fn add(&mut self, error: &RowError, payload: impl FnOnce() -> JsonbDatum) {
        self.count += 1;
        if self.on_error != OnError::Quarantine {
            return;
        }
        let none = || {
            let scratch = Scratch::in_current(c"pg_idempotent rejection");
            (RejectionRecorder::new(), scratch)
        };
        let (records, scratch) = self.records.get_or_insert_with(none);
        scratch.scope(|| {
            let _fixed = LocalSettings::fixed_output();
            records.add(payload(), error, error_document(error));
        });
        scratch.reset();
    }

    /// All are in: they are counted and recorded.
    pub fn write(&mut self, target: &Target) {
        if self.count > 0 {
            FormScope::recorder(target.oid).add(Rows::Rejected, self.count);
        }
        if let Some((records, _scratch)) = self.records.take() {
            records.write(target);
        }
    }
}

/// An error as JSON: `sqlstate`, `message`, and `detail`, `column` and `constraint` if it has them.
pub fn error_document(error: &RowError) -> JsonbDatum {
    let fields = error.fields();
    let fields = fields
        .iter()
        .map(|(name, text)| (*name, Field::String(text)));
    document::object(&fields.collect::<Vec<_>>())
}
