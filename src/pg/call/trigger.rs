//! A call of a function of ours as a row trigger: what fired, its rows, and what it gives back.
use super::entry::SqlCall;
use super::result::SqlResult;
use crate::pg::ffi;
use crate::pg::statement::executor::RunningStatement;
use crate::pg::statement::scoped_state::{StatementScope, kept_for};
use crate::pg::value::sql_value::SqlValue;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr;
use std::rc::Rc;

/// A trigger that has fired.
#[derive(Clone, Copy)]
pub struct FiredTrigger<'fcx> {
    data: &'fcx pg_sys::TriggerData,
    /// By which its function is called.
    function: *mut pg_sys::FmgrInfo,
    /// The memory that it was called in.
    memory: pg_sys::MemoryContext,
}

/// A row that a trigger fired for: in its slot, and as a tuple. Both stay as they are while the
/// function runs.
#[derive(Clone, Copy)]
pub struct TriggerRow<'fcx> {
    slot: *mut pg_sys::TupleTableSlot,
    tuple: pg_sys::HeapTuple,
    lifetime: PhantomData<&'fcx pg_sys::TriggerData>,
}

impl<'fcx> FiredTrigger<'fcx> {
    /// The one that makes a call; None if no trigger calls.
    pub fn of(call: SqlCall<'fcx>) -> Option<Self> {
        // SAFETY: the running call's; a node says what it is. The server calls a function by
        // function data, and by the data of the trigger, that live as long as the call.
        unsafe {
            let fcinfo = call.raw();
            let context = (*fcinfo).context;
            let by_trigger =
                !context.is_null() && (*context).type_ == pg_sys::NodeTag::T_TriggerData;
            by_trigger.then(|| Self {
                data: &*context.cast::<pg_sys::TriggerData>(),
                function: (*fcinfo).flinfo,
                memory: call.memory(),
            })
        }
    }

    /// Whether it fired for an INSERT.
    #[inline]
    pub fn is_insert(&self) -> bool {
        self.data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK == pg_sys::TRIGGER_EVENT_INSERT
    }

    /// Whether it fired before the INSERT of a row.
    pub fn is_before_insert_row(&self) -> bool {
        self.is_insert_row(pg_sys::TRIGGER_EVENT_BEFORE)
    }

    /// Whether it fired in place of the INSERT of a row into a view.
    pub fn is_instead_of_insert(&self) -> bool {
        self.is_insert_row(pg_sys::TRIGGER_EVENT_INSTEAD)
    }

    fn is_insert_row(&self, timing: u32) -> bool {
        const KIND: u32 = pg_sys::TRIGGER_EVENT_OPMASK
            | pg_sys::TRIGGER_EVENT_ROW
            | pg_sys::TRIGGER_EVENT_TIMINGMASK;
        let wanted = pg_sys::TRIGGER_EVENT_INSERT | pg_sys::TRIGGER_EVENT_ROW | timing;
        self.data.tg_event & KIND == wanted
    }

    /// The table or view that it is on, which the server has open while the function runs, for core's
    /// functions.
    pub fn relation(&self) -> pg_sys::Relation {
        self.data.tg_relation
    }

    /// The table that it is on.
    #[inline]
    pub fn table(&self) -> pg_sys::Oid {
        // SAFETY: the server has the trigger's table open while the function runs.
        unsafe { (*self.data.tg_relation).rd_id }
    }

    /// The owner of that.
    pub fn table_owner(&self) -> pg_sys::Oid {
        // SAFETY: an open table, likewise, has a form.
        unsafe { (*(*self.data.tg_relation).rd_rel).relowner }
    }

    /// Whether that is a partition.
    pub fn is_on_partition(&self) -> bool {
        // SAFETY: an open table, likewise, has a form.
        unsafe { (*(*self.data.tg_relation).rd_rel).relispartition }
    }

