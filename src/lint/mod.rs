//! What of a table makes retries unsafe, and what to do about it.
//!
//! A rule tells what goes wrong for sure, or will in a case that comes; it says nothing
//! of a table that is made well. What is known of the table anyway, [`Target`] and the
//! guard's plan, is what the rules look at, see [`LintedTable`].
//!
//! [`Target`]: crate::target::Target
mod body;
mod compared;
mod finding;
mod foreign;
mod guarding;
mod key;
mod key_columns;
mod loading;
mod local_time;
mod subject;
mod table;
mod time_part;
mod tokens;
mod words;

use crate::enum_text;
use crate::error::with_error_capture;
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::SqlResult;
use crate::pg::value::sql_value::SqlValue;
use finding::Finding;
use pgrx::prelude::*;
use subject::LintedTable;

/// `idempotent_lint(target)`: what of a table makes retries unsafe.
///
/// Gives `target regclass, rule text, severity text, message text, hint text`, by
/// severity, then rule, then object.
///
/// # Errors
/// 22004; 42P01, 42809 for what is no table, 0A000 for another session's temporary one.
#[pg_extern(sql = false)]
fn idempotent_lint(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let oid = call.arguments().oid(0, "target");
        // Before the table is waited for, meanwhile this function may be dropped.
        let mut set = call.result_set();
        let findings = match foreign::key_elsewhere(oid) {
            Some(finding) => vec![finding],
            None => find(&LintedTable::open(oid)),
        };
        for finding in &findings {
            set.row(&[
                SqlValue::regclass(oid),
                SqlValue::text(enum_text::name(finding.rule)),
                SqlValue::text(enum_text::name(finding.severity)),
                SqlValue::text(&finding.message),
                SqlValue::text(&finding.hint),
            ]);
        }
        SqlResult::null()
    })
}

/// Runs every rule.
fn find(subject: &LintedTable) -> Vec<Finding> {
    const RULES: [fn(&LintedTable, &mut Vec<Finding>); 21] = [
        key::no_business_key,
        key::partition_index,
        key::unusable_index,
        key::server_filled_key,
        key_columns::loading_time,
        key_columns::nullable_key,
        local_time::local_time_key,
        key_columns::float_key,
        key_columns::stale_collation,
        key::ambiguous_key,
        key::partial_key,
        guarding::guard_problem,
        guarding::guard_disabled,
        guarding::guard_observes,
        guarding::trigger_after_guard,
        guarding::small_sequence,
        compared::changing_value,
        compared::changed_on_update,
        compared::before_trigger,
        table::rewrite_rule,
        table::storage,
    ];
    let mut findings = Vec::new();
    for rule in RULES {
        rule(subject, &mut findings);
    }
    findings.sort_by(|a, b| {
        let place = |finding: &Finding| (finding.severity, finding.rule);
        place(a)
            .cmp(&place(b))
            .then_with(|| a.object.cmp(&b.object))
    });
    findings
}
