-- Hints: what a hint says is done, and then the call goes well.
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE SCHEMA hints;
SET search_path = hints, public;
CREATE TABLE said (sql text);
-- Runs a statement that fails, and keeps the SQL of its hint.
CREATE FUNCTION refused(statement text) RETURNS TABLE (code text, message text, hint text) LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE hints.said;
    BEGIN
        EXECUTE statement;
    EXCEPTION WHEN OTHERS THEN
        code := SQLSTATE;
        message := SQLERRM;
        GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
        INSERT INTO hints.said
        SELECT m.sql[1] FROM regexp_matches(hint, '((?:CREATE|ALTER|DROP|REINDEX|SELECT) [^;]*;)', 'g') AS m (sql);
        RETURN NEXT;
    END;
END $$;
\set do 'SELECT sql FROM said \\gexec'
\pset format unaligned
\pset tuples_only on
\pset fieldsep '\n    '

-- An index is missing.
CREATE TABLE none (a int, "B b" int);
INSERT INTO none VALUES (1, 1);
SELECT * FROM refused($$ SELECT idempotent_insert('none', '{"a": 1, "B b": 1}', key => '{a, B b}') $$);
:do
SELECT idempotent_insert('none', '{"a": 1, "B b": 1}', key => '{a, B b}');

-- One is partial: it has to be named, unless its condition is only about NULL in the key.
CREATE TABLE orders (u int, o int, v int, deleted_at timestamptz);
CREATE UNIQUE INDEX ON orders (u, o) WHERE deleted_at IS NULL;
SELECT * FROM refused($$ SELECT idempotent_guard('orders') $$);
SELECT * FROM refused($$ SELECT idempotent_insert('orders', '{"u": 1, "o": 1}') $$);
SELECT * FROM refused($$ SELECT idempotent_guard('orders', key => '{u}') $$);
:do
SELECT * FROM refused($$ SELECT idempotent_guard('orders', key => '{u, o, deleted_at}') $$);
:do
-- Several have the key.
CREATE UNIQUE INDEX ON orders (u, o) WHERE v > 0;
SELECT * FROM refused($$ SELECT idempotent_guard('orders', key => '{u, o}') $$);

-- On expressions: they are named as the index has them.
CREATE TABLE people (id int, tenant int, email text);
CREATE UNIQUE INDEX ON people (lower(email));
CREATE UNIQUE INDEX ON people (tenant, lower(email));
INSERT INTO people VALUES (1, 1, 'a@x'), (2, 1, 'b@x');
SELECT * FROM refused($$ SELECT idempotent_guard('people') $$);
SELECT * FROM refused($$ SELECT idempotent_guard('people', key => '{email}') $$);
SELECT * FROM refused($$ SELECT idempotent_guard('people', key => '{tenant, email}') $$);
SELECT key FROM idempotent_guard('people', key => '{tenant,"lower(email)"}');
SELECT * FROM refused($$ SELECT idempotent_guard('people', key => '{upper(email)}') $$);
-- A key that the index does not speak of.
SELECT * FROM refused($$ SELECT idempotent_guard('people', key => '{id}') $$);
:do
SELECT key FROM idempotent_guard('people', key => '{id}');

-- Not valid.
CREATE TABLE invalid (a int);
INSERT INTO invalid VALUES (1), (1);
CREATE UNIQUE INDEX CONCURRENTLY invalid_a ON invalid (a);
DELETE FROM invalid WHERE ctid = '(0,1)';
SELECT * FROM refused($$ SELECT idempotent_insert('invalid', '{"a": 1}', key => '{a}') $$);
:do
SELECT idempotent_insert('invalid', '{"a": 1}', key => '{a}');
-- Deferrable.
CREATE TABLE at_end (a int UNIQUE DEFERRABLE);
SELECT * FROM refused($$ SELECT idempotent_insert('at_end', '{"a": 1}', key => '{a}') $$);
:do
SELECT idempotent_insert('at_end', '{"a": 1}', key => '{a}');
-- It excludes what overlaps.
CREATE TABLE excluding (a int, EXCLUDE (a WITH =));
SELECT * FROM refused($$ SELECT idempotent_insert('excluding', '{"a": 1}', key => '{a}') $$);
:do
SELECT idempotent_insert('excluding', '{"a": 1}', key => '{a}');

-- What no unique index can be on.
CREATE TABLE unfit (a int, j json, p point, g int GENERATED ALWAYS AS (a + 1) STORED);
SELECT * FROM refused($$ SELECT idempotent_insert('unfit', '{"a": 1, "j": 1}', key => '{a, j}') $$);
SELECT * FROM refused($$ SELECT idempotent_insert('unfit', '{"a": 1}', key => '{p}') $$);
SELECT * FROM refused($$ SELECT idempotent_insert('unfit', '{"a": 1}', key => '{g}') $$);
SELECT 'CREATE TABLE wide (' || string_agg('c' || n || ' int', ', ') || ')' FROM generate_series(1, 33) AS n \gexec
SELECT * FROM refused(format($$ SELECT idempotent_guard('wide', key => %L) $$, (SELECT array_agg('c' || n) FROM generate_series(1, 33) AS n)));

