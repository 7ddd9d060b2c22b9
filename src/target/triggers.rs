//! The triggers of a table that fire when rows go in, and which are guards.
use super::OpenRelation;
use crate::pg::call::trigger::FiredTrigger;
use crate::pg::unwinding;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::ffi::{CStr, CString};
use std::ops::Deref;

/// The symbol of the trigger function, by which guards are known whatever schema
/// the extension is in.
const GUARD_SYMBOL: &CStr = c"idempotent_guard_trigger_wrapper";

/// The language of compiled functions (`pg_language.dat`).
const C_LANGUAGE: pg_sys::Oid = pg_sys::Oid::from_u32(13);

/// The language of functions of the server itself (`pg_language.dat`).
const INTERNAL_LANGUAGE: pg_sys::Oid = pg_sys::Oid::from_u32(12);

/// A trigger of a table.
#[derive(Clone, Debug)]
pub struct TriggerInfo {
    /// The trigger's oid.
    pub oid: pg_sys::Oid,
    pub name: String,
    /// The arguments of its function.
    pub arguments: Vec<String>,
    /// When it fires (`pg_trigger.tgtype`).
    pub kind: i16,
    /// `O`rigin, `A`lways, `R`eplica or `D`isabled (`pg_trigger.tgenabled`).
    pub enabled: u8,
    /// Whether it fires for all updates of all columns, if it fires on UPDATE.
    pub unconditional: bool,
    /// Whether it came with the guard of the table that this is a partition of.
    pub is_clone: bool,
}

impl TriggerInfo {
    /// A copy of the one that has fired.
    pub fn fired(trigger: &FiredTrigger<'_>) -> Self {
        // SAFETY: one that is firing.
        unsafe { Self::of(trigger.definition()) }
    }

    /// A copy.
    ///
    /// # Safety
    /// `trigger` is one of [`Triggers`], or one that is firing.
    pub unsafe fn of(trigger: &pg_sys::Trigger) -> Self {
        // SAFETY: the server's own trigger, by the caller's promise, has as many arguments as it
        // says, which are C strings.
        let arguments = (0..usize::try_from(trigger.tgnargs).unwrap_or(0))
            .map(|i| unsafe { text::from_server(*trigger.tgargs.add(i)) });
        Self {
            oid: trigger.tgoid,
            // SAFETY: its name is a C string, likewise.
            name: unsafe { text::from_server(trigger.tgname) },
            arguments: arguments.collect(),
            kind: trigger.tgtype,
            enabled: trigger.tgenabled as u8,
            unconditional: trigger.tgnattr == 0 && trigger.tgqual.is_null(),
            is_clone: trigger.tgisclone,
        }
    }
}

/// The triggers of an open relation, in the order in which they fire: a copy, for the
/// relation's own are gone as soon as it is rebuilt, and any look-up may cause that (the
/// conversion of a name to another encoding among them).
pub struct Triggers(*mut pg_sys::TriggerDesc);

impl Triggers {
    /// Those of a relation, copied to the current memory.
    ///
    /// # Safety
    /// The relation is open.
    pub unsafe fn of(relation: pg_sys::Relation) -> Self {
        // SAFETY: the caller's promise: an open relation keeps its triggers at least until the
        // next look-up; no triggers are copied as none.
        Self(unsafe { pg_sys::CopyTriggerDesc((*relation).trigdesc) })
    }

    /// Whether there are AFTER INSERT row triggers.
    fn after_insert_row(&self) -> bool {
        // SAFETY: null, or the copy that `of` made and that nobody else frees.
        unsafe { self.0.as_ref() }.is_some_and(|all| all.trig_insert_after_row)
    }
}

impl Deref for Triggers {
    type Target = [pg_sys::Trigger];

    fn deref(&self) -> &Self::Target {
        // SAFETY: null, or the copy that `of` made, whose array has as many as it says.
        unsafe {
            match self.0.as_ref() {
                Some(all) => std::slice::from_raw_parts(all.triggers, all.numtriggers as usize),
                None => &[],
            }
        }
    }
}

