//! What a foreign table is called on its server.
use crate::pg::statement::spi::Connection;
use crate::pg::value::sql_value::SqlValue;
use pgrx::pg_sys;

/// The table that a foreign table of postgres_fdw stands for, as SQL of its server names it. None if another
/// wrapper knows it.
pub fn name_on_other_server(table: pg_sys::Oid) -> Option<String> {
    let connection = Connection::open();
    // Everyone may read them.
    let found = connection.query(
        "SELECT pg_catalog.format('%I.%I',
                    COALESCE((SELECT o.option_value FROM pg_catalog.pg_options_to_table(t.ftoptions) AS o
                              WHERE o.option_name OPERATOR(pg_catalog.=) 'schema_name'), n.nspname::pg_catalog.text),
                    COALESCE((SELECT o.option_value FROM pg_catalog.pg_options_to_table(t.ftoptions) AS o
                              WHERE o.option_name OPERATOR(pg_catalog.=) 'table_name'), c.relname::pg_catalog.text))
         FROM pg_catalog.pg_foreign_table AS t
         JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.ftrelid
         JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
         JOIN pg_catalog.pg_foreign_server AS s ON s.oid OPERATOR(pg_catalog.=) t.ftserver
         JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
         WHERE t.ftrelid OPERATOR(pg_catalog.=) $1 AND w.fdwname OPERATOR(pg_catalog.=) 'postgres_fdw'",
        &[SqlValue::oid(table)],
    );
    if found == 0 {
        return None;
    }
    connection.first_text(1)
}
