//! What the views `idempotent.stats` and `idempotent.stats_database` read, and how counting begins anew.
//!
//! Everybody may look, as at `pg_stat_user_tables`: counts tell no value of a row.
use super::form::Form;
use super::shared;
use super::table::Subject;
use crate::enum_text;
use crate::error::Line;
use crate::error::{notice, with_error_capture};
use crate::pg::backend;
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::SqlResult;
use crate::pg::catalog::relation::{database_exists, relation_exists};
use crate::pg::value::sql_value::SqlValue;
use crate::settings;
use pgrx::prelude::*;

/// `idempotent.counted() → SETOF (target oid, form text, n1 … n8 bigint, since timestamptz)`: the counters of
/// the database; those of requests and runs have no target.
#[pg_extern(sql = false)]
fn counted(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let mut set = call.result_set();
        if let Some(reason) = shared::reason() {
            let mut line = Line::new();
            line.push(b"pg_idempotent collects no statistics: ");
            line.push(crate::text::to_server(&reason).to_bytes());
            notice(&line);
        }
        give_unused_back();
        let database = backend::current_database().to_u32();
        let all = shared::all();
        for (subject, counts, since) in all.iter().filter(|one| one.0.database == database) {
            pgrx::check_for_interrupts!();
            let Some(form) = Form::ALL.get(subject.form as usize) else {
                continue;
            };
            let [a, b, c, d, e, f, g, h] = counts.map(|count| SqlValue::bigint(count as i64));
            set.row(&[
                SqlValue::oid(subject.relation.into()),
                SqlValue::text(enum_text::name(*form)),
                a,
                b,
                c,
                d,
                e,
                f,
                g,
                h,
                SqlValue::timestamptz(*since),
            ]);
        }
        SqlResult::null()
    })
}

/// `idempotent.counting() → SETOF (collected boolean, reason text, uncounted bigint)`: one row, which says
/// whether what the session does is counted, else why not, and what found no room, in any database.
#[pg_extern(sql = false)]
fn counting(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let mut set = call.result_set();
        let off = || (!settings::track()).then(|| "pg_idempotent.track is off".to_owned());
        let reason = shared::reason().or_else(off);
        set.row(&[
            SqlValue::boolean(reason.is_none()),
            SqlValue::optional_text(reason.as_deref()),
            SqlValue::bigint(shared::uncounted() as i64),
        ]);
        SqlResult::null()
    })
}

/// `idempotent_stats_reset(target regclass) → timestamptz`: sets the counters of a table, or of the whole
/// database, to 0. Gives the time, which `since` shows from then on. Who may do that is who may call it.
#[pg_extern(sql = false)]
fn idempotent_stats_reset(call: SqlCall<'_>) -> SqlResult {
    let arguments = call.arguments();
    with_error_capture(|| {
        let target = arguments.datum(0).map(|target| target.value() as u32);
        let database = backend::current_database().to_u32();
        let time = shared::restart(|subject| {
            subject.database == database && target.is_none_or(|target| target == subject.relation)
        });
        SqlResult::timestamptz(time)
    })
}

/// Gives the entries of tables and databases back that are gone. A table that is not committed yet has no entry.
pub fn give_unused_back() {
    let database = backend::current_database().to_u32();
    let is_gone = |subject: &Subject| {
        if subject.database != database {
            return !database_exists(subject.database.into());
        }
        subject.relation != 0 && !relation_exists(subject.relation.into())
    };
    let all = shared::all().into_iter().map(|(subject, ..)| subject);
    let gone: Vec<Subject> = all.filter(is_gone).collect();
    if !gone.is_empty() {
        shared::remove(&gone);
    }
}