    /// The trigger itself, a copy that the executor keeps while the statement runs.
    pub fn definition(&self) -> &'fcx pg_sys::Trigger {
        // SAFETY: the server fires a trigger that is there, as long as the function runs.
        unsafe { &*self.data.tg_trigger }
    }

    /// The row that is inserted, or that was there before an UPDATE; None for a statement's
    /// trigger.
    #[inline]
    pub fn row(&self) -> Option<TriggerRow<'fcx>> {
        TriggerRow::new(self.data.tg_trigslot, self.data.tg_trigtuple)
    }

    /// The row as an UPDATE leaves it; None for other triggers.
    pub fn new_row(&self) -> Option<TriggerRow<'fcx>> {
        TriggerRow::new(self.data.tg_newslot, self.data.tg_newtuple)
    }

    /// What `keep` has kept for this trigger in the statement; None if nothing is yet.
    ///
    /// # Panics
    /// If something of another type is kept.
    #[inline]
    pub fn kept<T: 'static>(&self) -> Option<&'fcx RefCell<T>> {
        // SAFETY: the data of the running call.
        unsafe { kept_for(self.function) }
    }

    /// Makes something in memory of the statement's, and keeps it for this trigger until the
    /// statement ends. `make` is given what all triggers of the statement share.
    pub fn keep<T: 'static, S: Default + 'static>(
        &self,
        make: impl FnOnce(Rc<S>) -> T,
    ) -> &'fcx RefCell<T> {
        // SAFETY: the memory is there while the trigger is called.
        let scope = unsafe { StatementScope::of(self.executor_memory()) };
        let make = || make(scope.shared());
        // SAFETY: the data of the running call, of a trigger of this statement.
        unsafe { scope.keep(self.function, make) }
    }

    /// The statement that fired it, if it can be known.
    pub fn statement(&self) -> Option<RunningStatement<'fcx>> {
        // SAFETY: the memory is there while the trigger is called, and if it is that of an
        // executor state, that is the one which calls.
        unsafe { RunningStatement::in_memory(self.executor_memory()) }
    }

    /// The user that the server checks the rights of for the row, or `InvalidOid` for the current
    /// one; None if the statement cannot be known.
    pub fn checked_user(&self) -> Option<pg_sys::Oid> {
        self.statement()?.checked_user(self.function)
    }

    /// The memory of whoever called: the executor calls triggers in the memory of a row, right
    /// below the one of its state (`ExecBRInsertTriggers`).
    fn executor_memory(&self) -> pg_sys::MemoryContext {
        // SAFETY: the memory that the function was called in is there while it runs, and so is what
        // it is below.
        let above = unsafe { (*self.memory).parent };
        if above.is_null() { self.memory } else { above }
    }

    /// The row goes on as it is.
    pub fn unchanged(&self) -> SqlResult {
        self.result(self.arrived())
    }

    /// The row does not go on.
    pub fn skipped(&self) -> SqlResult {
        self.result(ptr::null_mut())
    }

    /// The row goes on with this value in the column with this number.
    ///
    /// # Panics
    /// If it has no such column, or one of another type; and for a statement's trigger.
    pub fn with_column(&self, number: pg_sys::AttrNumber, value: SqlValue<'_>) -> SqlResult {
        let mut number = c_int::from(number);
        // SAFETY: the trigger's table is open and has a descriptor, which has a column of this
        // number and of the value's type, as is checked. So has its row, of which core makes a
        // copy in the current memory.
        unsafe {
            let (arrived, desc) = (self.arrived(), (*self.data.tg_relation).rd_att);
            assert!(!arrived.is_null(), "a trigger without a row changes it");
            assert!(
                (1..=(*desc).natts).contains(&number)
                    && ffi::attribute(desc, number - 1).atttypid == value.typid(),
                "the table has no such column"
            );
            let value = value.to_datum();
            let mut null = value.is_none();
            let mut value = value.unwrap_or(pg_sys::Datum::null());
            self.result(pg_sys::heap_modify_tuple_by_cols(
                arrived,
                desc,
                1,
                &raw mut number,
                &raw mut value,
                &raw mut null,
            ))
        }
    }

    /// A row of these values goes on.
    ///
    /// # Panics
    /// If they are not as many as the trigger's relation has columns, or of other types.
    pub fn with_row(&self, values: &[SqlValue<'_>]) -> SqlResult {
        let datums = values.iter().map(|value| value.to_datum());
        let (mut datums, mut nulls): (Vec<_>, Vec<_>) = datums
            .map(|datum| (datum.unwrap_or(pg_sys::Datum::null()), datum.is_none()))
            .unzip();
        // SAFETY: the trigger's relation is open and has a descriptor, with as many columns as
        // there are values, each of its column's type, as is checked.
        unsafe {
            let desc = (*self.data.tg_relation).rd_att;
            let types = (0..(*desc).natts).map(|i| ffi::attribute(desc, i).atttypid);
            assert!(
                types.eq(values.iter().map(SqlValue::typid)),
                "the relation has other columns"
            );
            let (values, nulls) = (datums.as_mut_ptr(), nulls.as_mut_ptr());
            self.result(pg_sys::heap_form_tuple(desc, values, nulls))
        }
    }

    /// The row that goes on if the trigger leaves it alone; null if there is none.
    fn arrived(&self) -> pg_sys::HeapTuple {
        if self.is_insert() {
            self.data.tg_trigtuple
        } else {
            self.data.tg_newtuple
        }
    }

    /// What a function that is called by a trigger hands back, whatever it is declared to return:
    /// a tuple, or a null pointer.
    fn result(&self, row: pg_sys::HeapTuple) -> SqlResult {
        // SAFETY: it is a trigger that calls. The tuple is one of its table, which it has handed
        // over, or which is in the current memory.
        unsafe { SqlResult::datum(pg_sys::Datum::from(row)) }
    }
}

