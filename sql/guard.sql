-- The guard: plain INSERT and COPY become insert-or-verify. See docs/guard.md.

CREATE FUNCTION idempotent_guard_trigger() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_guard_trigger_wrapper';
COMMENT ON FUNCTION idempotent_guard_trigger() IS
    'trigger function of guards; idempotent_guard creates the trigger';

CREATE FUNCTION idempotent.guard_options(
    target  regclass,
    trigger oid,
    OUT key         text[],
    OUT arbiter     name,
    OUT compared    text[],
    OUT compare     text[],
    OUT ignore      text[],
    OUT on_conflict text,
    OUT remember    name,
    OUT null_key    text,
    OUT problem     text
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'guard_options_wrapper';
COMMENT ON FUNCTION idempotent.guard_options(regclass, oid) IS
    'the options of a guard as they apply to its table; for the view idempotent.guards';

-- Everything is read from the triggers: there is nothing else that would know.
-- A partition's clone is part of the guard of its partitioned table. Temporary
-- tables of other sessions cannot be opened.
CREATE VIEW idempotent.guards AS
SELECT guard.tgrelid::regclass AS target,
       guard.tgname AS trigger,
       CASE guard.tgenabled
           WHEN 'O' THEN 'origin'
           WHEN 'A' THEN 'always'
           WHEN 'R' THEN 'replica'
           ELSE 'disabled'
       END AS enabled,
       options.key,
       options.arbiter,
       options.compared,
       options.compare,
       options.ignore,
       options.on_conflict,
       options.remember,
       options.null_key,
       options.problem
  FROM pg_catalog.pg_trigger AS guard
  JOIN pg_catalog.pg_class AS class
    ON class.oid OPERATOR(pg_catalog.=) guard.tgrelid
   AND (class.relpersistence OPERATOR(pg_catalog.<>) 't'
        OR class.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())
   AND class.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p']::"char"[])
 CROSS JOIN LATERAL idempotent.guard_options(guard.tgrelid, guard.oid) AS options
 WHERE guard.tgfoid OPERATOR(pg_catalog.=) 'idempotent_guard_trigger()'::regprocedure
   AND guard.tgparentid OPERATOR(pg_catalog.=) 0::oid;
COMMENT ON VIEW idempotent.guards IS 'every guarded table, with the options of its guard';
COMMENT ON COLUMN idempotent.guards.target IS 'the guarded table';
COMMENT ON COLUMN idempotent.guards.trigger IS 'the trigger of the guard, whose arguments hold the options';
COMMENT ON COLUMN idempotent.guards.enabled IS
    'when it fires: origin, replica, always (see ALTER TABLE ... ENABLE TRIGGER), or disabled';
COMMENT ON COLUMN idempotent.guards.key IS 'the key columns';
COMMENT ON COLUMN idempotent.guards.arbiter IS 'the unique index that decides';
COMMENT ON COLUMN idempotent.guards.compared IS
    'the columns whose values must agree; a column with a stable default, such as now(), only if the statement sets it';
COMMENT ON COLUMN idempotent.guards.compare IS 'the option compare, if given';
COMMENT ON COLUMN idempotent.guards.ignore IS 'the option ignore, if given';
COMMENT ON COLUMN idempotent.guards.on_conflict IS 'error, quarantine or observe';
COMMENT ON COLUMN idempotent.guards.remember IS 'the column that keeps what first arrived';
COMMENT ON COLUMN idempotent.guards.null_key IS
    'rows with a NULL in the key: error, or pass (insert them without verification)';
COMMENT ON COLUMN idempotent.guards.problem IS
    'why the options no longer fit the table or the guard does not work on each partition, or that you have no privilege to know; NULL if nothing is wrong';

CREATE FUNCTION idempotent_guard(
    target      regclass,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    remember    text   DEFAULT NULL,
    null_key    text   DEFAULT 'error'
) RETURNS idempotent.guards
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_guard_wrapper';
COMMENT ON FUNCTION idempotent_guard(regclass, text[], text[], text[], text, text, text) IS
    'installs a guard, which makes every INSERT and COPY on a table insert or verify, or replaces its options';

CREATE FUNCTION idempotent_unguard(target regclass) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_unguard_wrapper';
COMMENT ON FUNCTION idempotent_unguard(regclass) IS
    'removes the guard of a table; false if there was none';
