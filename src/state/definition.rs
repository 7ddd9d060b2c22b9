//! What the tables of state are made of, and what is said of a table that is made otherwise.
//!
//! The expected parts are those that `sql/*.sql` makes, as the server shows them.
use super::expected::{DISABLED, ExpectedPart, FOR_REPLICATION, expected_parts};
use super::glance::Glance;
use super::part::TablePart;
use super::table::StateTable;
use crate::pg::value::text::quote_identifier;

/// The query for what a table has beside its columns. $1 the table. A text with a line for each
/// part; tabs and line breaks in names are blanks there. Nothing of it evaluates an expression:
/// core shows what it has stored.
pub fn query(glance: &Glance) -> String {
    let needed = BRANCHES.iter().filter(|(is_needed, _)| is_needed(glance));
    let branches: Vec<_> = needed.map(|(_, branch)| *branch).collect();
    format!("{STATE}{}{PARTS}", branches.join("\nUNION ALL\n"))
}

/// Part of the query, and whether it is needed.
type Branch = (fn(&Glance) -> bool, &'static str);

/// The table and the extension.
const STATE: &str = r"
WITH state AS (
    SELECT class.oid, class.relowner, class.relkind, class.relpersistence, class.relam, class.reloftype,
           class.relrowsecurity, class.relnamespace, extension.oid AS extension, extension.extowner
      FROM pg_catalog.pg_class AS class
      LEFT JOIN pg_catalog.pg_extension AS extension ON extension.extname OPERATOR(pg_catalog.=) 'pg_idempotent'
     WHERE class.oid OPERATOR(pg_catalog.=) $1
), part (kind, name, how) AS (
";

/// What may be of it: whether it is asked for, and how. Names are texts: else all would be cut at
/// 63 bytes, those of functions with their arguments, too. What is in the schema is found by the
/// dependencies on it, which have an index.
const BRANCHES: &[Branch] = &[
    (
        |_| true,
        // Of a key, core's function would look its index up by the transaction's snapshot: after a REINDEX
        // CONCURRENTLY that can be one that is gone, which is an error.
        r"SELECT 'constraint', made.conname::pg_catalog.text,
       CASE WHEN made.contype OPERATOR(pg_catalog.=) 'p' OR made.contype OPERATOR(pg_catalog.=) 'u' THEN pg_catalog.concat(
           CASE WHEN made.contype OPERATOR(pg_catalog.=) 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END,
           CASE WHEN its.indnullsnotdistinct THEN ' NULLS NOT DISTINCT' END,
           ' (', (
               SELECT pg_catalog.string_agg(pg_catalog.quote_ident(attribute.attname), ', ' ORDER BY part.place)
                 FROM pg_catalog.unnest(made.conkey) WITH ORDINALITY AS part (number, place)
                 JOIN pg_catalog.pg_attribute AS attribute
                   ON attribute.attrelid OPERATOR(pg_catalog.=) $1 AND attribute.attnum OPERATOR(pg_catalog.=) part.number),
           CASE WHEN its.indisexclusion THEN ' WITHOUT OVERLAPS' END, ')',
           CASE WHEN its.indnatts OPERATOR(pg_catalog.>) its.indnkeyatts THEN ' INCLUDE' END,
           CASE WHEN made.condeferrable THEN ' DEFERRABLE' END,
           CASE WHEN made.condeferred THEN ' INITIALLY DEFERRED' END)
       ELSE pg_catalog.pg_get_constraintdef(made.oid) END
  FROM pg_catalog.pg_constraint AS made
  LEFT JOIN pg_catalog.pg_index AS its ON its.indexrelid OPERATOR(pg_catalog.=) made.conindid
 WHERE made.conrelid OPERATOR(pg_catalog.=) $1 AND made.contype OPERATOR(pg_catalog.<>) 'n'",
    ),
    (
        |glance| glance.defaults,
        r"SELECT CASE WHEN attribute.attgenerated OPERATOR(pg_catalog.=) '' THEN 'default' ELSE 'generated' END,
       attribute.attname, pg_catalog.pg_get_expr(value.adbin, value.adrelid)
  FROM pg_catalog.pg_attrdef AS value
  JOIN pg_catalog.pg_attribute AS attribute
    ON attribute.attrelid OPERATOR(pg_catalog.=) value.adrelid AND attribute.attnum OPERATOR(pg_catalog.=) value.adnum
 WHERE value.adrelid OPERATOR(pg_catalog.=) $1",
    ),
    (
        |glance| glance.references,
        r"SELECT 'reference', made.conname, made.conrelid::pg_catalog.regclass::pg_catalog.text
  FROM pg_catalog.pg_constraint AS made
 WHERE made.confrelid OPERATOR(pg_catalog.=) $1",
    ),
    (
        |glance| glance.own_indexes,
        r"SELECT 'index', class.relname, pg_catalog.pg_get_indexdef(made.indexrelid)
  FROM pg_catalog.pg_index AS made
  JOIN pg_catalog.pg_class AS class ON class.oid OPERATOR(pg_catalog.=) made.indexrelid
 WHERE made.indrelid OPERATOR(pg_catalog.=) $1
   -- One that is being dropped has no definition any more.
   AND pg_catalog.pg_get_indexdef(made.indexrelid) IS NOT NULL
   AND (made.indisunique OR made.indisexclusion OR made.indexprs IS NOT NULL OR made.indpred IS NOT NULL)
   AND NOT EXISTS (
       SELECT FROM pg_catalog.pg_constraint AS its
        WHERE its.conindid OPERATOR(pg_catalog.=) made.indexrelid AND its.conrelid OPERATOR(pg_catalog.=) $1)
   -- Nor the copies that REINDEX CONCURRENTLY makes: they are like one that is valid.
   AND NOT (NOT made.indisvalid AND EXISTS (
       SELECT FROM pg_catalog.pg_index AS valid
        WHERE valid.indrelid OPERATOR(pg_catalog.=) $1 AND valid.indisvalid
          AND pg_catalog.split_part(pg_catalog.pg_get_indexdef(valid.indexrelid), ' USING ', 2)
              OPERATOR(pg_catalog.=) pg_catalog.split_part(pg_catalog.pg_get_indexdef(made.indexrelid), ' USING ', 2)))",
    ),
    (
        |glance| glance.foreign_classes,
        r"SELECT 'foreign index', class.relname, ''
  FROM state
  JOIN pg_catalog.pg_index AS made ON made.indrelid OPERATOR(pg_catalog.=) state.oid
  JOIN pg_catalog.pg_class AS class ON class.oid OPERATOR(pg_catalog.=) made.indexrelid
 WHERE EXISTS (
       SELECT FROM pg_catalog.unnest(made.indclass) AS used (oid)
         JOIN pg_catalog.pg_opclass AS opclass ON opclass.oid OPERATOR(pg_catalog.=) used.oid
        WHERE opclass.opcnamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace
          AND NOT EXISTS (
              SELECT FROM pg_catalog.pg_depend AS member
               WHERE member.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_opclass'::pg_catalog.regclass
                 AND member.objid OPERATOR(pg_catalog.=) opclass.oid
                 AND member.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
                 AND member.refobjid OPERATOR(pg_catalog.=) state.extension
                 AND member.deptype OPERATOR(pg_catalog.=) 'e'))",
    ),
    (
        |glance| glance.rules,
        r"SELECT 'rule', made.rulename, '' FROM pg_catalog.pg_rewrite AS made WHERE made.ev_class OPERATOR(pg_catalog.=) $1",
    ),
    (
        |_| true,
        r"SELECT 'policy', made.polname, '' FROM pg_catalog.pg_policy AS made WHERE made.polrelid OPERATOR(pg_catalog.=) $1",
    ),
    (
        |glance| glance.otherwise,
        r"SELECT 'row-level security', '', '' FROM state WHERE state.relrowsecurity",
    ),
    (
        |glance| glance.statistics,
        r"-- The planner folds their expressions.
SELECT 'statistics', made.stxname, made.stxnamespace::pg_catalog.regnamespace::pg_catalog.text
  FROM pg_catalog.pg_statistic_ext AS made
 WHERE made.stxrelid OPERATOR(pg_catalog.=) $1 AND made.stxexprs IS NOT NULL",
    ),
    (
        |glance| glance.parents,
        r"SELECT 'parent', made.inhparent::pg_catalog.regclass::pg_catalog.text, ''
  FROM pg_catalog.pg_inherits AS made WHERE made.inhrelid OPERATOR(pg_catalog.=) $1",
    ),
    (
        |glance| glance.children,
        r"SELECT 'child', made.inhrelid::pg_catalog.regclass::pg_catalog.text, ''
  FROM pg_catalog.pg_inherits AS made WHERE made.inhparent OPERATOR(pg_catalog.=) $1",
    ),
    (
        |glance| glance.otherwise,
        // What undoes it is told one at a time: NOT OF is an error where there is no type.
        r"SELECT 'storage', '',
       CASE WHEN state.reloftype OPERATOR(pg_catalog.<>) 0::pg_catalog.oid THEN 'NOT OF' ELSE 'SET ACCESS METHOD heap' END
  FROM state
 WHERE state.relkind OPERATOR(pg_catalog.<>) 'r' OR state.relam OPERATOR(pg_catalog.<>) 2::pg_catalog.oid
    OR state.relpersistence OPERATOR(pg_catalog.=) 't' OR state.reloftype OPERATOR(pg_catalog.<>) 0::pg_catalog.oid",
    ),
    (
        |_| true,
        r"SELECT 'owner', '', pg_catalog.pg_get_userbyid(state.extowner)
  FROM state WHERE state.relowner OPERATOR(pg_catalog.<>) state.extowner",
    ),
    (
        |_| true,
        r"SELECT 'schema''s owner', '', pg_catalog.pg_get_userbyid(state.extowner)
  FROM state
  JOIN pg_catalog.pg_namespace AS schema ON schema.oid OPERATOR(pg_catalog.=) state.relnamespace
 WHERE schema.nspowner OPERATOR(pg_catalog.<>) state.extowner",
    ),
    (
        |_| true,
        r"SELECT 'sequence''s owner', sequence.relname, pg_catalog.pg_get_userbyid(state.extowner)
  FROM state
  JOIN pg_catalog.pg_depend AS inside
    ON inside.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
   AND inside.refobjid OPERATOR(pg_catalog.=) state.relnamespace
   AND inside.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
  JOIN pg_catalog.pg_class AS sequence
    ON sequence.oid OPERATOR(pg_catalog.=) inside.objid AND sequence.relkind OPERATOR(pg_catalog.=) 'S'
 WHERE sequence.relowner OPERATOR(pg_catalog.<>) state.extowner",
    ),
    (
        |_| true,
        r"SELECT 'function''s owner', function.oid::pg_catalog.regprocedure::pg_catalog.text, pg_catalog.pg_get_userbyid(state.extowner)
  FROM state
  JOIN pg_catalog.pg_depend AS inside
    ON inside.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
   AND inside.refobjid OPERATOR(pg_catalog.=) state.relnamespace
   AND inside.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
  JOIN pg_catalog.pg_proc AS function ON function.oid OPERATOR(pg_catalog.=) inside.objid
 WHERE function.proowner OPERATOR(pg_catalog.<>) state.extowner",
    ),
    (
        |_| true,
        r"SELECT 'stranger', '', '' FROM state
 WHERE NOT EXISTS (
       SELECT FROM pg_catalog.pg_depend AS member
        WHERE member.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
          AND member.objid OPERATOR(pg_catalog.=) state.oid
          AND member.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
          AND member.refobjid OPERATOR(pg_catalog.=) state.extension
          AND member.deptype OPERATOR(pg_catalog.=) 'e')",
    ),
];

/// All of it.
const PARTS: &str = r"
)
SELECT pg_catalog.string_agg(
           pg_catalog.format(E'%s\t%s\t%s', part.kind, pg_catalog.translate(part.name, E'\n\r\t', '   '),
                             pg_catalog.translate(part.how, E'\n\r\t', '   ')), E'\n')
  FROM part";

/// Why a table is not as the extension made it, in a sentence, and SQL that heals it. None
/// if it is.
pub fn deviation(state: StateTable, found: &[TablePart]) -> Option<(String, String)> {
    let table = format!("idempotent.{}", state.display_name());
    let expected = expected_parts(state);
    let foreign = found
        .iter()
        .find(|part| !expected.iter().any(|e| part.is(e)));
    if let Some(part) = foreign {
        let made = expected.iter().find(|e| part.is_of(e));
        let what = match made {
            None => part.description(),
            Some(_) if part.is_kept_trigger_off() => {
                format!("{}, which is {}", part.description(), part.how)
            }
            Some(("identity", ..)) => {
                format!("{}, which was made GENERATED ALWAYS", part.description())
            }
            Some((_, _, how)) => format!("{}, which was made {how}", part.description()),
        };
        let hint = match made {
            None if part.kind == "column" => stray_column(&table, part, expected, found),
            None => format!("Repair it with: {}", part.removal(&table)),
            Some((_, name, _)) if part.is_kept_trigger_off() => {
                format!("Repair it with: ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name};")
            }
            Some(made) => format!("Repair it with: {}", alteration(&table, made)),
        };
        return Some((format!("It has {what}."), hint));
    }
    let lost = expected
        .iter()
        .find(|e| !found.iter().any(|part| part.is(e)))?;
    let (kind, name, _) = lost;
    let what = match *kind {
        "not null" => format!("NOT NULL of column \"{name}\""),
        "identity" | "default" => format!("the {kind} of column \"{name}\""),
        _ => format!("the {kind} \"{name}\""),
    };
    let heal = restoration(&table, lost);
    Some((
        format!("It has lost {what}."),
        format!("Repair it with: {heal}"),
    ))
}

/// What heals a table with a column that the extension has not made: that is dropped, unless
/// one that it has made is missing and may have got this name. To drop that would lose its
/// values.
fn stray_column(
    table: &str,
    part: &TablePart,
    expected: &[ExpectedPart],
    found: &[TablePart],
) -> String {
    let lost: Vec<&ExpectedPart> = expected
        .iter()
        .filter(|e| e.0 == "column" && e.2 == part.how && !found.iter().any(|p| p.is_of(e)))
        .collect();
    let strays = found.iter().filter(|p| {
        p.kind == "column" && p.how == part.how && !expected.iter().any(|e| p.is_of(e))
    });
    let quoted = quote_identifier(&part.name);
    match lost.as_slice() {
        [] => format!("Repair it with: {}", part.removal(table)),
        [(_, name, _)] if strays.count() == 1 => format!(
            "Repair it with: ALTER TABLE {table} RENAME COLUMN {quoted} TO {};",
            quote_identifier(name)
        ),
        lost => {
            let names: Vec<String> = lost.iter().map(|e| format!("\"{}\"", e.1)).collect();
            format!(
                "If it was renamed, rename it back to one of the missing names: {}. Drop it \
                 only if it was added.",
                names.join(", ")
            )
        }
    }
}

impl TablePart {
    /// Whether it is the trigger that the extension has made, and does not fire.
    fn is_kept_trigger_off(&self) -> bool {
        self.kind == "trigger" && [DISABLED, FOR_REPLICATION].contains(&self.how.as_str())
    }

    fn description(&self) -> String {
        let Self { kind, name, how } = self;
        match kind.as_str() {
            "column" => format!("the column \"{name}\" of type {how}"),
            "not null" => format!("the column \"{name}\" marked NOT NULL"),
            "identity" => format!("an identity in column \"{name}\""),
            "default" | "generated" => format!("the expression {how} in column \"{name}\""),
            "reference" => format!("a foreign key of table {how} that refers to it"),
            "storage" => "another kind of storage".to_owned(),
            "statistics" => format!("the statistics \"{name}\" of an expression"),
            "row-level security" => "row-level security enabled".to_owned(),
            "parent" => format!("the parent {name}"),
            "child" => format!("the child {name}"),
            "owner" => "another owner than the extension".to_owned(),
            "schema's owner" => "a schema with another owner than the extension".to_owned(),
            "sequence's owner" => {
                format!("a sequence, \"{name}\", with another owner than the extension")
            }
            "function's owner" => {
                format!("a function, {name}, with another owner than the extension")
            }
            "foreign index" => {
                format!("the index \"{name}\" with an operator class that is not the server's")
            }
            "stranger" => "been taken out of the extension".to_owned(),
            _ => format!("the {kind} \"{name}\""),
        }
    }

    /// SQL that takes away what the extension has not made.
    fn removal(&self, table: &str) -> String {
        let Self { kind, name, how } = self;
        let quoted = quote_identifier(name);
        let column = format!("ALTER TABLE {table} ALTER COLUMN {quoted}");
        match kind.as_str() {
            "column" => format!("ALTER TABLE {table} DROP COLUMN {quoted};"),
            "not null" => format!("{column} DROP NOT NULL;"),
            "identity" => format!("{column} DROP IDENTITY;"),
            "default" => format!("{column} DROP DEFAULT;"),
            "generated" => format!("{column} DROP EXPRESSION;"),
            "constraint" => format!("ALTER TABLE {table} DROP CONSTRAINT {quoted};"),
            "reference" => format!("ALTER TABLE {how} DROP CONSTRAINT {quoted};"),
            "index" | "foreign index" => format!("DROP INDEX idempotent.{quoted};"),
            "statistics" => format!("DROP STATISTICS {how}.{quoted};"),
            "trigger" => format!("DROP TRIGGER {quoted} ON {table};"),
            "rule" => format!("DROP RULE {quoted} ON {table};"),
            "policy" => format!("DROP POLICY {quoted} ON {table};"),
            "row-level security" => format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;"),
            "parent" => format!("ALTER TABLE {table} NO INHERIT {name};"),
            "child" => format!("ALTER TABLE {name} NO INHERIT {table};"),
            "storage" => format!("ALTER TABLE {table} {how};"),
            "owner" => format!("ALTER TABLE {table} OWNER TO {};", quote_identifier(how)),
            "schema's owner" => format!(
                "ALTER SCHEMA idempotent OWNER TO {};",
                quote_identifier(how)
            ),
            "sequence's owner" => {
                let owner = quote_identifier(how);
                format!("ALTER SEQUENCE idempotent.{quoted} OWNER TO {owner};")
            }
            "function's owner" => {
                format!("ALTER FUNCTION {name} OWNER TO {};", quote_identifier(how))
            }
            _ => format!("ALTER EXTENSION pg_idempotent ADD TABLE {table};"),
        }
    }
}

/// SQL that makes of a part what the extension has made of it.
fn alteration(table: &str, made: &ExpectedPart) -> String {
    let (kind, name, how) = made;
    let quoted = quote_identifier(name);
    let column = format!("ALTER TABLE {table} ALTER COLUMN {quoted}");
    match *kind {
        "column" => format!("{column} TYPE {how};"),
        "identity" => format!("{column} SET GENERATED ALWAYS;"),
        "default" => format!("{column} SET DEFAULT {how};"),
        "constraint" => {
            format!("ALTER TABLE {table} DROP CONSTRAINT {quoted}, ADD CONSTRAINT {quoted} {how};")
        }
        "trigger" => {
            let made = restoration(table, made);
            format!("DROP TRIGGER {quoted} ON {table}; {made}")
        }
        _ => format!("DROP INDEX idempotent.{quoted}; {how};"),
    }
}

/// SQL that makes a part that was lost.
fn restoration(table: &str, lost: &ExpectedPart) -> String {
    let (kind, name, how) = lost;
    let quoted = quote_identifier(name);
    let column = format!("ALTER TABLE {table} ALTER COLUMN {quoted}");
    match *kind {
        "column" => format!("ALTER TABLE {table} ADD COLUMN {quoted} {how};"),
        "not null" => format!("{column} SET NOT NULL;"),
        "identity" => format!("{column} ADD GENERATED ALWAYS AS IDENTITY;"),
        "default" => format!("{column} SET DEFAULT {how};"),
        "constraint" => format!("ALTER TABLE {table} ADD CONSTRAINT {quoted} {how};"),
        "trigger" => {
            let how = how.replacen("FOR EACH", &format!("ON {table} FOR EACH"), 1);
            let always = format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {quoted};");
            format!("CREATE TRIGGER {quoted} {how}; {always}")
        }
        _ => format!("{how};"),
    }
}
