//! The server's own check of permissions, `ExecCheckPermissions`, without a statement.
//!
//! The table is handed over as a statement would name it in its range table. A hook may keep what
//! it was handed until the statement ends (pgaudit does, to log it with the number of rows). So
//! where there is a hook, range tables live as long as the transaction; what was handed over once
//! is handed over again, so that a loop of calls keeps flat memory.
use crate::pg::ffi::{self, inline::member};
use pgrx::{pg_guard, pg_sys};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::mem::size_of;
use std::ptr;

/// What is done with a table.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TableAccess {
    pub table: pg_sys::Oid,
    /// The kind of the table (`pg_class.relkind`).
    pub kind: u8,
    /// The rights that it takes (`ACL_SELECT` and its like).
    pub required: u32,
    /// The numbers of the columns that are read,
    pub selected: Vec<pg_sys::AttrNumber>,
    /// those that are inserted,
    pub inserted: Vec<pg_sys::AttrNumber>,
    /// and those that are updated.
    pub updated: Vec<pg_sys::AttrNumber>,
}

/// A range table, and the permissions that go with it (in the entries, on PostgreSQL 15).
#[derive(Clone, Copy)]
pub struct RangeTable {
    pub(in crate::pg) entries: *mut pg_sys::List,
    #[cfg(not(feature = "pg15"))]
    pub(in crate::pg) permissions: *mut pg_sys::List,
}

/// What hooks were handed in this transaction.
struct CheckedTables {
    memory: pg_sys::MemoryContext,
    tables: HashMap<TableAccess, RangeTable>,
}

thread_local! {
    static CHECKED: RefCell<Option<CheckedTables>> = const { RefCell::new(None) };
}

impl TableAccess {
    /// Checks the rights that this takes; hooks see it.
    ///
    /// # Errors
    /// 42501 in core's own words; and what a hook raises.
    pub fn check(self) {
        if !hooks_see_checks() {
            return self.check_without_hooks();
        }
        let mut tables = CHECKED.take().unwrap_or_else(CheckedTables::begin);
        let memory = tables.memory;
        let table = *tables
            .tables
            .entry(self)
            .or_insert_with_key(|access| access.range_table_in(memory));
        CHECKED.set(Some(tables));
        table.check();
    }

    /// Checks the rights that this takes. Hooks do not see it.
    ///
    /// # Errors
    /// 42501 in core's own words.
    pub fn check_without_hooks(&self) {
        let _silence = HookSuspension::begin();
        // SAFETY: reads a variable of the backend's, which is always set.
        self.range_table_in(unsafe { pg_sys::CurrentMemoryContext })
            .check();
    }

    fn range_table_in(&self, memory: pg_sys::MemoryContext) -> RangeTable {
        // SAFETY: a valid memory, which is switched back at once or by the error; the guard
        // holds nothing, and inside nothing panics.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo(memory);
            let table = ffi::guard(|| self.range_table_unguarded());
            pg_sys::MemoryContextSwitchTo(caller);
            table
        }
    }

    /// A range table in the current memory, as a statement has it that does this.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    pub unsafe fn range_table_unguarded(&self) -> RangeTable {
        // SAFETY: nodes of these kinds, zeroed, with a single table.
        unsafe {
            let entry: *mut pg_sys::RangeTblEntry = node(pg_sys::NodeTag::T_RangeTblEntry);
            (*entry).rtekind = pg_sys::RTEKind::RTE_RELATION;
            (*entry).relid = self.table;
            (*entry).relkind = self.kind as std::ffi::c_char;
            (*entry).rellockmode = if self.required == pg_sys::ACL_SELECT {
                pg_sys::AccessShareLock as i32
            } else {
                pg_sys::RowExclusiveLock as i32
            };
            #[cfg(feature = "pg15")]
            let permissions = entry;
            #[cfg(not(feature = "pg15"))]
            let permissions: *mut pg_sys::RTEPermissionInfo =
                node(pg_sys::NodeTag::T_RTEPermissionInfo);
            #[cfg(not(feature = "pg15"))]
            {
                (*permissions).relid = self.table;
                (*entry).perminfoindex = 1;
            }
            (*permissions).requiredPerms = pg_sys::AclMode::from(self.required);
            (*permissions).selectedCols = set(&self.selected);
            (*permissions).insertedCols = set(&self.inserted);
            (*permissions).updatedCols = set(&self.updated);
            RangeTable {
                entries: ffi::unguarded::lappend(ptr::null_mut(), entry.cast()),
                #[cfg(not(feature = "pg15"))]
                permissions: ffi::unguarded::lappend(ptr::null_mut(), permissions.cast()),
            }
        }
    }
}

