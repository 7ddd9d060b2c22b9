//! The statement that the executor runs while it calls us.
//!
//! A trigger is told its table, its row and its event, but nothing of the statement. The
//! executor's state has that, and no global variable leads to it: `ActivePortal` knows the
//! client's statement only, not those of functions. A hook into the start of statements would
//! be too late, for the library may be loaded by the first call of a trigger. But a BEFORE
//! ROW trigger is called in memory right below the state's own, `es_query_cxt`, and the state
//! is the first thing that `CreateExecutorState` allocates there. So it lies at the start of
//! that context's first block, which is part of the context itself; it is known by its tag,
//! and by its pointing back to the context.
use crate::pg::ffi::inline::{member, members};
use pgrx::pg_sys;
use std::ffi::CStr;
use std::mem::{align_of, offset_of, size_of};

/// The state begins within so many bytes: behind the heads of the context, of its first block
/// and of the first chunk there, which have less than 300 together in every version.
const WITHIN: usize = 512;

/// `ALLOCSET_DEFAULT_INITSIZE`: the size of the first block of an executor state's memory,
/// the context's own head included.
const FIRST_BLOCK: usize = 8192;

const _: () = assert!(WITHIN + size_of::<pg_sys::EState>() <= FIRST_BLOCK);

/// A statement that the executor runs.
#[derive(Clone, Copy)]
pub struct RunningStatement<'s>(&'s pg_sys::EState);

impl<'s> RunningStatement<'s> {
    /// The one whose executor state was made in a memory context, if one was. Memory that is no
    /// executor state's has none: what a statement is then cannot be known.
    ///
    /// # Safety
    /// The context is null, or alive throughout `'s`. If it has an executor state, that is one of
    /// a statement that runs throughout `'s`.
    pub unsafe fn in_memory(context: pg_sys::MemoryContext) -> Option<Self> {
        // SAFETY: a context has a tag, and a name from its making on. One of this kind and name
        // is made by `CreateExecutorState` alone, which at once allocates the state there, before
        // anybody else can: it is the first chunk of the first block, and that begins with the
        // context's head. The search goes upwards and ends at the state, and it looks for the
        // pointer back no farther behind a place than the state has it behind its own start. So
        // whatever is read lies between the context's start and the state's end: heads and a
        // chunk in use, which is the part of the block that is initialized. Were there none, by
        // the assertion above it would still lie within the block.
        unsafe {
            let head = context.as_ref()?;
            if head.type_ != pg_sys::NodeTag::T_AllocSetContext
                || head.name.is_null()
                || CStr::from_ptr(head.name) != c"ExecutorState"
            {
                return None;
            }
            (size_of::<pg_sys::MemoryContextData>()..WITHIN)
                .step_by(align_of::<pg_sys::EState>())
                .map(|place| context.byte_add(place).cast::<u8>())
                .find(|state| {
                    let back = state.add(offset_of!(pg_sys::EState, es_query_cxt));
                    state.cast::<u32>().read_unaligned() == pg_sys::NodeTag::T_EState as u32
                        && back.cast::<pg_sys::MemoryContext>().read_unaligned() == context
                })
                .map(|state| Self(&*state.cast::<pg_sys::EState>()))
        }
    }

    /// Whether it writes into one of these tables by MERGE, and by nothing else.
    pub fn only_merges_into(self, tables: impl Fn(pg_sys::Oid) -> bool) -> bool {
        // SAFETY: the state of a running statement, by the promise to `in_memory`; a plan lives as
        // long as it runs. COPY has none. What writes is at the top of a statement, or of a WITH
        // query.
        unsafe {
            let Some(statement) = self.0.es_plannedstmt.as_ref() else {
                return false;
            };
            let plans = std::iter::once(statement.planTree.cast::<pg_sys::Node>())
                .chain(members(statement.subplans));
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
                let entry = member::<pg_sys::RangeTblEntry>(statement.rtable, table);
                if !entry.is_some_and(|entry| tables((*entry).relid)) {
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

    /// The user that the server checks the rights of for the table whose trigger is called by
    /// these function data, or `InvalidOid` for the current one; None if they are none of this
    /// statement's. For a partition it is that of the table that the statement names.
    ///
    /// The executor calls triggers by function data of its own, which are an array of the target
    /// that it works on: the array tells which target it is, also where one statement writes into
    /// a table twice.
    pub fn checked_user(self, function: *const pg_sys::FmgrInfo) -> Option<pg_sys::Oid> {
        let target = self.target_called_by(function)?;
        // SAFETY: one of the targets of a running statement, by the promise to `in_memory`, with
        // the lists that belong to it; indexes into them count from 1.
        unsafe {
            let named = target.ri_RootResultRelInfo.as_ref().unwrap_or(target);
            let range_table = self.0.es_range_table;
            let number = named.ri_RangeTableIndex;
            let Some(entry) = member::<pg_sys::RangeTblEntry>(range_table, number) else {
                return Some(pg_sys::InvalidOid);
            };
            #[cfg(feature = "pg15")]
            return Some((*entry).checkAsUser);
            #[cfg(not(feature = "pg15"))]
            return Some(
                member::<pg_sys::RTEPermissionInfo>(self.0.es_rteperminfos, (*entry).perminfoindex)
                    .map_or(pg_sys::InvalidOid, |permissions| (*permissions).checkAsUser),
            );
        }
    }

    /// The target on whose triggers the executor calls by these data.
    fn target_called_by(
        self,
        function: *const pg_sys::FmgrInfo,
    ) -> Option<&'s pg_sys::ResultRelInfo> {
        // SAFETY: the state of a running statement, by the promise to `in_memory`: lists of
        // targets, each with function data for all of its triggers. These addresses are compared
        // only.
        unsafe {
            members::<pg_sys::ResultRelInfo>(self.0.es_opened_result_relations)
                .chain(members(self.0.es_tuple_routing_result_relations))
                .map(|target| &*target)
                .find(|target| {
                    let functions = target.ri_TrigFunctions.cast_const();
                    !functions.is_null()
                        && target.ri_TrigDesc.as_ref().is_some_and(|triggers| {
                            let count = triggers.numtriggers as usize;
                            (functions..functions.add(count)).contains(&function)
                        })
                })
        }
    }
}