-- A partitioned table: its index has to contain the columns that it is partitioned by, and those
-- of the partitioned tables under it.
CREATE TABLE events (id int, day date, region int, v int) PARTITION BY RANGE (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') PARTITION BY LIST (region);
CREATE TABLE events_1_1 PARTITION OF events_1 FOR VALUES IN (1);
SELECT * FROM refused($$ SELECT idempotent_guard('events', key => '{id}') $$);
:do
SELECT key FROM idempotent_guard('events', key => '{id,day,region}');
INSERT INTO events VALUES (1, '2024-05-01', 1, 5), (1, '2024-05-01', 1, 5) RETURNING id;
-- There is one already.
SELECT * FROM refused($$ SELECT idempotent_guard('events', key => '{id}') $$);
SELECT * FROM refused($$ SELECT idempotent_guard('events', key => '{id, region}') $$);
-- By an expression, and with a partition that is a foreign table: there can be none.
CREATE TABLE by_month (id int, day date) PARTITION BY LIST ((extract(month FROM day)));
SELECT * FROM refused($$ SELECT idempotent_guard('by_month', key => '{id, day}') $$);
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE TABLE half (id int, day date) PARTITION BY RANGE (day);
CREATE FOREIGN TABLE half_1 PARTITION OF half DEFAULT SERVER nowhere;
SELECT * FROM refused($$ SELECT idempotent_guard('half', key => '{id, day}') $$);
DROP FOREIGN TABLE half_1;
SELECT * FROM refused($$ SELECT idempotent_guard('half', key => '{id, day}') $$);
:do
SELECT key FROM idempotent_guard('half', key => '{id, day}');

-- A column that is GENERATED ALWAYS, in all functions that write.
CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY, code text PRIMARY KEY, g int GENERATED ALWAYS AS (1) STORED);
CREATE TABLE made_in AS SELECT 5 AS id, 'a' AS code;
CREATE TABLE made_g AS SELECT 'b' AS code, 1 AS g;
SELECT * FROM refused($$ SELECT idempotent_insert('made', '{"id": 5, "code": "a"}', key => '{code}') $$);
SELECT * FROM refused($$ SELECT idempotent_insert_many('made', '[{"id": 5, "code": "a"}]', key => '{code}') $$);
SELECT * FROM refused($$ SELECT idempotent_overwrite('made', 'made_in', '{"code": "a"}') $$);
SELECT * FROM refused($$ SELECT idempotent_merge('made', 'made_in', key => '{code}') $$);
SELECT * FROM refused($$ SELECT idempotent_insert_from('made', 'made_g', key => '{code}') $$);
CALL idempotent_load('made', 'made_in', key => '{code}');
SELECT * FROM refused($$ SELECT idempotent_insert_from('made', 'made_in', key => '{code}') $$);
:do
SELECT idempotent_insert_from('made', 'made_in', key => '{code}');

