//! The SQL signatures of the functions that Rust implements.
//!
//! `sql/` declares them, and what joins the two is position alone: a function reads its
//! second argument, whatever the declaration has there. So the signatures are written down
//! here once more, and checked from both sides: a unit test compares this table with
//! `pg_proc`; and in a build with debug assertions, [`Arguments`] compares with it whatever
//! a function reads. A release build has none of it.
//!
//! [`Arguments`]: super::arguments::Arguments
use super::result::RowType;
#[cfg(debug_assertions)]
use crate::pg::catalog::name::function_name;
#[cfg(debug_assertions)]
use pgrx::pg_sys;
#[cfg(debug_assertions)]
use std::cell::Cell;

/// What a function returns.
enum Returns {
    /// A value of this type.
    Value(&'static str),
    /// A row, whose columns are OUT arguments.
    Row(RowType),
    /// Rows, whose columns are OUT arguments.
    Rows(&'static [&'static str]),
    /// Rows, by RETURNS TABLE.
    Table(&'static [&'static str]),
    /// Nothing, being a procedure.
    Procedure,
}

/// What the planner may do with a function.
enum Class {
    /// `VOLATILE PARALLEL UNSAFE`
    Writes,
    /// `STABLE PARALLEL SAFE`
    Reads,
    /// `STABLE STRICT PARALLEL SAFE`
    ReadsStrict,
    /// `IMMUTABLE STRICT PARALLEL SAFE`
    Computes,
    /// `IMMUTABLE PARALLEL SAFE`
    ComputesOfNulls,
}

/// A function that Rust implements.
struct Signature {
    /// Without its schema.
    name: &'static str,
    /// Name, type and default of each argument, as `pg_get_function_arguments` shows them.
    arguments: &'static [&'static str],
    returns: Returns,
    class: Class,
    comment: &'static str,
}