impl Drop for Triggers {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: null, or the copy that `of` made, freed once. After an error it goes with
            // the memory that it is in.
            unsafe { pg_sys::FreeTriggerDesc(self.0) };
        }
    }
}

/// The triggers of a relation, in the order in which they fire.
pub fn triggers_of(relation: &OpenRelation) -> Vec<TriggerInfo> {
    // SAFETY: the relation is open as long as it is borrowed.
    let triggers = unsafe { Triggers::of(relation.raw()) };
    // SAFETY: each is one of the copied triggers, which stay until all were read.
    let copies = triggers.iter().map(|one| unsafe { TriggerInfo::of(one) });
    copies.collect()
}

/// What fires when rows go in.
pub struct InsertTriggers {
    /// Guards, in the order in which they fire.
    pub guards: Vec<TriggerInfo>,
    /// Whether there are BEFORE INSERT row triggers that are no guards.
    pub before_rows: bool,
    /// Whether there are AFTER INSERT row triggers.
    pub after_rows: bool,
}

impl InsertTriggers {
    /// Those of an open table.
    pub fn of_relation(relation: &OpenRelation) -> Self {
        let mut found = Self {
            guards: Vec::new(),
            before_rows: false,
            after_rows: false,
        };
        // SAFETY: the relation is open as long as it is borrowed.
        let triggers = unsafe { Triggers::of(relation.raw()) };
        found.after_rows = triggers.after_insert_row();
        let before = (pg_sys::TRIGGER_TYPE_ROW
            | pg_sys::TRIGGER_TYPE_BEFORE
            | pg_sys::TRIGGER_TYPE_INSERT) as i16;
        for trigger in triggers.iter() {
            if is_guard_function(trigger.tgfoid) {
                // SAFETY: one of the copied triggers, which stay until the loop has ended.
                found.guards.push(unsafe { TriggerInfo::of(trigger) });
            } else if trigger.tgtype & before == before {
                found.before_rows = true;
            }
        }
        found
    }
}

/// Whether this is our trigger function.
pub fn is_guard_function(function: pg_sys::Oid) -> bool {
    FunctionSource::find(function)
        .is_some_and(|body| body.language == C_LANGUAGE && body.source.as_c_str() == GUARD_SYMBOL)
}

/// What a function is made of.
pub struct FunctionSource {
    pub language: pg_sys::Oid,
    /// Its source, or the symbol of a compiled one (`pg_proc.prosrc`).
    pub source: CString,
}

impl FunctionSource {
    /// That of a function; None if there is no such function.
    pub fn find(function: pg_sys::Oid) -> Option<Self> {
        // SAFETY: a syscache look-up; the text is copied out of the tuple before
        // that is released.
        unsafe {
            let id = pg_sys::SysCacheIdentifier::PROCOID as i32;
            let tuple = pg_sys::SearchSysCache1(id, pg_sys::Datum::from(function));
            if tuple.is_null() {
                return None;
            }
            let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>();
            let language = (*form).prolang;
            let mut null = false;
            let number = pg_sys::Anum_pg_proc_prosrc as i16;
            let source = pg_sys::SysCacheGetAttr(id, tuple, number, &raw mut null);
            let source = if null {
                CString::default()
            } else {
                let source = pg_sys::text_to_cstring(source.cast_mut_ptr());
                let copy = CStr::from_ptr(source).to_owned();
                pg_sys::pfree(source.cast());
                copy
            };
            pg_sys::ReleaseSysCache(tuple);
            Some(Self { language, source })
        }
    }

    /// Whether it is compiled: part of the server, or of an extension's library.
    pub fn is_compiled(&self) -> bool {
        self.language == C_LANGUAGE || self.language == INTERNAL_LANGUAGE
    }
}
