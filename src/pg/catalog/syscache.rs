//! Rows of the catalogs, from the system caches.
//!
//! A row is pinned while it is read: it is handed to a closure, which copies what it needs.
use crate::pg::unwinding;
use crate::pg::value::text;
use pgrx::pg_sys::{self, Datum, Oid};
use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;

/// A catalog whose rows are found by their oid; named by the struct of its fixed columns.
///
/// # Safety
/// The rows of the cache begin with this struct, and its key is one oid.
pub unsafe trait Catalog {
    /// The number of the cache.
    const CACHE: pg_sys::SysCacheIdentifier::Type;
}

/// The catalogs that are read, with their caches.
macro_rules! catalogs {
    ($($form:ident: $cache:ident),* $(,)?) => {
        $(
            // SAFETY: as `syscache.c` has it: the cache of this catalog, by its oid.
            unsafe impl Catalog for pg_sys::$form {
                const CACHE: pg_sys::SysCacheIdentifier::Type = pg_sys::SysCacheIdentifier::$cache;
            }
        )*
    };
}

catalogs! {
    FormData_pg_collation: COLLOID,
    FormData_pg_index: INDEXRELID,
    FormData_pg_opclass: CLAOID,
    FormData_pg_operator: OPEROID,
    FormData_pg_proc: PROCOID,
    FormData_pg_type: TYPEOID,
}

/// `pg_partitioned_table`, whose fixed columns pgrx does not bind.
pub struct PartitionedTable(());

// SAFETY: nothing is at the beginning of every row; the cache is that of the catalog, by the oid
// of the table.
unsafe impl Catalog for PartitionedTable {
    const CACHE: pg_sys::SysCacheIdentifier::Type = pg_sys::SysCacheIdentifier::PARTRELID;
}

/// `Anum_pg_partitioned_table_partattrs` of `pg_partitioned_table.h`.
const PARTATTRS: u32 = 5;

/// A row that is being read.
pub struct Row<C> {
    tuple: pg_sys::HeapTuple,
    catalog: PhantomData<C>,
}

/// What `read` makes of the row with this oid; None if it is gone.
pub fn find<C: Catalog, R>(oid: Oid, read: impl FnOnce(&Row<C>) -> R) -> Option<R> {
    // SAFETY: a look-up in a cache that exists, by a key of its type.
    let tuple = unsafe { pg_sys::SearchSysCache1(C::CACHE as c_int, Datum::from(oid)) };
    if tuple.is_null() {
        return None;
    }
    let row = Row {
        tuple,
        catalog: PhantomData,
    };
    Some(read(&row))
}

/// The oid of a type in a schema; `InvalidOid` if there is none.
pub fn type_oid(schema: Oid, name: &CStr) -> Oid {
    let none = Datum::null();
    // SAFETY: a look-up in the cache of types by its two keys, a name (a C string will do, as
    // for core's own look-ups by TYPENAMENSP) and an oid.
    unsafe {
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::TYPENAMENSP as c_int,
            pg_sys::Anum_pg_type_oid as pg_sys::AttrNumber,
            Datum::from(name.as_ptr()),
            Datum::from(schema),
            none,
            none,
        )
    }
}

/// The oid of the function of this name in a schema that takes no argument.
pub fn function_without_arguments(schema: Oid, name: &CStr) -> Option<Oid> {
    functions_named(name).into_iter().find(|function| {
        find(*function, |row| {
            let form: &pg_sys::FormData_pg_proc = row.form();
            form.pronamespace == schema && form.pronargs == 0
        }) == Some(true)
    })
}

/// The oids of the functions of this name, in all schemas.
pub fn functions_named(name: &CStr) -> Vec<Oid> {
    let none = Datum::null();
    // SAFETY: a look-up in the cache of functions by the first of its keys, a name (a C string will
    // do, as for core's own look-ups). The members of the list are as many as it says, each a row of
    // `pg_proc`, of which a fixed column is copied before the list is released, once.
    unsafe {
        let list = pg_sys::SearchSysCacheList(
            pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as c_int,
            1,
            Datum::from(name.as_ptr()),
            none,
            none,
        );
        let count = usize::try_from((*list).n_members).unwrap_or(0);
        let members = (*list).members.as_slice(count).iter();
        let oid = |member: &*mut pg_sys::catctup| {
            let row = &raw mut (**member).tuple;
            (*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_proc>()).oid
        };
        let oids = members.map(oid).collect();
        pg_sys::ReleaseCatCacheList(list);
        oids
    }
}

