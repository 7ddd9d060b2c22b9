//! The statement that the executor runs while it calls us.
//!
//! A trigger is told its table, its row and its event, but nothing of the statement. The
//! executor's state has that, and no global variable leads to it: `ActivePortal` knows the
//! client's statement only, not those of functions. But a BEFORE ROW trigger is called in
//! memory right below the state's own, `es_query_cxt`, and the state is the first thing that
//! `CreateExecutorState` allocates there. So it lies at the start of that context's first
//! block, which is part of the context itself; it is known by its tag, and by its pointing
//! back to the context.
use pgrx::pg_sys;
use std::ffi::c_void;

/// The state is looked for in so many bytes behind the context's header: more than what
/// contexts, blocks and chunks have of their own, less than a first block.
const WITHIN: usize = 1024;

/// The executor state that was made in a memory context, if one was.
///
/// # Safety
/// The context is alive, and the first block of it has its default size, 8 kB, as that of
/// any context of an executor state.
pub unsafe fn state_in(context: pg_sys::MemoryContext) -> Option<*const pg_sys::EState> {
    // SAFETY: all that is read is within the first block: it begins with the context's
    // header, and is larger than all of this.
    unsafe {
        if (*context).type_ != pg_sys::NodeTag::T_AllocSetContext {
            return None;
        }
        let header = size_of::<pg_sys::MemoryContextData>().next_multiple_of(align_of::<u64>());
        (header..header + WITHIN)
            .step_by(align_of::<u64>())
            .map(|at| context.byte_add(at).cast::<pg_sys::EState>().cast_const())
            .find(|state| {
                let tag = (&raw const (**state).type_).cast::<u32>().read();
                tag == pg_sys::NodeTag::T_EState as u32
                    && (&raw const (**state).es_query_cxt)
                        .cast::<*mut c_void>()
                        .read()
                        == context.cast()
            })
    }
}

/// Whether a statement writes into one of these tables by MERGE, and by nothing else.
///
/// # Safety
/// The state is that of a running statement.
pub unsafe fn only_merges_into(
    state: *const pg_sys::EState,
    tables: impl Fn(pg_sys::Oid) -> bool,
) -> bool {
    // SAFETY: the caller's promise; a plan lives as long as it runs. COPY has none. What
    // writes is at the top of a statement, or of a WITH query.
    unsafe {
        let Some(statement) = (*state).es_plannedstmt.as_ref() else {
            return false;
        };
        let mut plans = vec![statement.planTree.cast::<pg_sys::Node>()];
        plans.extend(members(statement.subplans));
        let mut merges = false;
        for plan in plans {
            if plan.is_null() || (*plan).type_ != pg_sys::NodeTag::T_ModifyTable {
                continue;
            }
            let writes = &*plan.cast::<pg_sys::ModifyTable>();
            let table = match (writes.rootRelation, writes.resultRelations.as_ref()) {
                (0, Some(relations)) => (*relations.elements).int_value as u32,
                (root, _) => root,
            };
            if !member(statement.rtable, table).is_some_and(|entry| tables((*entry).relid)) {
                continue;
            }
            match writes.operation {
                pg_sys::CmdType::CMD_MERGE => merges = true,
                _ => return false,
            }
        }
        merges
    }
}

/// # Safety
/// A list of nodes, or null.
unsafe fn members(list: *mut pg_sys::List) -> Vec<*mut pg_sys::Node> {
    // SAFETY: the caller's promise.
    unsafe {
        list.as_ref().map_or_else(Vec::new, |list| {
            (0..list.length as usize)
                .map(|i| (*list.elements.add(i)).ptr_value.cast())
                .collect()
        })
    }
}

/// The entry of a range table with this index, from 1.
///
/// # Safety
/// A range table, or null.
unsafe fn member(table: *mut pg_sys::List, index: u32) -> Option<*const pg_sys::RangeTblEntry> {
    // SAFETY: the caller's promise.
    unsafe {
        let list = table.as_ref()?;
        let i = usize::try_from(index).ok()?.checked_sub(1)?;
        (i < list.length as usize).then(|| {
            (*list.elements.add(i))
                .ptr_value
                .cast::<pg_sys::RangeTblEntry>()
                .cast_const()
        })
    }
}