/// By name.
const SIGNATURES: [Signature; 59] = [
    Signature {
        name: "counted",
        arguments: &[],
        returns: Returns::Rows(&[
            "target oid",
            "form text",
            "n1 bigint",
            "n2 bigint",
            "n3 bigint",
            "n4 bigint",
            "n5 bigint",
            "n6 bigint",
            "n7 bigint",
            "n8 bigint",
            "since timestamp with time zone",
        ]),
        class: Class::Writes,
        comment: "the counters of this database, for the views idempotent.stats and idempotent.stats_database",
    },
    Signature {
        name: "counting",
        arguments: &[],
        returns: Returns::Rows(&["collected boolean", "reason text", "uncounted bigint"]),
        class: Class::Writes,
        comment: "whether what the session does is counted, for the view idempotent.stats_database",
    },
    Signature {
        name: "digest_add",
        arguments: &["state internal", "line record"],
        returns: Returns::Value("internal"),
        class: Class::Reads,
        comment: "part of idempotent_digest: adds a row",
    },
    Signature {
        name: "digest_add_columns",
        arguments: &["state internal", "first \"any\"", "VARIADIC others \"any\""],
        returns: Returns::Value("internal"),
        class: Class::Reads,
        comment: "part of idempotent_digest: adds a row, column by column",
    },
    Signature {
        name: "digest_combine",
        arguments: &["state internal", "other internal"],
        returns: Returns::Value("internal"),
        class: Class::Reads,
        comment: "part of idempotent_digest: adds the rows of another process",
    },
    Signature {
        name: "digest_deserialize",
        arguments: &["bytes bytea", "unused internal"],
        returns: Returns::Value("internal"),
        class: Class::ReadsStrict,
        comment: "part of idempotent_digest: its state, from another process",
    },
    Signature {
        name: "digest_remove",
        arguments: &["state internal", "line record"],
        returns: Returns::Value("internal"),
        class: Class::Reads,
        comment: "part of idempotent_digest: takes a row out that leaves a window frame",
    },
    Signature {
        name: "digest_remove_columns",
        arguments: &["state internal", "first \"any\"", "VARIADIC others \"any\""],
        returns: Returns::Value("internal"),
        class: Class::Reads,
        comment: "part of idempotent_digest: takes a row out that leaves a window frame, column by column",
    },
    Signature {
        name: "digest_serialize",
        arguments: &["state internal"],
        returns: Returns::Value("bytea"),
        class: Class::ReadsStrict,
        comment: "part of idempotent_digest: its state, for another process",
    },
    Signature {
        name: "digest_text",
        arguments: &["state internal"],
        returns: Returns::Value("text"),
        class: Class::Reads,
        comment: "part of idempotent_digest: the digest",
    },
    Signature {
        name: "guard_options",
        arguments: &["target regclass", "trigger oid"],
        returns: Returns::Row(RowType::GuardOptions),
        class: Class::Writes,
        comment: "the options of a guard as they apply to its table; for the view idempotent.guards",
    },
    Signature {
        name: "idempotent_execute",
        arguments: &[
            "key text",
            "command text",
            "arguments jsonb DEFAULT '[]'::jsonb",
            "scope text DEFAULT ''::text",
            "ttl interval DEFAULT '24:00:00'::interval",
            "wait interval DEFAULT NULL::interval",
            "operation text DEFAULT NULL::text",
        ],
        returns: Returns::Row(RowType::Answer),
        class: Class::Writes,
        comment: "runs a statement once for a request key; a retry gets the first answer",
    },
    Signature {
        name: "idempotent_guard",
        arguments: &[
            "target regclass",
            "key text[] DEFAULT NULL::text[]",
            "compare text[] DEFAULT NULL::text[]",
            "ignore text[] DEFAULT NULL::text[]",
            "on_conflict text DEFAULT 'error'::text",
            "remember text DEFAULT NULL::text",
            "null_key text DEFAULT 'error'::text",
        ],
        returns: Returns::Value("idempotent.guards"),
        class: Class::Writes,
        comment: "installs a guard, which makes every INSERT and COPY on a table insert or verify, or replaces its options",
    },
    Signature {
        name: "idempotent_guard_trigger",
        arguments: &[],
        returns: Returns::Value("trigger"),
        class: Class::Writes,
        comment: "trigger function of guards; idempotent_guard creates the trigger",
    },
    Signature {
        name: "idempotent_insert",
        arguments: &[
            "target regclass",
            "payload jsonb",
            "key text[] DEFAULT NULL::text[]",
            "compare text[] DEFAULT NULL::text[]",
            "ignore text[] DEFAULT NULL::text[]",
            "on_conflict text DEFAULT 'error'::text",
            "overriding text DEFAULT NULL::text",
        ],
        returns: Returns::Row(RowType::Outcome),
        class: Class::Writes,
        comment: "inserts a JSON object as a row, or verifies it against the row stored under its key",
    },
    Signature {
        name: "idempotent_insert_each",
        arguments: &[
            "target regclass",
            "payloads jsonb",
            "key text[] DEFAULT NULL::text[]",
            "compare text[] DEFAULT NULL::text[]",
            "ignore text[] DEFAULT NULL::text[]",
            "on_conflict text DEFAULT 'error'::text",
            "overriding text DEFAULT NULL::text",
            "on_error text DEFAULT 'error'::text",
        ],
        returns: Returns::Rows(&[
            "ordinal bigint",
            "outcome text",
            "stored jsonb",
            "differences jsonb",
            "error jsonb",
        ]),
        class: Class::Writes,
        comment: "inserts or verifies an array of JSON objects, and returns the outcome of each",
    },
    Signature {
        name: "idempotent_insert_from",
        arguments: &[
            "target regclass",
            "source regclass",
            "key text[] DEFAULT NULL::text[]",
            "compare text[] DEFAULT NULL::text[]",
            "ignore text[] DEFAULT NULL::text[]",
            "on_conflict text DEFAULT 'error'::text",
            "overriding text DEFAULT NULL::text",
            "on_error text DEFAULT 'error'::text",
            "token text DEFAULT NULL::text",
            "digest text DEFAULT NULL::text",
        ],
        returns: Returns::Row(RowType::BatchCounts),
        class: Class::Writes,
        comment: "inserts or verifies the rows of a table or view, and counts the outcomes",
    },
    Signature {
        name: "idempotent_insert_many",
        arguments: &[
            "target regclass",
            "payloads jsonb",
            "key text[] DEFAULT NULL::text[]",
            "compare text[] DEFAULT NULL::text[]",
            "ignore text[] DEFAULT NULL::text[]",
            "on_conflict text DEFAULT 'error'::text",
            "overriding text DEFAULT NULL::text",
            "on_error text DEFAULT 'error'::text",
        ],
        returns: Returns::Row(RowType::Counts),
        class: Class::Writes,
        comment: "inserts or verifies an array of JSON objects, and counts the outcomes",
    },
    Signature {
        name: "idempotent_lint",
        arguments: &["target regclass"],
        returns: Returns::Table(&[
            "target regclass",
            "rule text",
            "severity text",
            "message text",
            "hint text",
        ]),
        class: Class::Writes,
        comment: "what makes retries on a table unsafe, and what to do about it; no rows for a table that is safe",
    },
    Signature {
        name: "idempotent_load",
        arguments: &[
            "target regclass",
            "source regclass",
            "key text[] DEFAULT NULL::text[]",
            "compare text[] DEFAULT NULL::text[]",
            "ignore text[] DEFAULT NULL::text[]",
            "on_conflict text DEFAULT 'error'::text",
            "batch_size integer DEFAULT 10000",
            "overriding text DEFAULT NULL::text",
            "on_error text DEFAULT 'error'::text",
            "token text DEFAULT NULL::text",
            "digest text DEFAULT NULL::text",
        ],
        returns: Returns::Procedure,
        class: Class::Writes,
        comment: "inserts or verifies the rows of a table or view in batches, each of which is committed",
    },
    Signature {
        name: "idempotent_merge",
        arguments: &[
            "target regclass",
            "source regclass",
            "key text[] DEFAULT NULL::text[]",
            "latest_by text[] DEFAULT NULL::text[]",
            "compare text[] DEFAULT NULL::text[]",
            "ignore text[] DEFAULT NULL::text[]",
            "insert_only text[] DEFAULT NULL::text[]",
            "delete_when text DEFAULT NULL::text",
            "token text DEFAULT NULL::text",
            "digest text DEFAULT NULL::text",
        ],
        returns: Returns::Row(RowType::BatchMerged),
        class: Class::Writes,
        comment: "inserts, updates or deletes rows by those of a table or view with the same key; the latest row wins, equal rows are not rewritten",
    },
    Signature {
        name: "idempotent_merge_many",
        arguments: &[
            "target regclass",
            "payloads jsonb",
            "key text[] DEFAULT NULL::text[]",
            "latest_by text[] DEFAULT NULL::text[]",
            "compare text[] DEFAULT NULL::text[]",
            "ignore text[] DEFAULT NULL::text[]",
            "insert_only text[] DEFAULT NULL::text[]",
            "delete_when text DEFAULT NULL::text",
        ],
        returns: Returns::Row(RowType::Merged),
        class: Class::Writes,
        comment: "inserts, updates or deletes rows by an array of JSON objects; a field that an object leaves out leaves the stored value alone",
    },
    Signature {
        name: "idempotent_overwrite",
        arguments: &["target regclass", "source regclass", "slice jsonb"],
        returns: Returns::Row(RowType::Overwritten),
        class: Class::Writes,
        comment: "replaces one slice of a table, the rows that have these values or lie in these ranges, by the rows of a table or view; an equal slice is not rewritten",
    },
    Signature {
        name: "idempotent_overwrite_each",
        arguments: &["target regclass", "source regclass", "by text[]"],
        returns: Returns::Rows(&[
            "slice jsonb",
            "deleted bigint",
            "inserted bigint",
            "unchanged boolean",
        ]),
        class: Class::Writes,
        comment: "replaces each slice that the source holds, by the values of these columns; equal slices are not rewritten",
    },
    Signature {
        name: "idempotent_purge",
        arguments: &["batch_size integer DEFAULT 1000"],
        returns: Returns::Value("bigint"),
        class: Class::Writes,
        comment: "removes at most batch_size expired requests; returns how many",
    },
    Signature {
        name: "idempotent_reconcile",
        arguments: &[
            "target regclass",
            "source regclass",
            "key text[] DEFAULT NULL::text[]",
            "compare text[] DEFAULT NULL::text[]",
            "ignore text[] DEFAULT NULL::text[]",
            "\"limit\" bigint DEFAULT NULL::bigint",
        ],
        returns: Returns::Rows(&[
            "status text",
            "key jsonb",
            "stored jsonb",
            "expected jsonb",
            "differences jsonb",
        ]),
        class: Class::Writes,
        comment: "returns the rows, by key, in which a table or foreign table deviates from another one or a view",
    },
    Signature {
        name: "idempotent_repair",
        arguments: &[
            "target regclass",
            "source regclass",
            "key text[] DEFAULT NULL::text[]",
            "compare text[] DEFAULT NULL::text[]",
            "ignore text[] DEFAULT NULL::text[]",
            "\"limit\" bigint DEFAULT NULL::bigint",
            "dry_run boolean DEFAULT true",
        ],
        returns: Returns::Rows(&[
            "status text",
            "key jsonb",
            "stored jsonb",
            "expected jsonb",
            "differences jsonb",
            "outcome text",
        ]),
        class: Class::Writes,
        comment: "makes a table or foreign table equal to another one or a view, row by row, or says what that would change",
    },
    Signature {
        name: "idempotent_request_abandon",
        arguments: &["key text", "attempt bigint", "scope text DEFAULT ''::text"],
        returns: Returns::Value("void"),
        class: Class::Writes,
        comment: "abandons a request without an answer: its key is free again",
    },
    Signature {
        name: "idempotent_request_advance",
        arguments: &[
            "key text",
            "attempt bigint",
            "recovery_point text",
            "scope text DEFAULT ''::text",
        ],
        returns: Returns::Value("void"),
        class: Class::Writes,
        comment: "records how far the work on a request has got, and renews the lease",
    },
    Signature {
        name: "idempotent_request_begin",
        arguments: &[
            "key text",
            "request jsonb",
            "scope text DEFAULT ''::text",
            "ttl interval DEFAULT '24:00:00'::interval",
            "lease interval DEFAULT '00:01:00'::interval",
            "wait interval DEFAULT NULL::interval",
            "ignore text[] DEFAULT NULL::text[]",
        ],
        returns: Returns::Row(RowType::Attempt),
        class: Class::Writes,
        comment: "starts a request, resumes one whose lease ran out, or gives its answer",
    },
    Signature {
        name: "idempotent_request_finish",
        arguments: &[
            "key text",
            "attempt bigint",
            "response jsonb",
            "scope text DEFAULT ''::text",
        ],
        returns: Returns::Value("void"),
        class: Class::Writes,
        comment: "stores the answer of a request, which its retries get",
    },
    Signature {
        name: "idempotent_resolve",
        arguments: &["id bigint", "resolution text"],
        returns: Returns::Value("boolean"),
        class: Class::Writes,
        comment: "ends a conflict of idempotent.conflicts: keep_stored, or apply_payload",
    },
    Signature {
        name: "idempotent_run_begin",
        arguments: &[
            "dataset text",
            "partition text DEFAULT ''::text",
            "input_version text DEFAULT NULL::text",
            "force boolean DEFAULT false",
            "lease interval DEFAULT '01:00:00'::interval",
        ],
        returns: Returns::Row(RowType::Run),
        class: Class::Writes,
        comment: "begins a run of a partition, unless its input was published already",
    },
    Signature {
        name: "idempotent_run_fail",
        arguments: &["run_id bigint", "error text"],
        returns: Returns::Value("void"),
        class: Class::Writes,
        comment: "ends a run that failed; the next idempotent_run_begin of its partition begins another run",
    },
    Signature {
        name: "idempotent_run_heartbeat",
        arguments: &["run_id bigint"],
        returns: Returns::Value("void"),
        class: Class::Writes,
        comment: "renews the lease of a run",
    },
    Signature {
        name: "idempotent_run_publish",
        arguments: &[
            "run_id bigint",
            "row_count bigint DEFAULT NULL::bigint",
            "output_version text DEFAULT NULL::text",
        ],
        returns: Returns::Value("void"),
        class: Class::Writes,
        comment: "ends a run that succeeded",
    },
    Signature {
        name: "idempotent_stats_reset",
        arguments: &["target regclass DEFAULT NULL::regclass"],
        returns: Returns::Value("timestamp with time zone"),
        class: Class::Writes,
        comment: "sets the statistics of a table, or of all tables, requests and runs of the database, to 0",
    },
    Signature {
        name: "idempotent_unguard",
        arguments: &["target regclass"],
        returns: Returns::Value("boolean"),
        class: Class::Writes,
        comment: "removes the guard of a table; false if there was none",
    },
    Signature {
        name: "idempotent_view",
        arguments: &[
            "target regclass",
            "name text",
            "key text[] DEFAULT NULL::text[]",
            "compare text[] DEFAULT NULL::text[]",
            "ignore text[] DEFAULT NULL::text[]",
            "on_conflict text DEFAULT 'error'::text",
        ],
        returns: Returns::Value("regclass"),
        class: Class::Writes,
        comment: "creates a view of a table whose INSERT inserts or verifies and returns the stored row, or replaces its options",
    },
    Signature {
        name: "idempotent_view_trigger",
        arguments: &[],
        returns: Returns::Value("trigger"),
        class: Class::Writes,
        comment: "trigger function of the views that idempotent_view creates",
    },
    Signature {
        name: "in_sketch",
        arguments: &["suspects bytea", "VARIADIC key \"any\""],
        returns: Returns::Value("boolean"),
        class: Class::ComputesOfNulls,
        comment: "part of idempotent_reconcile: whether a row may deviate, by suspects that are the same for every row",
    },
    Signature {
        name: "kept_oid",
        arguments: &["value idempotent.kept_role"],
        returns: Returns::Value("oid"),
        class: Class::Computes,
        comment: "the oid of a role; 0 if the value names no role",
    },
    Signature {
        name: "kept_oid",
        arguments: &["value idempotent.kept_table"],
        returns: Returns::Value("oid"),
        class: Class::Computes,
        comment: "the oid of a table; 0 if the value names no table",
    },
    Signature {
        name: "kept_regclass",
        arguments: &["value idempotent.kept_table"],
        returns: Returns::Value("regclass"),
        class: Class::Computes,
        comment: "the table; 0 if the value names no table",
    },
    Signature {
        name: "kept_regrole",
        arguments: &["value idempotent.kept_role"],
        returns: Returns::Value("regrole"),
        class: Class::Computes,
        comment: "the role; 0 if the value names no role",
    },
    Signature {
        name: "kept_role_in",
        arguments: &["value cstring"],
        returns: Returns::Value("idempotent.kept_role"),
        class: Class::ReadsStrict,
        comment: "input of kept_role",
    },
    Signature {
        name: "kept_role_out",
        arguments: &["value idempotent.kept_role"],
        returns: Returns::Value("cstring"),
        class: Class::ReadsStrict,
        comment: "output of kept_role",
    },
    Signature {
        name: "kept_role_recv",
        arguments: &["value internal"],
        returns: Returns::Value("idempotent.kept_role"),
        class: Class::ReadsStrict,
        comment: "binary input of kept_role: its text",
    },
    Signature {
        name: "kept_role_send",
        arguments: &["value idempotent.kept_role"],
        returns: Returns::Value("bytea"),
        class: Class::ReadsStrict,
        comment: "binary output of kept_role: its text",
    },
    Signature {
        name: "kept_table_in",
        arguments: &["value cstring"],
        returns: Returns::Value("idempotent.kept_table"),
        class: Class::ReadsStrict,
        comment: "input of kept_table",
    },
    Signature {
        name: "kept_table_out",
        arguments: &["value idempotent.kept_table"],
        returns: Returns::Value("cstring"),
        class: Class::ReadsStrict,
        comment: "output of kept_table",
    },
    Signature {
        name: "kept_table_recv",
        arguments: &["value internal"],
        returns: Returns::Value("idempotent.kept_table"),
        class: Class::ReadsStrict,
        comment: "binary input of kept_table: its text",
    },
    Signature {
        name: "kept_table_send",
        arguments: &["value idempotent.kept_table"],
        returns: Returns::Value("bytea"),
        class: Class::ReadsStrict,
        comment: "binary output of kept_table: its text",
    },
    Signature {
        name: "kept_trigger",
        arguments: &[],
        returns: Returns::Value("trigger"),
        class: Class::Writes,
        comment: "trigger function of the tables of state: takes roles and tables that the inserter may not name out of the row",
    },
    Signature {
        name: "own_role",
        arguments: &[],
        returns: Returns::Value("idempotent.kept_role"),
        class: Class::Reads,
        comment: "the current user; for the views of state",
    },
    Signature {
        name: "sketch_add",
        arguments: &["state internal", "plan bytea", "VARIADIC columns \"any\""],
        returns: Returns::Value("internal"),
        class: Class::Reads,
        comment: "part of idempotent.sketch: adds a row",
    },
    Signature {
        name: "sketch_bytes",
        arguments: &["state internal"],
        returns: Returns::Value("bytea"),
        class: Class::ReadsStrict,
        comment: "part of idempotent.sketch: the sketch, and its state for another process",
    },
    Signature {
        name: "sketch_combine",
        arguments: &["state internal", "other internal"],
        returns: Returns::Value("internal"),
        class: Class::Reads,
        comment: "part of idempotent.sketch: adds the rows of another process",
    },
    Signature {
        name: "sketch_deserialize",
        arguments: &["bytes bytea", "unused internal"],
        returns: Returns::Value("internal"),
        class: Class::ReadsStrict,
        comment: "part of idempotent.sketch: its state, from another process",
    },
];