impl<'fcx> TriggerRow<'fcx> {
    #[inline]
    fn new(slot: *mut pg_sys::TupleTableSlot, tuple: pg_sys::HeapTuple) -> Option<Self> {
        (!slot.is_null() && !tuple.is_null()).then_some(Self {
            slot,
            tuple,
            lifetime: PhantomData,
        })
    }

    /// The slot that holds it, for core's functions.
    #[inline]
    pub fn slot(self) -> *mut pg_sys::TupleTableSlot {
        self.slot
    }

    /// The row as a tuple, likewise.
    #[inline]
    pub fn tuple(self) -> pg_sys::HeapTuple {
        self.tuple
    }

    /// Makes all of its columns readable.
    pub fn deform(self) {
        // SAFETY: the slot holds a row as long as this lives.
        unsafe { pg_sys::slot_getallattrs(self.slot) };
    }

    /// The values of all of its columns.
    pub fn values(self) -> Vec<SqlValue<'fcx>> {
        self.deform();
        // SAFETY: the slot holds a row as long as this lives, with all columns read: its arrays have
        // a member for each column of its descriptor, and a value of the column's type in it.
        unsafe {
            let slot = &*self.slot;
            let value = |i: c_int| {
                let value =
                    (!*slot.tts_isnull.add(i as usize)).then(|| *slot.tts_values.add(i as usize));
                let typid = ffi::attribute(slot.tts_tupleDescriptor, i).atttypid;
                SqlValue::of_datum(typid, value)
            };
            (0..(*slot.tts_tupleDescriptor).natts).map(value).collect()
        }
    }

    /// Makes its first columns readable, up to the one with this number.
    ///
    /// # Errors
    /// XX000 if it has fewer.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    #[inline]
    pub unsafe fn deform_unguarded(self, columns: c_int) {
        // SAFETY: the slot holds a row as long as this lives; the caller's promise.
        unsafe { ffi::slot_getsomeattrs_unguarded(self.slot, columns) };
    }
}
