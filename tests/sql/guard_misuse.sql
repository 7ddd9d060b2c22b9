-- What cannot be guarded, triggers that were made by hand, and made wrong: refused in words, with the SQLSTATE of each.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
-- Command tags say how many rows went in.
\set QUIET off
CREATE SCHEMA misuse;
SET search_path = misuse, public;
CREATE TABLE t (id int PRIMARY KEY, code text, v int, seen jsonb, digest bytea, made int GENERATED ALWAYS AS (v + 1) STORED, made_doc jsonb GENERATED ALWAYS AS ('{}') STORED);

-- Arguments.
SELECT idempotent_guard(NULL);
:state
SELECT idempotent_guard('nowhere');
:state
SELECT idempotent_guard(0);
:state
SELECT idempotent_guard('t', '{}');
:state
SELECT idempotent_guard('t', '{idd}');
:state
SELECT idempotent_guard('t', '{ID}');
SELECT idempotent_guard('t', '{NULL}');
:state
SELECT idempotent_guard('t', '{id,id}');
:state
SELECT idempotent_guard('t', '{id,code}');
:state
SELECT idempotent_guard('t', '{{id},{code}}');
:state
SELECT idempotent_guard('t', '{ctid}');
:state
SELECT idempotent_guard('t', compare => '{}');
:state
SELECT idempotent_guard('t', compare => '{v}', ignore => '{code}');
:state
SELECT idempotent_guard('t', compare => '{id}');
:state
SELECT idempotent_guard('t', ignore => '{id}');
:state
SELECT idempotent_guard('t', ignore => '{vv}');
:state
SELECT idempotent_guard('t', compare => '{vv}');
:state
SELECT idempotent_guard('t', compare => '{v,v}');
:state
SELECT idempotent_guard('t', compare => '{made}');
:state
SELECT idempotent_guard('t', on_conflict => 'report');
:state
SELECT idempotent_guard('t', on_conflict => 'Error');
:state
SELECT idempotent_guard('t', on_conflict => NULL);
:state
SELECT idempotent_guard('t', remember => 'gone');
:state
SELECT idempotent_guard('t', remember => 'code');
:state
SELECT idempotent_guard('t', remember => 'id');
:state
SELECT idempotent_guard('t', remember => 'made_doc');
:state
SELECT idempotent_guard('t', remember => '');
:state
SELECT idempotent_guard('t', compare => '{seen}', remember => 'seen');
:state
CREATE TABLE document_key (id jsonb PRIMARY KEY, v int);
SELECT idempotent_guard('document_key', remember => 'id');
:state
-- Nothing of that left a guard behind.
SELECT count(*) FROM idempotent.guards;
SELECT idempotent_unguard('t');
SELECT idempotent_unguard(NULL);
:state
SELECT idempotent_unguard(0);
:state