impl<C> Drop for Row<C> {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: `find` has looked it up, and it is released once.
            unsafe { pg_sys::ReleaseSysCache(self.tuple) };
        }
    }
}

impl<C: Catalog> Row<C> {
    /// Its fixed columns.
    pub fn form(&self) -> &C {
        // SAFETY: the row begins with them, as [`Catalog`] promises, and is pinned while `find`
        // runs, which has lent it.
        unsafe { &*pg_sys::GETSTRUCT(self.tuple).cast::<C>() }
    }

    /// Another column; None for NULL.
    fn attribute(&self, number: u32) -> Option<Datum> {
        let mut null = false;
        let number = number as pg_sys::AttrNumber;
        // SAFETY: a row of this cache, and a column of its catalog, as those say who ask here.
        let value = unsafe {
            pg_sys::SysCacheGetAttr(C::CACHE as c_int, self.tuple, number, &raw mut null)
        };
        (!null).then_some(value)
    }

    /// A copy of a text.
    ///
    /// # Safety
    /// The column is a text or `pg_node_tree`.
    unsafe fn text(&self, number: u32) -> Option<CString> {
        let value = self.attribute(number)?;
        // SAFETY: a varlena by the caller's promise. Core makes a C string of it, which is copied
        // before it is freed, and is nobody else's.
        unsafe {
            let text = pg_sys::text_to_cstring(value.cast_mut_ptr());
            let copy = CStr::from_ptr(text).to_owned();
            pg_sys::pfree(text.cast());
            Some(copy)
        }
    }
}

impl Row<PartitionedTable> {
    /// The columns of the key, by number; 0 for an expression.
    pub fn key_columns(&self) -> Vec<pg_sys::AttrNumber> {
        let Some(numbers) = self.attribute(PARTATTRS) else {
            return Vec::new();
        };
        // SAFETY: an int2vector, of as many members as it says, which is never toasted.
        unsafe {
            let numbers = &*numbers.cast_mut_ptr::<pg_sys::int2vector>();
            let count = usize::try_from(numbers.dim1).unwrap_or(0);
            numbers.values.as_slice(count).to_vec()
        }
    }
}

impl Row<pg_sys::FormData_pg_proc> {
    /// The types of its arguments, in their order.
    pub fn argument_types(&self) -> Vec<Oid> {
        let form = self.form();
        let count = usize::try_from(form.pronargs).unwrap_or(0);
        // SAFETY: an oidvector of so many members, in line with the columns before it.
        unsafe { form.proargtypes.values.as_slice(count).to_vec() }
    }

    /// Its source, or the symbol of a compiled one.
    pub fn source(&self) -> Option<CString> {
        // SAFETY: the column is a text.
        unsafe { self.text(pg_sys::Anum_pg_proc_prosrc) }
    }
}

impl Row<pg_sys::FormData_pg_operator> {
    /// Its name.
    pub fn name(&self) -> String {
        text::from_name(&self.form().oprname)
    }
}

impl Row<pg_sys::FormData_pg_index> {
    /// Whether it has expressions.
    pub fn has_expressions(&self) -> bool {
        self.attribute(pg_sys::Anum_pg_index_indexprs).is_some()
    }

    /// Whether it has a predicate.
    pub fn has_predicate(&self) -> bool {
        self.attribute(pg_sys::Anum_pg_index_indpred).is_some()
    }

    /// Its expressions as a text of nodes.
    pub fn expressions(&self) -> Option<CString> {
        // SAFETY: the column is a pg_node_tree.
        unsafe { self.text(pg_sys::Anum_pg_index_indexprs) }
    }

    /// Its predicate as a text of nodes.
    pub fn predicate(&self) -> Option<CString> {
        // SAFETY: the column is a pg_node_tree.
        unsafe { self.text(pg_sys::Anum_pg_index_indpred) }
    }

    /// The operator classes of its columns.
    pub fn classes(&self) -> Vec<Oid> {
        let Some(classes) = self.attribute(pg_sys::Anum_pg_index_indclass) else {
            return Vec::new();
        };
        // SAFETY: an oidvector, of as many members as it says, which is never toasted.
        unsafe {
            let classes = &*classes.cast_mut_ptr::<pg_sys::oidvector>();
            let count = usize::try_from(classes.dim1).unwrap_or(0);
            classes.values.as_slice(count).to_vec()
        }
    }
}