/// Checks what the running function asks of its arguments against its signature: that there
/// is one at this place, by this name and of one of these types. No types are any type.
///
/// # Panics
/// If the signature has something else there.
#[cfg(debug_assertions)]
pub fn check(function: pg_sys::Oid, place: usize, name: Option<&str>, types: &[&str]) {
    let Some(signature) = signature_of(function) else {
        return;
    };
    let argument = signature.arguments.get(place).unwrap_or_else(|| {
        panic!("{} has no argument at place {place}", signature.name);
    });
    let (its_name, rest) = argument.split_once(' ').expect("name and type");
    let (its_type, _) = rest.split_once(" DEFAULT ").unwrap_or((rest, ""));
    assert!(
        name.is_none_or(|name| name == its_name.trim_matches('"'))
            && (types.is_empty() || types.contains(&its_type)),
        "{} reads {name:?} of {types:?} at place {place}, where it has {argument}",
        signature.name
    );
}

/// The signature of a function; None for one that was renamed since.
#[cfg(debug_assertions)]
fn signature_of(function: pg_sys::Oid) -> Option<&'static Signature> {
    thread_local! {
        static LAST: Cell<(pg_sys::Oid, Option<&'static Signature>)> =
            const { Cell::new((pg_sys::InvalidOid, None)) };
    }
    let (last, signature) = LAST.get();
    if last == function {
        return signature;
    }
    let name = function_name(function)?;
    let found = SIGNATURES.iter().find(|signature| signature.name == name);
    LAST.set((function, found));
    found
}