-- A partition with a guard of its own: it gives way to one of the partitioned table, with its
-- options where they fit.
CREATE TABLE months (id int, day date, v int, w int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE may (id int, day date NOT NULL, v int, w int, PRIMARY KEY (id, day));
SELECT target FROM idempotent_guard('may', ignore => '{w}', on_conflict => 'quarantine');
ALTER TABLE months ATTACH PARTITION may FOR VALUES FROM ('2024-05-01') TO ('2024-06-01');
SELECT * FROM refused($$ INSERT INTO months VALUES (1, '2024-05-01', 1) $$);
:do
INSERT INTO months VALUES (1, '2024-05-01', 1), (1, '2024-05-01', 1) RETURNING id;
SELECT target, key, ignore, on_conflict, problem FROM idempotent.guards WHERE target = 'months'::regclass;
-- The guard of a partition cannot be removed alone.
SELECT * FROM refused($$ SELECT idempotent_unguard('may') $$);
:do
SELECT target FROM idempotent.guards WHERE target = 'months'::regclass;

-- A key that the clock takes part in: a retry that leaves it out goes in.
\set VERBOSITY default
CREATE TABLE log (id int, created_at timestamptz DEFAULT now(), v int, UNIQUE (id, created_at)) PARTITION BY RANGE (created_at);
CREATE TABLE log_1 PARTITION OF log DEFAULT;
SELECT key FROM idempotent_guard('log', key => '{id, created_at}');
CREATE DOMAIN moment AS timestamptz DEFAULT clock_timestamp();
CREATE TABLE log_2 (id int, day date DEFAULT CURRENT_DATE, at moment, PRIMARY KEY (id, day, at));
SELECT key FROM idempotent_guard('log_2', key => '{id, day, at}');
CREATE TABLE log_3 (id int PRIMARY KEY, created_at timestamptz DEFAULT now());
SELECT key FROM idempotent_guard('log_3');
\set VERBOSITY terse

-- Lint: each statement in a hint runs, undone each.
CREATE TABLE l_sub (day date, region int, id int, created_at timestamptz DEFAULT now()) PARTITION BY RANGE (day);
CREATE TABLE l_sub_1 PARTITION OF l_sub DEFAULT PARTITION BY RANGE (created_at);
CREATE TABLE l_sub_1_1 PARTITION OF l_sub_1 DEFAULT;
CREATE UNIQUE INDEX ON l_sub_1_1 (region, id);
CREATE TABLE l_made (id uuid DEFAULT gen_random_uuid(), ref text, at timestamptz DEFAULT now(), PRIMARY KEY (id, ref, at)) PARTITION BY RANGE (at);
CREATE TABLE l_made_1 PARTITION OF l_made DEFAULT;
CREATE TABLE l_local (at timestamp, moment timestamptz, id int, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
CREATE TABLE l_local_1 PARTITION OF l_local DEFAULT;
CREATE TABLE l_local_2 (at timestamp, id int, day int, PRIMARY KEY (at, id, day)) PARTITION BY RANGE (day);
CREATE TABLE l_local_2_1 PARTITION OF l_local_2 DEFAULT;
CREATE TABLE l_local_3 (at timestamp, moment timestamptz, id int, day int, PRIMARY KEY (at, id, day)) PARTITION BY RANGE (day);
CREATE TABLE l_local_3_1 PARTITION OF l_local_3 DEFAULT;
CREATE TABLE l_float (f float8, g int, UNIQUE (f, g)) PARTITION BY RANGE (f);
CREATE TABLE l_float_1 PARTITION OF l_float DEFAULT;
CREATE TABLE l_float_2 (f float8, g int, UNIQUE (f, g)) PARTITION BY RANGE (g);
CREATE TABLE l_float_2_1 PARTITION OF l_float_2 DEFAULT;
CREATE TABLE l_deferred (a int, b int, UNIQUE (a, b) DEFERRABLE) PARTITION BY RANGE (a);
CREATE TABLE l_deferred_1 PARTITION OF l_deferred DEFAULT;
CREATE FUNCTION l_fill() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.ref := lower(NEW.ref); NEW.at := now(); RETURN NEW; END';
CREATE TABLE l_trigger (ref text, at timestamptz, v int, UNIQUE (ref, at)) PARTITION BY LIST (ref);
CREATE TRIGGER zzz BEFORE INSERT OR UPDATE ON l_trigger FOR EACH ROW EXECUTE FUNCTION l_fill();
CREATE TABLE l_trigger_1 PARTITION OF l_trigger DEFAULT;
CREATE TABLE l_guarded (LIKE l_trigger INCLUDING ALL) PARTITION BY LIST (ref);
CREATE TRIGGER zzz BEFORE INSERT OR UPDATE ON l_guarded FOR EACH ROW EXECUTE FUNCTION l_fill();
CREATE TABLE l_guarded_1 PARTITION OF l_guarded DEFAULT;
SELECT target FROM idempotent_guard('l_guarded');
CREATE TABLE l_two (a int UNIQUE, ref text UNIQUE, at timestamptz);
CREATE TRIGGER a BEFORE INSERT ON l_two FOR EACH ROW EXECUTE FUNCTION l_fill();
CREATE TABLE l_several (a int, b int, UNIQUE (a), UNIQUE (a, b)) PARTITION BY LIST (a);
CREATE TABLE l_several_1 PARTITION OF l_several DEFAULT;
CREATE TABLE l_partial (a int, b int);
CREATE UNIQUE INDEX ON l_partial (a) WHERE b IS NULL;
CREATE TABLE l_expression (a int, b text);
CREATE UNIQUE INDEX ON l_expression (a, lower(b));
CREATE TABLE l_own_root (a int PRIMARY KEY, b int) PARTITION BY LIST (a);
CREATE TABLE l_own (a int PRIMARY KEY, b int);
SELECT target FROM idempotent_guard('l_own');
ALTER TABLE l_own_root ATTACH PARTITION l_own DEFAULT;
CREATE FUNCTION failure(sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE replace(sql, 'CONCURRENTLY', '');
    RAISE EXCEPTION 'undone' USING ERRCODE = 'ZZ000';
EXCEPTION
    WHEN SQLSTATE 'ZZ000' THEN RETURN 'runs';
    WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SET client_min_messages = error;
SELECT lint.target || ' ' || lint.rule, lint.hint,
       (SELECT string_agg(failure(found[1]), ', ')
          FROM regexp_matches(replace(lint.hint, '(…);', ''), '((?:CREATE|ALTER|DROP|REINDEX|RESET|SELECT) [^;…]*;)', 'g') AS found)
  FROM pg_class AS class, idempotent_lint(class.oid) AS lint
 WHERE class.relnamespace = 'hints'::regnamespace AND class.relkind IN ('r', 'p') AND class.relname ~ '^l_'
 ORDER BY class.relname COLLATE "C", lint.rule, lint.hint;

DROP SCHEMA hints CASCADE;
DROP SERVER nowhere;
DROP FOREIGN DATA WRAPPER nowhere;
