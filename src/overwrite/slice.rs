//! The slice that is replaced: columns with the values that its rows have there.
use crate::error::{Report, SqlState};
use crate::payload::json::JsonPayloads;
use crate::payload::source::Source;
use crate::pg::catalog::relation::partition_root;
use crate::pg::catalog::types;
use crate::pg::hash::siphash::SipHash;
use crate::pg::memory::Scratch;
use crate::pg::rows::Slot;
use crate::pg::statement::spi::Parameter;
use crate::pg::transaction::locks;
use crate::pg::value::jsonb::{Container, Kind};
use crate::remember::RowFingerprint;
use crate::secret;
use crate::target::{Column, Target, equal};
use pgrx::pg_sys;

/// A slice of a target.
pub struct Slice<'t> {
    pub target: &'t Target,
    /// The columns that it names, by position, in the table's order.
    pub columns: Vec<usize>,
    /// A working row with its values.
    pub values: Slot,
}

/// What is to be replaced is never another slice than the one that is named: an integer
/// column has no row at 1.5, though an INSERT of that would be rounded to 2.
///
/// # Errors
/// 22P02, in core's words.
fn refuse_rounded(target: &Target, slice: Container<'_>, named: &[usize]) {
    for (c, value) in named.iter().zip(slice.values()) {
        let column = &target.columns[*c];
        if let Some(number) = column.values.rounded(value) {
            let typ = types::name(column.base_type());
            Report::new(
                SqlState::InvalidTextRepresentation,
                format!(
                    "invalid input syntax for type {typ}: \"{}\"",
                    number.to_string_lossy()
                ),
            )
            .table(&target.schema, &target.name)
            .column(column.name.clone())
            .raise()
        }
    }
}

impl<'t> Slice<'t> {
    /// That of a JSON object, whose fields are columns of target and source.
    ///
    /// # Errors
    /// 22023 for what is no object, or an empty one, or names a column whose type has no
    /// equality; 42703 for a field that is no column, or none of the source's; what the
    /// types' input functions raise.
    pub fn read(target: &'t Target, source: &Source<'_>, slice: Container<'t>) -> Self {
        if slice.kind() != Kind::Object || slice.len() == 0 {
            Report::new(
                SqlState::InvalidParameterValue,
                "argument \"slice\" must be a JSON object that names at least one column",
            )
            .hint("For example: {\"day\": \"2013-01-31\"}.")
            .raise()
        }
        let document = JsonPayloads::one(target, slice);
        let mut columns = document.shapes[0].named.clone();
        columns.sort_unstable();
        for c in &columns {
            let column = &target.columns[*c];
            let refuse = |state, what: String| -> ! {
                Report::new(state, what)
                    .table(&target.schema, &target.name)
                    .column(column.name.clone())
                    .raise()
            };
            if !source.columns().contains(c) {
                let what = format!(
                    "column \"{}\" of \"slice\" is not in the source",
                    column.name
                );
                refuse(SqlState::UndefinedColumn, what)
            }
            if column.equality_operator() == pg_sys::InvalidOid {
                let what = format!(
                    "column \"{}\" cannot be in \"slice\": its type has no equality",
                    column.name
                );
                refuse(SqlState::InvalidParameterValue, what)
            }
        }
        refuse_rounded(target, slice, &document.shapes[0].named);
        let mut values = None;
        let memory = Scratch::in_current(c"pg_idempotent slice");
        document.read(None, None, &memory, &mut |slot| {
            values = Some(slot.to_stored())
        });
        let values = values.expect("one document gives one row");
        values.deform();
        Self {
            target,
            columns,
            values,
        }
    }

    /// SQL that a row of the slice meets, and its parameters.
    pub fn condition(&self) -> (String, Vec<Parameter<'_>>) {
        let mut parameters = Vec::new();
        let conditions = self.columns.iter().map(|c| {
            let column = &self.target.columns[*c];
            let name = self.target.column_list([*c]);
            match self.values.get(*c) {
                None => format!("{name} IS NULL"),
                Some(_) => {
                    parameters.push(self.values.value(*c));
                    let collate = collate_against_domain(column);
                    let parameter = format!("${}", parameters.len());
                    equal(column.equality_operator(), &name, &collate, &parameter)
                }
            }
        });
        let conditions = conditions.collect::<Vec<_>>().join(" AND ");
        (conditions, parameters)
    }

    /// Waits for its turn: until the transaction ends, no other one overwrites this slice, or
    /// one that might overlap it.
    ///
    /// Slices that name the same columns are a family: two of them are equal or have
    /// no row in common, and a lock on the values keeps equal ones apart. Slices of two
    /// families may overlap, whatever their values. So each family has a number, and for
    /// each bit of that a lock is taken in one of two modes, by what the bit is. Both modes
    /// go with themselves and not with each other: a family goes with itself, and two
    /// families meet where their numbers differ.
    ///
    /// # Errors
    /// 55P03 after `lock_timeout`.
    pub fn lock(&self) {
        let root = partition_root(self.target.oid);
        let hash = |subject| secret::hash(subject).word(u64::from(root.to_u32()));
        let whole = hash(locks::LockSubject::Slices);
        // A slice of a partition is not the same as one of its parent.
        let one = hash(locks::LockSubject::Slice).word(u64::from(self.target.oid.to_u32()));
        let names = self
            .columns
            .iter()
            .map(|c| self.target.columns[*c].c_name.to_bytes());
        let one = names.fold(one.word(self.columns.len() as u64), SipHash::bytes);
        let family = one.finish();
        for bit in 0..FAMILY_BITS {
            let mode = if family >> bit & 1 == 0 {
                pg_sys::ShareLock
            } else {
                pg_sys::RowExclusiveLock
            };
            locks::acquire_until_commit(locks::LockSubject::Slices, whole.word(bit).finish(), mode);
        }
        let values = RowFingerprint::new(self.target, &self.columns);
        let values = values.hash(self.target, |c| self.values.value(c));
        let slice = one.bytes(&values).finish();
        locks::acquire_until_commit(locks::LockSubject::Slice, slice, pg_sys::ExclusiveLock);
    }
}

/// What lets the column's collation decide where the parameter, a domain, has another one
/// of its own.
fn collate_against_domain(column: &Column) -> String {
    let own = types::collation(column.typid);
    if own == column.collation || own == pg_sys::DEFAULT_COLLATION_OID {
        return String::new();
    }
    format!(" COLLATE {}", types::collation_name(column.collation))
}

/// Two families have one number with a chance of 1 in 2^24; then they are told apart by
/// nothing.
const FAMILY_BITS: u64 = 24;