/// Each signature in a line, as the unit test makes it of `pg_proc`.
#[cfg(any(test, feature = "pg_test"))]
pub fn lines() -> Vec<String> {
    SIGNATURES.iter().map(Signature::line).collect()
}

#[cfg(any(test, feature = "pg_test"))]
impl Signature {
    fn line(&self) -> String {
        let mut arguments: Vec<String> = self.arguments.iter().map(|a| (*a).to_owned()).collect();
        let mut add_out = |columns: Vec<String>| {
            arguments.extend(columns.iter().map(|column| format!("OUT {column}")));
        };
        let owned = |columns: &[&str]| columns.iter().map(|c| (*c).to_owned()).collect();
        let returns = match &self.returns {
            Returns::Value(of) => (*of).to_owned(),
            Returns::Row(row_type) => {
                add_out(row_type.column_list());
                "record".to_owned()
            }
            Returns::Rows(columns) => {
                add_out(owned(columns));
                "SETOF record".to_owned()
            }
            Returns::Table(columns) => format!("TABLE({})", columns.join(", ")),
            Returns::Procedure => {
                arguments
                    .iter_mut()
                    .for_each(|argument| argument.insert_str(0, "IN "));
                "nothing".to_owned()
            }
        };
        let class = match self.class {
            Class::Writes => "volatile parallel unsafe",
            Class::Reads => "stable parallel safe",
            Class::ReadsStrict => "stable strict parallel safe",
            Class::Computes => "immutable strict parallel safe",
            Class::ComputesOfNulls => "immutable parallel safe",
        };
        let arguments = arguments.join(", ");
        format!(
            "{}({arguments}) returns {returns}, {class}: {}",
            self.name, self.comment
        )
    }
}
