//! Which values have the same canonical bytes on both sides of a comparison.
use crate::pg::catalog::types;
use crate::target::{Column, KeyColumn};
use pgrx::pg_sys;

const INTEGERS: [pg_sys::Oid; 3] = [pg_sys::INT2OID, pg_sys::INT4OID, pg_sys::INT8OID];
const FLOATS: [pg_sys::Oid; 2] = [pg_sys::FLOAT4OID, pg_sys::FLOAT8OID];
const TEXTS: [pg_sys::Oid; 2] = [pg_sys::TEXTOID, pg_sys::VARCHAROID];

/// Types of which equal values have the same canonical bytes, where their collation is deterministic.
const ONE_SPELLING: [pg_sys::Oid; 24] = [
    pg_sys::BOOLOID,
    pg_sys::INT2OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
    pg_sys::OIDOID,
    pg_sys::FLOAT4OID,
    pg_sys::FLOAT8OID,
    pg_sys::NUMERICOID,
    pg_sys::MONEYOID,
    pg_sys::DATEOID,
    pg_sys::TIMEOID,
    pg_sys::TIMESTAMPOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::INTERVALOID,
    pg_sys::TEXTOID,
    pg_sys::VARCHAROID,
    pg_sys::BPCHAROID,
    pg_sys::NAMEOID,
    pg_sys::BYTEAOID,
    pg_sys::UUIDOID,
    pg_sys::INETOID,
    pg_sys::CIDROID,
    pg_sys::MACADDROID,
    pg_sys::MACADDR8OID,
];

/// Whether values of these types that have the same canonical bytes are equal, once the first is
/// converted to the second. Where a type has no equality, values are compared as they are stored.
pub fn has_same_values(of: pg_sys::Oid, to: pg_sys::Oid) -> bool {
    let (of, to) = (types::base(of), types::base(to));
    let both_of = |alike: &[pg_sys::Oid]| alike.contains(&of) && alike.contains(&to);
    let same = of == to || both_of(&INTEGERS) || both_of(&FLOATS) || both_of(&TEXTS);
    same && (types::equality_operator(to) != pg_sys::InvalidOid || to == pg_sys::JSONOID)
}

/// Whether two values have the same canonical bytes if, and only if, they are one key: of this type and
/// modifier in the source, of the column's own in the target.
pub fn has_same_keys(of: (pg_sys::Oid, i32), column: &Column, key: &KeyColumn) -> bool {
    let (of, of_modifier) = types::base_and_modifier(of.0, of.1);
    let (to, modifier) = types::base_and_modifier(column.typid, column.typmod);
    // To round or to cut makes one key of several.
    let kept = (of == to && of_modifier == modifier)
        || (modifier == -1 && !(of == pg_sys::FLOAT8OID && to == pg_sys::FLOAT4OID));
    let collation = key.operators.collation;
    let one_spelling = ONE_SPELLING.contains(&to) || types::kind(to) == pg_sys::TYPTYPE_ENUM;
    kept && has_same_values(of, to)
        && one_spelling
        && key.operators.equality_operator == types::equality_operator(to)
        && (collation == pg_sys::InvalidOid || types::is_deterministic(collation))
}