-- What is no table.
CREATE VIEW a_view AS SELECT * FROM t;
CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM t;
CREATE SEQUENCE a_sequence;
CREATE TYPE a_type AS (id int);
SELECT idempotent_guard('a_view');
:state
SELECT idempotent_guard('a_matview');
:state
SELECT idempotent_guard('a_sequence');
:state
SELECT idempotent_guard('a_type');
:state
SELECT idempotent_guard('t_pkey');
:state
SELECT idempotent_unguard('a_view');
:state
SELECT idempotent_guard('pg_catalog.pg_class');
:state
SELECT idempotent_guard('information_schema.sql_features');
:state
SELECT idempotent_guard('idempotent.conflict_records');
:state
CREATE TABLE whole (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (10);
SELECT idempotent_guard('part');
:state

-- By hand, right: lists of SQL identifiers.
CREATE TABLE hand (id int, "Second Key" int, "Updated At" int, "a,b" int, v int, w int, seen jsonb, PRIMARY KEY (id, "Second Key"));
CREATE TRIGGER my_guard BEFORE INSERT OR UPDATE ON hand FOR EACH ROW
    EXECUTE FUNCTION idempotent_guard_trigger('key = "Second Key",ID', 'ignore=  "Updated At", "a,b" ', 'on_conflict=error', 'remember=SEEN');
SELECT * FROM idempotent.guards;
INSERT INTO hand VALUES (1, 1, 1, 1, 1, 1), (1, 1, 2, 2, 1, 1);
INSERT INTO hand VALUES (1, 1, 1, 1, 1, 2);
SELECT * FROM hand;
-- Another guard beside it.
SELECT idempotent_guard('hand');
:state
SELECT idempotent_unguard('hand');
SELECT target, trigger, key FROM idempotent_guard('hand');
SELECT idempotent_unguard('hand');
-- Without arguments: all defaults, when it fires.
CREATE TRIGGER plain_guard BEFORE INSERT ON hand FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
SELECT trigger, key, arbiter, compared, compare, ignore, on_conflict, remember, problem FROM idempotent.guards;
INSERT INTO hand VALUES (1, 1, 1, 1, 1, 1);
:state
INSERT INTO hand SELECT * FROM hand;
DROP TRIGGER plain_guard ON hand;
-- A condition is a condition.
CREATE TRIGGER sometimes BEFORE INSERT ON hand FOR EACH ROW WHEN (NEW.v > 0) EXECUTE FUNCTION idempotent_guard_trigger('ignore=seen');
INSERT INTO hand VALUES (1, 1, 1, 1, 1, 1);
INSERT INTO hand VALUES (1, 1, 1, 1, 0, 1);
:state
DROP TRIGGER sometimes ON hand;

-- By hand, wrong.
CREATE TABLE wrong (id int PRIMARY KEY, v int, seen jsonb);
INSERT INTO wrong VALUES (1, 1);
CREATE TRIGGER w AFTER INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
INSERT INTO wrong VALUES (2, 2);
:state
SELECT target, trigger, problem FROM idempotent.guards WHERE target = 'wrong'::regclass;
DROP TRIGGER w ON wrong;
CREATE TRIGGER w BEFORE INSERT ON wrong FOR EACH STATEMENT EXECUTE FUNCTION idempotent_guard_trigger();
INSERT INTO wrong VALUES (2, 2);
:state
SELECT target, trigger, problem FROM idempotent.guards WHERE target = 'wrong'::regclass;
DROP TRIGGER w ON wrong;
CREATE TRIGGER w AFTER INSERT ON wrong FOR EACH STATEMENT EXECUTE FUNCTION idempotent_guard_trigger();
INSERT INTO wrong VALUES (2, 2);
:state
DROP TRIGGER w ON wrong;
CREATE TRIGGER w BEFORE UPDATE ON wrong FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
INSERT INTO wrong VALUES (2, 2);
UPDATE wrong SET v = 2;
:state
SELECT target, trigger, problem FROM idempotent.guards WHERE target = 'wrong'::regclass;
DROP TRIGGER w ON wrong;
CREATE TRIGGER w BEFORE DELETE ON wrong FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
DELETE FROM wrong;
:state
DROP TRIGGER w ON wrong;
CREATE TRIGGER w BEFORE INSERT OR DELETE ON wrong FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
INSERT INTO wrong VALUES (3, 3);
:state
DELETE FROM wrong;
:state
DROP TRIGGER w ON wrong;
CREATE TRIGGER w BEFORE TRUNCATE ON wrong FOR EACH STATEMENT EXECUTE FUNCTION idempotent_guard_trigger();
TRUNCATE wrong;
:state
DROP TRIGGER w ON wrong;
CREATE TRIGGER w INSTEAD OF INSERT ON a_view FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
INSERT INTO a_view (id) VALUES (3);
:state
DROP TRIGGER w ON a_view;
CREATE CONSTRAINT TRIGGER w AFTER INSERT ON wrong DEFERRABLE FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
INSERT INTO wrong VALUES (3, 3);
:state
DROP TRIGGER w ON wrong;
-- remember, and partitioned tables, need UPDATE too.
CREATE TRIGGER w BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('remember=seen');
INSERT INTO wrong VALUES (3, 3);
:state
SELECT target, trigger, problem FROM idempotent.guards WHERE target = 'wrong'::regclass;
DROP TRIGGER w ON wrong;
CREATE TRIGGER w BEFORE INSERT ON whole FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
INSERT INTO whole VALUES (1, 1);
:state
DROP TRIGGER w ON whole;
CREATE TRIGGER w BEFORE INSERT OR UPDATE ON part FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
INSERT INTO whole VALUES (1, 1);
:state
INSERT INTO part VALUES (1, 1);
SELECT idempotent_unguard('part');
INSERT INTO whole VALUES (1, 1);
-- UPDATE of some columns is not enough for remember.
CREATE TRIGGER w BEFORE INSERT OR UPDATE OF v ON wrong FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('remember=seen');
INSERT INTO wrong VALUES (5, 5);
:state
DROP TRIGGER w ON wrong;

-- Options.
\set make 'CREATE TRIGGER w BEFORE INSERT OR UPDATE ON wrong FOR EACH ROW EXECUTE FUNCTION'
:make idempotent_guard_trigger('kee=id');
INSERT INTO wrong VALUES (9, 9);
:state
SELECT trigger, key, on_conflict, problem FROM idempotent.guards WHERE target = 'wrong'::regclass;
DROP TRIGGER w ON wrong;
:make idempotent_guard_trigger('id');
INSERT INTO wrong VALUES (9, 9);
:state
DROP TRIGGER w ON wrong;
:make idempotent_guard_trigger('');
INSERT INTO wrong VALUES (9, 9);
DROP TRIGGER w ON wrong;
:make idempotent_guard_trigger('key=');
INSERT INTO wrong VALUES (9, 9);
:state
DROP TRIGGER w ON wrong;
:make idempotent_guard_trigger('key=id,');
INSERT INTO wrong VALUES (9, 9);
:state
DROP TRIGGER w ON wrong;
:make idempotent_guard_trigger('key={id}');
INSERT INTO wrong VALUES (9, 9);
:state
DROP TRIGGER w ON wrong;
:make idempotent_guard_trigger('key="id');
INSERT INTO wrong VALUES (9, 9);
:state
DROP TRIGGER w ON wrong;
:make idempotent_guard_trigger('key=id v');
INSERT INTO wrong VALUES (9, 9);
:state
DROP TRIGGER w ON wrong;
:make idempotent_guard_trigger('key=id', 'key=v');
INSERT INTO wrong VALUES (9, 9);
:state
DROP TRIGGER w ON wrong;
:make idempotent_guard_trigger('compare=v', 'ignore=seen');
INSERT INTO wrong VALUES (9, 9);
:state
SELECT trigger, key, on_conflict, problem FROM idempotent.guards WHERE target = 'wrong'::regclass;
DROP TRIGGER w ON wrong;
:make idempotent_guard_trigger('compare=v, v');
INSERT INTO wrong VALUES (9, 9);
:state
DROP TRIGGER w ON wrong;
:make idempotent_guard_trigger('compare=nothing');
INSERT INTO wrong VALUES (9, 9);
:state
DROP TRIGGER w ON wrong;
:make idempotent_guard_trigger('on_conflict=report');
INSERT INTO wrong VALUES (9, 9);
:state
DROP TRIGGER w ON wrong;
:make idempotent_guard_trigger('on_conflict=ignore');
INSERT INTO wrong VALUES (9, 9);
:state
DROP TRIGGER w ON wrong;
:make idempotent_guard_trigger('remember=seen, v');
INSERT INTO wrong VALUES (9, 9);
:state
DROP TRIGGER w ON wrong;
:make idempotent_guard_trigger('remember=v');
INSERT INTO wrong VALUES (9, 9);
:state
DROP TRIGGER w ON wrong;
-- A table without a key: found out when it fires.
CREATE TABLE keyless (v int);
CREATE TRIGGER w BEFORE INSERT ON keyless FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
INSERT INTO keyless VALUES (1);
:state
SELECT key, problem FROM idempotent.guards WHERE target = 'keyless'::regclass;
-- Two guards on one table: none, until one of them is gone or disabled.
CREATE TRIGGER w1 BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('compare=v');
CREATE TRIGGER w2 BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('compare=seen');
SELECT trigger, compared, problem FROM idempotent.guards WHERE target = 'wrong'::regclass ORDER BY 1;
INSERT INTO wrong VALUES (10, 1, '1');
:state
ALTER TABLE wrong DISABLE TRIGGER w1;
SELECT trigger, compared, problem FROM idempotent.guards WHERE target = 'wrong'::regclass ORDER BY 1;
INSERT INTO wrong VALUES (10, 1, '1'), (10, 1, '1');
INSERT INTO wrong VALUES (10, 2, '1');
INSERT INTO wrong VALUES (10, 1, '2');
:state
SELECT idempotent_guard('wrong');
:state
SELECT idempotent_unguard('wrong');
SELECT trigger, compared FROM idempotent.guards WHERE target = 'wrong'::regclass ORDER BY 1;
-- A trigger of that name that is no guard.
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER zz_idempotent_guard BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT target, key FROM idempotent_guard('wrong');
:state
SELECT tgname, tgfoid::regproc FROM pg_trigger WHERE tgrelid = 'wrong'::regclass;
DROP TRIGGER zz_idempotent_guard ON wrong;

-- A trigger that fires after the guard: a warning.
CREATE TRIGGER zzz_late BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT key FROM idempotent_guard('wrong');
DROP TRIGGER zzz_late ON wrong;
-- Others are none of its business.
CREATE TRIGGER zzz_after AFTER INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER zzz_statement BEFORE INSERT ON wrong FOR EACH STATEMENT EXECUTE FUNCTION nothing();
CREATE TRIGGER zzz_update BEFORE UPDATE ON wrong FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER aaa_early BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT key FROM idempotent_guard('wrong');

-- A table with rules: they rewrite before any trigger sees a row.
CREATE TABLE ruled (id int PRIMARY KEY, v int);
SELECT key FROM idempotent_guard('ruled');
CREATE RULE log AS ON INSERT TO ruled DO ALSO INSERT INTO wrong VALUES (NEW.id, NEW.v) ON CONFLICT DO NOTHING;
INSERT INTO ruled VALUES (30, 1), (30, 1);
INSERT INTO ruled VALUES (30, 2);
-- Inheritance: a child has its own rows, and no guard.
CREATE TABLE parent (id int PRIMARY KEY, v int);
SELECT key FROM idempotent_guard('parent');
CREATE TABLE child () INHERITS (parent);
INSERT INTO child VALUES (1, 1), (1, 2);
INSERT INTO parent VALUES (1, 3), (1, 3);
SELECT count(*) FROM idempotent.guards WHERE target IN ('parent'::regclass, 'child'::regclass);
-- A typed table.
CREATE TABLE typed OF a_type (PRIMARY KEY (id));
SELECT key FROM idempotent_guard('typed');
INSERT INTO typed VALUES (1), (1);
-- A view's INSERT is one into its table.
SELECT key FROM idempotent_guard('t', ignore => '{seen,digest}');
CREATE VIEW writes AS SELECT id, v FROM t;
INSERT INTO writes VALUES (1, 1), (1, 1);
INSERT INTO writes VALUES (1, 2);

SET client_min_messages = warning;
DROP SCHEMA misuse CASCADE;
SELECT count(*) FROM idempotent.guards;
