-- An attack: bob, a plain role, makes a table whose definition calls a function of his
-- wherever a definition can, and waits for a superuser to look at it. The function makes
-- him superuser. Whoever only looks must run nothing of his, as with core's own catalogs.
\set SHOW_CONTEXT never
\set VERBOSITY terse
CREATE ROLE regress_bob;
CREATE SCHEMA bobs AUTHORIZATION regress_bob;
SET ROLE regress_bob;
CREATE FUNCTION bobs.doit() RETURNS void LANGUAGE plpgsql AS $$ BEGIN ALTER ROLE regress_bob SUPERUSER; END $$;
-- Bob himself may call it to his heart's content.
CREATE FUNCTION bobs.evil(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE WARNING 'bob''s function runs as a superuser';
        PERFORM bobs.doit();
    END IF;
    RETURN $1;
END $$;
-- The same by way of a function that the planner inlines.
CREATE FUNCTION bobs.inlined(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT bobs.evil($1)';

-- The issue's: the condition of a unique index.
CREATE TABLE bobs.predicate (id int PRIMARY KEY, v int);
CREATE UNIQUE INDEX ON bobs.predicate (v) WHERE bobs.evil(1) > 0;
CREATE UNIQUE INDEX ON bobs.predicate ((v + 1)) WHERE bobs.inlined(1) > 0 AND id > 0;
-- An expression of one.
CREATE TABLE bobs.expression (id int PRIMARY KEY, v int);
CREATE UNIQUE INDEX ON bobs.expression ((v + bobs.evil(1)));
CREATE INDEX ON bobs.expression ((v + bobs.inlined(1)));
-- Defaults, of columns and of domains; a domain's condition.
CREATE DOMAIN bobs.number AS int DEFAULT bobs.evil(1) CHECK (VALUE > bobs.evil(0) - 1);
CREATE TABLE bobs.defaults (
    id int PRIMARY KEY DEFAULT bobs.evil(1),
    v  int DEFAULT bobs.inlined(1) + floor(random() * 0)::int,
    n  bobs.number,
    at timestamptz DEFAULT now() + bobs.evil(1) * interval '1 day'
);
-- A CHECK, a generated column, a policy, a trigger's condition, a rule.
CREATE TABLE bobs.conditions (
    id int PRIMARY KEY,
    v  int CHECK (v > bobs.evil(0)),
    g  int GENERATED ALWAYS AS (v + bobs.evil(1)) STORED
);
CREATE POLICY his ON bobs.conditions USING (bobs.evil(1) > 0) WITH CHECK (bobs.inlined(1) > 0);
ALTER TABLE bobs.conditions ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION bobs.fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := bobs.evil(1); RETURN NEW; END $$;
CREATE TRIGGER fill BEFORE INSERT ON bobs.conditions FOR EACH ROW WHEN (bobs.evil(1) > 0) EXECUTE FUNCTION bobs.fill();
CREATE TABLE bobs.ruled (id int PRIMARY KEY, v int);
CREATE RULE his AS ON UPDATE TO bobs.ruled WHERE bobs.evil(1) > 0 DO INSTEAD NOTHING;
-- Expressions and bounds of partitions.
CREATE TABLE bobs.parted (id int NOT NULL DEFAULT bobs.evil(1), v int) PARTITION BY RANGE ((id + bobs.evil(0)));
CREATE TABLE bobs.parted_1 PARTITION OF bobs.parted FOR VALUES FROM (bobs.evil(0)) TO (bobs.evil(1000));
CREATE UNIQUE INDEX ON bobs.parted_1 (id);
CREATE TABLE bobs.tree (id int, v int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE bobs.tree_1 PARTITION OF bobs.tree FOR VALUES FROM (0) TO (1000);
CREATE UNIQUE INDEX ON bobs.tree_1 (v) WHERE bobs.evil(1) > 0;

SELECT key FROM idempotent_guard('bobs.predicate', key => '{id}', on_conflict => 'quarantine');
SELECT key FROM idempotent_guard('bobs.expression');
SELECT key FROM idempotent_guard('bobs.defaults', key => '{id}');
SELECT key FROM idempotent_guard('bobs.conditions');
SELECT key FROM idempotent_guard('bobs.tree');
-- Conflicts, for a superuser to resolve.
INSERT INTO bobs.predicate VALUES (1, 1);
INSERT INTO bobs.predicate VALUES (1, 2);
RESET ROLE;

-- A backend that knows nothing yet of the tables, and looks at them as superuser.
\c -
\set SHOW_CONTEXT never
\set VERBOSITY terse
SELECT target, key, arbiter, compared, problem FROM idempotent.guards ORDER BY target::text COLLATE "C";
SELECT rolsuper FROM pg_roles WHERE rolname = 'regress_bob';
\c -
SELECT key FROM pg_trigger AS t, idempotent.guard_options(t.tgrelid, t.oid)
 WHERE t.tgrelid = 'bobs.predicate'::regclass;
\c -
SELECT class.oid::regclass, lint.rule, lint.message
  FROM pg_class AS class, idempotent_lint(class.oid) AS lint
 WHERE class.relnamespace = 'bobs'::regnamespace AND class.relkind IN ('r', 'p')
 ORDER BY class.relname, lint.rule, lint.message;
SELECT rolsuper FROM pg_roles WHERE rolname = 'regress_bob';
\c -
SELECT target, key, differences FROM idempotent.conflicts;
SELECT idempotent_resolve(id, 'keep_stored') FROM idempotent.conflicts;
SELECT rolsuper FROM pg_roles WHERE rolname = 'regress_bob';
-- What creates and drops triggers runs nothing either.
\c -
SELECT key FROM idempotent_guard('bobs.predicate', key => '{id}');
SELECT key FROM idempotent_guard('bobs.parted', key => '{id}');
SELECT idempotent_unguard('bobs.defaults');
SELECT idempotent_unguard('bobs.tree');
SELECT rolsuper FROM pg_roles WHERE rolname = 'regress_bob';

-- Bob, looking at his own.
SET ROLE regress_bob;
SELECT target, key, problem FROM idempotent.guards ORDER BY target::text COLLATE "C";
RESET ROLE;

SET client_min_messages = warning;
DROP SCHEMA bobs CASCADE;
DROP ROLE regress_bob;