impl RangeTable {
    /// Has other columns be those that are inserted.
    ///
    /// # Safety
    /// Its memory is there, as that of the set is as long as anybody looks at the range table.
    pub unsafe fn set_inserted(self, columns: *mut pg_sys::Bitmapset) {
        // SAFETY: the caller's promise; each list has one member, of this kind.
        unsafe {
            #[cfg(feature = "pg15")]
            let permissions = member::<pg_sys::RangeTblEntry>(self.entries, 1);
            #[cfg(not(feature = "pg15"))]
            let permissions = member::<pg_sys::RTEPermissionInfo>(self.permissions, 1);
            if let Some(permissions) = permissions {
                (*permissions).insertedCols = columns;
            }
        }
    }

    fn check(self) {
        // SAFETY: a range table with one table, and its permissions.
        unsafe {
            #[cfg(feature = "pg15")]
            pg_sys::ExecCheckRTPerms(self.entries, true);
            #[cfg(not(feature = "pg15"))]
            pg_sys::ExecCheckPermissions(self.entries, self.permissions, true);
        }
    }
}

impl CheckedTables {
    fn begin() -> Self {
        // SAFETY: a child of the transaction's memory, with a callback for its end that lives
        // in it.
        unsafe {
            let memory = pg_sys::AllocSetContextCreateInternal(
                pg_sys::TopTransactionContext,
                c"pg_idempotent permissions".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            let size = size_of::<pg_sys::MemoryContextCallback>();
            let callback: *mut pg_sys::MemoryContextCallback =
                pg_sys::MemoryContextAllocZero(memory, size).cast();
            (*callback).func = Some(transaction_ended);
            pg_sys::MemoryContextRegisterResetCallback(memory, callback);
            Self {
                memory,
                tables: HashMap::new(),
            }
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn transaction_ended(_arg: *mut c_void) {
    CHECKED.set(None);
}

/// Whether somebody sees permissions being checked. Outside of a portal (a function that is
/// called by the fast-path protocol, the worker of a subscription) no statement is running
/// that a hook could see them as part of, and pgaudit relies on one.
pub fn hooks_see_checks() -> bool {
    // SAFETY: reads variables that only the backend's own thread writes.
    unsafe {
        let hook = pg_sys::ExecutorCheckPerms_hook;
        hook.is_some() && !pg_sys::ActivePortal.is_null()
    }
}

/// While it lives, hooks do not see permissions being checked.
struct HookSuspension(pg_sys::ExecutorCheckPerms_hook_type);

impl HookSuspension {
    fn begin() -> Self {
        // SAFETY: a backend-local variable, which is restored below, after an error too.
        unsafe {
            let hook = pg_sys::ExecutorCheckPerms_hook;
            pg_sys::ExecutorCheckPerms_hook = None;
            Self(hook)
        }
    }
}

impl Drop for HookSuspension {
    fn drop(&mut self) {
        // SAFETY: a backend-local variable, which gets back the hook that it had.
        unsafe { pg_sys::ExecutorCheckPerms_hook = self.0 };
    }
}

/// # Safety
/// `T` is the node that has this tag. Runs inside `ffi::guard`.
unsafe fn node<T>(tag: pg_sys::NodeTag) -> *mut T {
    // SAFETY: the caller's promise; all nodes begin with their tag.
    unsafe {
        let node = ffi::unguarded::palloc0(size_of::<T>());
        *node.cast::<pg_sys::NodeTag>() = tag;
        node.cast()
    }
}

/// A set of columns, as the server numbers them in such sets.
///
/// # Safety
/// Runs inside `ffi::guard`.
pub unsafe fn set(numbers: &[pg_sys::AttrNumber]) -> *mut pg_sys::Bitmapset {
    let first = pg_sys::FirstLowInvalidHeapAttributeNumber;
    numbers.iter().fold(ptr::null_mut(), |set, number| {
        // SAFETY: a set of ours, in the current memory.
        unsafe { ffi::unguarded::bms_add_member(set, i32::from(*number) - first) }
    })
}
