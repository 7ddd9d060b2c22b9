-- Requests with effects outside of the database: begin, advance, finish, abandon, purge.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA requests;
SET search_path = requests, public;
-- What a role sees of its requests, without what changes from run to run.
CREATE VIEW mine AS
SELECT key, scope, status, recovery_point, request, response,
       role::regrole = (quote_ident(current_user))::regrole AS own,
       lease_until IS NOT NULL AS leased, completed_at IS NOT NULL AS finished
FROM idempotent.request_records;
-- A request whose lease has run out, and one that has expired, without waiting for the clock.
CREATE FUNCTION lapse(request_key text) RETURNS void LANGUAGE sql AS
$$ UPDATE idempotent.request_records SET lease_until = clock_timestamp() - interval '1 s' WHERE key = request_key $$;
CREATE FUNCTION expire(request_key text) RETURNS void LANGUAGE sql AS
$$ UPDATE idempotent.request_records SET (expires_at, purge_after) = (SELECT t, t FROM (SELECT clock_timestamp() - interval '1 s') AS clock (t)) WHERE key = request_key $$;

-- What an error says, without the numbers of attempts and the time.
CREATE FUNCTION refused(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE det text; hin text;
BEGIN
    EXECUTE call;
    RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS det = PG_EXCEPTION_DETAIL, hin = PG_EXCEPTION_HINT;
    RETURN sqlstate || ' ' || regexp_replace(sqlerrm, 'attempt \d+', 'attempt N')
        || E'\n' || regexp_replace(regexp_replace(det, '(A|a)ttempt \d+', '\1ttempt N'), 'until .*,', 'until T,') || E'\n' || regexp_replace(hin, '\d+ seconds', 'N seconds');
END $$;

-- From begin to replay.
SELECT status AS came, attempt AS first, recovery_point, response FROM idempotent_request_begin('pay', '{"amount": 10, "to": {"iban": ["x", 1]}}') \gset
\echo :came :{?recovery_point} :{?response}
SELECT * FROM mine WHERE key = 'pay';
SELECT idempotent_request_advance('pay', :first, 'charged');
SELECT idempotent_request_advance('pay', :first, 'mailed');
SELECT * FROM mine WHERE key = 'pay';
SELECT idempotent_request_finish('pay', :first, '{"id": 7}');
SELECT * FROM mine WHERE key = 'pay';
SELECT status, attempt = :first AS same, recovery_point, response FROM idempotent_request_begin('pay', '{"to": {"iban": ["x", 1]}, "amount": 10.00}');
-- Once more, with the same answer: nothing happens. Another answer is refused.
SELECT xmin AS before FROM idempotent.request_records WHERE key = 'pay' \gset
SELECT idempotent_request_finish('pay', :first, '{"id": 7.0}');
SELECT xmin::text = :'before' AS untouched FROM idempotent.request_records WHERE key = 'pay';
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'pay', :first, '{"id": 8}'));
SELECT refused(format('SELECT idempotent_request_advance(%L, %s, %L)', 'pay', :first, 'again'));
SELECT refused(format('SELECT idempotent_request_abandon(%L, %s)', 'pay', :first));
SELECT response FROM mine WHERE key = 'pay';

-- Another request under the key: the fields that differ are named, whatever the state of the first.
SELECT * FROM idempotent_request_begin('pay', '{"amount": 11, "to": {"iban": ["x", 1]}}');
:state
SELECT * FROM idempotent_request_begin('pay', '{"amount": 10, "to": {"iban": ["x", 2]}}');
SELECT * FROM idempotent_request_begin('pay', '{"amount": 10, "to": {"iban": ["x", 1, null]}}');
SELECT * FROM idempotent_request_begin('pay', '{"amount": 10, "to": {"iban": ["x", "1"]}}');
SELECT * FROM idempotent_request_begin('pay', '{"amount": 10, "to": {"iban": ["x", 1]}, "note": null}');
SELECT * FROM idempotent_request_begin('pay', '{"amount": 10}');
SELECT * FROM idempotent_request_begin('pay', '{"sum": 10, "zu": 1, "to": {}}');
SELECT * FROM idempotent_request_begin('pay', '{}');
SELECT * FROM idempotent_request_begin('pay', '[{"amount": 10, "to": {"iban": ["x", 1]}}]');
:state
SELECT * FROM idempotent_request_begin('pay', 'null');
SELECT FROM idempotent_request_begin('odd', '{"a%s\"b": 1, "": 2, "ä": 3}');
SELECT * FROM idempotent_request_begin('odd', '{"a%s\"b": 2, "": 1, "ä": 1}');
-- Every field of the error.
DO $$
DECLARE sch text; tab text; col text; con text; det text; hin text;
BEGIN
    PERFORM idempotent_request_begin('pay', '{"amount": 12}');
EXCEPTION WHEN SQLSTATE '23I02' THEN
    GET STACKED DIAGNOSTICS sch = SCHEMA_NAME, tab = TABLE_NAME, col = COLUMN_NAME, con = CONSTRAINT_NAME, det = PG_EXCEPTION_DETAIL, hin = PG_EXCEPTION_HINT;
    RAISE INFO '%: schema %, table %, column "%", constraint %', sqlerrm, sch, tab, col, con;
    RAISE INFO '%', det;
    RAISE INFO '%', hin;
END $$;

-- While an attempt holds it. A mismatch outranks that.
SELECT attempt AS first FROM idempotent_request_begin('held', '{"a": 1}') \gset
DO $$
DECLARE sch text; tab text; col text; con text; det text; hin text; at timestamptz;
BEGIN
    PERFORM idempotent_request_begin('held', '{"a": 1}');
EXCEPTION WHEN SQLSTATE '55I01' THEN
    GET STACKED DIAGNOSTICS sch = SCHEMA_NAME, tab = TABLE_NAME, col = COLUMN_NAME, con = CONSTRAINT_NAME, det = PG_EXCEPTION_DETAIL, hin = PG_EXCEPTION_HINT;
    RAISE INFO '%: schema %, table %, column "%", constraint %', sqlerrm, sch, tab, col, con;
    SELECT lease_until INTO at FROM idempotent.request_records WHERE key = 'held';
    RAISE INFO '%', regexp_replace(det, 'until .*,', 'until T,');
    RAISE INFO 'the hint gives the seconds that are left: %', substring(hin FROM 'after (\d+) seconds')::int BETWEEN 50 AND 60;
    RAISE INFO 'the time is right: %', substring(det FROM 'until (.*), unless')::timestamptz - at BETWEEN '-1 ms' AND '1 ms';
    RAISE INFO '%', regexp_replace(hin, '\d+', 'N');
END $$;
SELECT * FROM idempotent_request_begin('held', '{"a": 2}');
:state
-- lock_timeout does not matter to a lease: nobody waits for a minute.
SET lock_timeout = '10 s';
SELECT refused($$SELECT idempotent_request_begin('held', '{"a": 1}')$$);
RESET lock_timeout;

-- The lease runs out: resumed, with a new attempt, from the recovery point. The old holder is fenced off.
SELECT idempotent_request_advance('held', :first, 'half way');
SELECT lapse('held');
SELECT status AS came, attempt > :first AS newer, attempt AS second, recovery_point, response FROM idempotent_request_begin('held', '{"a": 1.0}') \gset
\echo :came :newer :recovery_point
SELECT refused($$SELECT idempotent_request_begin('held', '{"a": 1}')$$);
SELECT refused(format('SELECT idempotent_request_advance(%L, %s, %L)', 'held', :first, 'x'));
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'held', :first, '1'));
SELECT refused(format('SELECT idempotent_request_abandon(%L, %s)', 'held', :first));
SELECT status, recovery_point, response, leased FROM mine WHERE key = 'held';
-- A lease that ran out and that nobody took over is as good as ever.
SELECT lapse('held');
SELECT idempotent_request_advance('held', :second, 'almost');
SELECT status, recovery_point, leased FROM mine WHERE key = 'held';
SELECT refused($$SELECT idempotent_request_begin('held', '{"a": 1}')$$) LIKE '55I01 request key "held" is in progress%' AS renewed;
SELECT lapse('held');
SELECT idempotent_request_finish('held', :second, '"done"');
SELECT status, attempt = :second AS same, recovery_point, response FROM idempotent_request_begin('held', '{"a": 1}');
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'held', :first, '"done"'));

-- Abandoned: the key is free for any request.
SELECT attempt AS first FROM idempotent_request_begin('given up', '{"a": 1}') \gset
SELECT idempotent_request_advance('given up', :first, 'x');
SELECT idempotent_request_abandon('given up', :first);
SELECT idempotent_request_abandon('given up', :first);
-- An attempt that never was: the one that has abandoned the request is named.
SELECT refused($$SELECT idempotent_request_abandon('given up', 1)$$);
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'given up', :first, '1'));
SELECT refused(format('SELECT idempotent_request_advance(%L, %s, %L)', 'given up', :first, '1'));
SELECT status, recovery_point, request, response, leased FROM mine WHERE key = 'given up';
SELECT status AS came, attempt > :first AS newer, attempt AS second, recovery_point, response FROM idempotent_request_begin('given up', '{"a": 2}') \gset
\echo :came :newer :{?recovery_point} :{?response}
SELECT * FROM mine WHERE key = 'given up';
SELECT refused(format('SELECT idempotent_request_abandon(%L, %s)', 'given up', :first));

-- No such request.
SELECT idempotent_request_advance('nobody', 0, 'x');
:state
SELECT idempotent_request_finish('nobody', -1, 'null');
:state
SELECT idempotent_request_abandon('nobody', 9223372036854775807);
:state
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L, %L)', 'held', :second, '"done"', 'another scope'));

-- The scope: keys are unique in it. It may be empty.
SELECT status FROM idempotent_request_begin('pay', '{"amount": 99}', scope => 'tenant 2');
SELECT status FROM idempotent_request_begin('pay', '{"amount": 98}', 'tenant 3');
SELECT scope, status, request FROM mine WHERE key = 'pay' ORDER BY scope;
-- Key and scope are not run together.
SELECT status FROM idempotent_request_begin('ab', '1', scope => 'c');
SELECT status FROM idempotent_request_begin('a', '2', scope => 'bc');
SELECT status FROM idempotent_request_begin('abc', '3');
-- Nothing is trimmed or folded.
SELECT status FROM idempotent_request_begin(' pay', '{"amount": 97}');
SELECT status FROM idempotent_request_begin('PAY', '{"amount": 96}');
SELECT status FROM idempotent_request_begin('pay ', '{"amount": 95}');

-- Lengths.
SELECT * FROM idempotent_request_begin('', '1');
:state
SELECT * FROM idempotent_request_begin(repeat('x', 256), '1');
:state
SELECT * FROM idempotent_request_begin(repeat('ä', 256), '1');
SELECT status FROM idempotent_request_begin('k', '1');
SELECT status FROM idempotent_request_begin(repeat('x', 255), '1');
SELECT status FROM idempotent_request_begin(repeat('ä', 255), '1');
-- Even those that do not compress.
SELECT status FROM (SELECT string_agg(chr(65536 + i * i), '' ORDER BY i) AS a, string_agg(chr(131072 + i * i), '' ORDER BY i) AS b FROM generate_series(1, 255) i) long,
    LATERAL idempotent_request_begin(a, '1', scope => b);
SELECT char_length(key), octet_length(key), octet_length(scope) FROM idempotent.request_records WHERE octet_length(key) > 200 ORDER BY 1, 2;
SELECT * FROM idempotent_request_begin('k', '1', scope => repeat('x', 256));
:state
SELECT status FROM idempotent_request_begin('k', '1', scope => repeat('😀', 255));
SELECT idempotent_request_advance('', 1, 'x');
SELECT idempotent_request_finish(repeat('x', 256), 1, '1');
SELECT idempotent_request_abandon('', 1);
:state
-- Percent signs, quotes and line breaks are only characters.
SELECT status FROM idempotent_request_begin(E'%s "%n"\n''\\', '1');
SELECT * FROM idempotent_request_begin(E'%s "%n"\n''\\', '2');

-- NULLs.
SELECT * FROM idempotent_request_begin(NULL, '1');
:state
SELECT * FROM idempotent_request_begin('n', NULL);
:state
SELECT * FROM idempotent_request_begin('n', '1', scope => NULL);
SELECT * FROM idempotent_request_begin('n', '1', ttl => NULL);
SELECT * FROM idempotent_request_begin('n', '1', lease => NULL);
:state
SELECT idempotent_request_advance(NULL, 1, 'x');
SELECT idempotent_request_advance('n', NULL, 'x');
SELECT idempotent_request_advance('n', 1, NULL);
SELECT idempotent_request_advance('n', 1, 'x', NULL);
:state
SELECT idempotent_request_finish(NULL, 1, '1');
SELECT idempotent_request_finish('n', NULL, '1');
SELECT idempotent_request_finish('n', 1, NULL);
SELECT idempotent_request_finish('n', 1, '1', NULL);
:state
SELECT idempotent_request_abandon(NULL, 1);
SELECT idempotent_request_abandon('n', NULL);
SELECT idempotent_request_abandon('n', 1, NULL);
:state
SELECT idempotent_purge(NULL);
:state
SELECT count(*) FROM mine WHERE key = 'n';

-- ttl and lease.
SELECT * FROM idempotent_request_begin('n', '1', ttl => '0');
:state
SELECT * FROM idempotent_request_begin('n', '1', ttl => '-1 day');
SELECT * FROM idempotent_request_begin('n', '1', lease => '0 s');
SELECT * FROM idempotent_request_begin('n', '1', lease => '-1 microsecond');
SELECT * FROM idempotent_request_begin('n', '1', lease => '10000000 years');
SELECT * FROM idempotent_request_begin('n', '1', ttl => '290001 years');
SELECT * FROM idempotent_execute('n', 'SELECT 1', ttl => '10000000 years');
SELECT * FROM idempotent_request_begin('n', '{"a": 1}', ignore => '{}');
:state
SELECT * FROM idempotent_request_begin('n', '1', ttl => '1 day -24 hours');
SELECT * FROM idempotent_request_begin('n', '1', ttl => '400000 years');
:state
SELECT count(*) FROM mine WHERE key = 'n';
SELECT status FROM idempotent_request_begin('bounds', '1', ttl => '1000 years', lease => '90 minutes');
SELECT expires_at = started_at + ttl, lease_until - started_at = '90 minutes', started_at <= clock_timestamp(), ttl, lease FROM idempotent.request_records WHERE key = 'bounds';
-- By default a day, and a minute.
SELECT expires_at - started_at, lease_until - started_at, ttl, lease FROM idempotent.request_records WHERE key = 'given up';

-- The ttl counts from the answer on.
SELECT attempt AS first FROM idempotent_request_begin('ttl', '1', ttl => '2 hours') \gset
UPDATE idempotent.request_records SET expires_at = expires_at - interval '1 hour' WHERE key = 'ttl';
SELECT idempotent_request_finish('ttl', :first, '1');
SELECT expires_at - completed_at, completed_at >= started_at FROM idempotent.request_records WHERE key = 'ttl';
-- It is the last attempt's.
SELECT attempt AS first FROM idempotent_request_begin('ttl 2', '1', ttl => '2 hours', lease => '1 s') \gset
SELECT lapse('ttl 2');
SELECT status FROM idempotent_request_begin('ttl 2', '1', ttl => '3 hours', lease => '2 s');
SELECT ttl, lease, expires_at - started_at, lease_until - started_at FROM idempotent.request_records WHERE key = 'ttl 2';

-- Falsy requests and answers are requests and answers; each is only equal to itself.
CREATE TABLE falsy (n int PRIMARY KEY, value jsonb);
INSERT INTO falsy VALUES (1, 'null'), (2, 'false'), (3, '0'), (4, '""'), (5, '[]'), (6, '{}'), (7, '[null]'), (8, '{"": null}'), (9, '[[]]'), (10, '-0.0');
SELECT n, value, status FROM falsy, LATERAL idempotent_request_begin('falsy ' || n, value) ORDER BY n;
SELECT n, value, idempotent_request_finish('falsy ' || n, attempt, value) FROM falsy JOIN idempotent.request_records ON key = 'falsy ' || n ORDER BY n;
SELECT n, status, response, response = value AS same FROM falsy, LATERAL idempotent_request_begin('falsy ' || n, value) ORDER BY n;
-- Rows by columns: is the one's key refused for the other's request? Only 0 and -0.0 are equal.
SELECT a.n, string_agg(CASE split_part(refused(format('SELECT idempotent_request_begin(%L, %L)', 'falsy ' || a.n, b.value)), ' ', 1)
                       WHEN '23I02' THEN '.' WHEN 'not' THEN '=' ELSE '?' END, '' ORDER BY b.n)
FROM falsy a, falsy b GROUP BY a.n ORDER BY a.n;
-- A stored answer that is JSON null is one: no other comes in its place.
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'falsy 1', attempt, 'false')) FROM idempotent.request_records WHERE key = 'falsy 1';

-- Same or not: the order of fields, blanks, numbers' digits and escapes do not matter; all else does, at any depth.
CREATE TABLE pairs (n int PRIMARY KEY, a jsonb, b jsonb);
INSERT INTO pairs VALUES
    (1, '{"a": 1, "b": {"c": [1, {"d": null, "e": "x"}]}}', '{"b":{"c":[1.000,{"e":"\u0078","d":null}]},"a":1e0}'),
    (2, '{"a": 1, "a": 2}', '{"a": 2}'),
    (3, '1e3', '1000.0'),
    (4, '{"a": [1, 2]}', '{"a": [2, 1]}'),
    (5, '{"a": {"b": {"c": {"d": [0, {"e": 1}]}}}}', '{"a": {"b": {"c": {"d": [0, {"e": 1.0000000000000000000000001}]}}}}'),
    (6, '{"a": "1"}', '{"a": 1}'),
    (7, '{"a": true}', '{"a": "true"}'),
    (8, '{"a": null}', '{"a": "null"}'),
    (9, '"x"', '"x "'),
    (10, '"é"', '"é"'),
    (11, '[1]', '1'),
    (12, '123456789012345678901234567890.1', '123456789012345678901234567890.10');
SELECT n, (SELECT status FROM idempotent_request_begin('pair ' || n, a)) AS first,
       split_part(refused(format('SELECT idempotent_request_begin(%L, %L)', 'pair ' || n, b)), ' ', 1) AS second
FROM pairs ORDER BY n;
-- The fingerprint is what the documentation says: SHA-256 of the jsonb's text.
SELECT count(*), bool_and(fingerprint = sha256(convert_to(request::text, 'UTF8'))) FROM idempotent.request_records;
-- Large documents.
SELECT status FROM idempotent_request_begin('large', jsonb_build_object('a', repeat('lorem ipsum ', 100000), 'b', 1));
SELECT refused($$SELECT idempotent_request_begin('large', jsonb_build_object('a', repeat('lorem ipsum ', 100000), 'b', 2))$$);
SELECT idempotent_request_finish('large', attempt, to_jsonb(repeat('dolor ', 200000))) FROM idempotent.request_records WHERE key = 'large';
SELECT status, length(response #>> '{}'), md5(response #>> '{}') = md5(repeat('dolor ', 200000)) FROM idempotent_request_begin('large', jsonb_build_object('b', 1, 'a', repeat('lorem ipsum ', 100000)));

-- Expired when it is read, purged or not.
SELECT attempt AS first FROM idempotent_request_begin('old', '{"a": 1}') \gset
SELECT idempotent_request_finish('old', :first, '1');
SELECT expire('old');
SELECT status, attempt > :first AS newer, recovery_point IS NULL AND response IS NULL AS anew FROM idempotent_request_begin('old', '{"other": 1}');
SELECT * FROM mine WHERE key = 'old';
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'old', :first, '1'));
-- Started and expired: a live lease keeps it; without one it is started, not resumed.
SELECT expire('old');
SELECT refused($$SELECT idempotent_request_begin('old', '{"other": 1}')$$) LIKE '55I01%' AS held;
SELECT refused($$SELECT idempotent_request_begin('old', '{"other": 2}')$$) LIKE '23I02%' AS held;
SELECT idempotent_purge();
SELECT idempotent_request_advance('old', attempt, 'x') FROM idempotent.request_records WHERE key = 'old';
SELECT lapse('old');
SELECT status, recovery_point FROM idempotent_request_begin('old', '{"other": 2}');
-- Its holder may finish it as long as it is there.
SELECT lapse('old'), expire('old');
SELECT idempotent_request_finish('old', attempt, '2') FROM idempotent.request_records WHERE key = 'old';
SELECT status, response FROM idempotent_request_begin('old', '{"other": 2}');

-- Purge: what has expired, in batches.
SELECT idempotent_purge(0);
:state
SELECT idempotent_purge(-1);
SELECT idempotent_purge();
SELECT count(*) AS before FROM idempotent.request_records \gset
UPDATE idempotent.request_records SET (expires_at, purge_after) = (SELECT t, t FROM clock_timestamp() AS t) FROM falsy WHERE key = 'falsy ' || n;
SELECT idempotent_purge(4);
SELECT idempotent_purge(4);
SELECT idempotent_purge(2147483647);
SELECT idempotent_purge();
SELECT count(*) = :before - 10 AS ten_less, count(*) FILTER (WHERE key LIKE 'falsy%') FROM idempotent.request_records;
-- Live, abandoned, started with and without a live lease.
SELECT idempotent_request_abandon('p1', attempt) FROM idempotent_request_begin('p1', '1');
SELECT idempotent_request_abandon('p2', attempt) FROM idempotent_request_begin('p2', '1');
SELECT expire('p2');
SELECT status FROM idempotent_request_begin('p3', '1');
SELECT expire('p3');
SELECT status FROM idempotent_request_begin('p4', '1');
SELECT lapse('p4');
SELECT status FROM idempotent_request_begin('p5', '1');
SELECT lapse('p5'), expire('p5');
SELECT idempotent_purge();
SELECT key, status FROM mine WHERE key LIKE 'p_' ORDER BY key;
-- Purged under the feet of its holder.
SELECT attempt AS first FROM idempotent_request_begin('p6', '1') \gset
SELECT lapse('p6');
SELECT expire('p6');
SELECT idempotent_purge();
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'p6', :first, '1'));
SELECT status, attempt > :first AS newer FROM idempotent_request_begin('p6', '1');
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'p6', :first, '1'));

-- Work that took longer than most: purge_after has passed, the ttl of the answer has not.
SELECT attempt AS first FROM idempotent_request_begin('p7', '1', ttl => '1 hour') \gset
UPDATE idempotent.request_records SET started_at = started_at - interval '2 hours', purge_after = purge_after - interval '2 hours', expires_at = expires_at - interval '2 hours' WHERE key = 'p7';
SELECT idempotent_request_finish('p7', :first, '1');
SELECT purge_after < clock_timestamp() AS passed, expires_at > clock_timestamp() AS live, purge_after = started_at + ttl AS kept FROM idempotent.request_records WHERE key = 'p7';
SELECT idempotent_purge();
SELECT status FROM idempotent_request_begin('p7', '1');
SELECT expire('p7');
SELECT idempotent_purge();
SELECT bool_and(purge_after <= expires_at) AS never_later FROM idempotent.request_records;
-- Of a later attempt it is that attempt's; its holder works under a longer ttl.
SELECT status FROM idempotent_request_begin('p8', '1', ttl => '1 minute');
SELECT lapse('p8');
SELECT status FROM idempotent_request_begin('p8', '1', ttl => '2 minutes');
SELECT purge_after = started_at + ttl AS anew, purge_after = expires_at AS same, ttl FROM idempotent.request_records WHERE key = 'p8';
-- What finish, advance and abandon write is in no index.
CREATE FUNCTION written() RETURNS bigint LANGUAGE sql AS $$ SELECT pg_stat_get_xact_tuples_updated('idempotent.request_records'::regclass) $$;
CREATE FUNCTION hot() RETURNS bigint LANGUAGE sql AS $$ SELECT pg_stat_get_xact_tuples_hot_updated('idempotent.request_records'::regclass) $$;
BEGIN;
SELECT attempt AS a FROM idempotent_request_begin('hot 1', '1') \gset
SELECT attempt AS b FROM idempotent_request_begin('hot 2', '1') \gset
SELECT written() AS written_before, hot() AS hot_before \gset
SELECT idempotent_request_advance('hot 1', :a, 'x'), idempotent_request_finish('hot 1', :a, '1'), idempotent_request_abandon('hot 2', :b);
SELECT written() - :written_before AS written, hot() - :hot_before AS hot;
COMMIT;

-- The row of an attempt is found wherever it has got to: more attempts than are kept in mind,
CREATE TABLE attempts AS SELECT n, attempt FROM generate_series(1, 200) n, LATERAL idempotent_request_begin('many ' || n, to_jsonb(n));
SELECT count(idempotent_request_advance('many ' || n, attempt, 'x')::text) FROM attempts;
SELECT count(idempotent_request_finish('many ' || n, attempt, to_jsonb(n))::text) FROM attempts;
SELECT count(*), bool_and(response = request AND recovery_point = 'x') FROM idempotent.request_records WHERE key LIKE 'many %';
-- (A purge does not look at them: they are live.)
CREATE FUNCTION visited() RETURNS bigint LANGUAGE sql AS $$ SELECT pg_stat_get_xact_tuples_returned('idempotent.request_records_purge_after'::regclass) $$;
SET enable_seqscan = off;
BEGIN;
SELECT visited() AS before \gset
SELECT idempotent_purge();
SELECT visited() - :before < 100 AS few, (SELECT count(*) > 200 FROM idempotent.request_records) AS many;
COMMIT;
RESET enable_seqscan;
-- rolled back, with another row in its place,
BEGIN;
SELECT attempt AS first FROM idempotent_request_begin('gone', '1') \gset
ROLLBACK;
SELECT attempt AS second FROM idempotent_request_begin('gone too', '1') \gset
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'gone', :first, '1'));
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'gone', :second, '1'));
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'gone too', :first, '1'));
-- moved, and with the file cut short.
DELETE FROM idempotent.request_records WHERE key <> 'gone too';
VACUUM (FULL) idempotent.request_records;
SELECT idempotent_request_advance('gone too', :second, 'x');
UPDATE idempotent.request_records SET scope = 'elsewhere' WHERE key = 'gone too';
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'gone too', :second, '1'));
SELECT idempotent_request_finish('gone too', :second, '1', 'elsewhere');
SELECT attempt AS first FROM idempotent_request_begin('cut', '1') \gset
TRUNCATE idempotent.request_records;
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'cut', :first, '1'));
SELECT attempt AS first FROM idempotent_request_begin('pay', '{"amount": 10, "to": {"iban": ["x", 1]}}') \gset
SELECT idempotent_request_finish('pay', :first, '{"id": 7}');

-- New keys and known ones by turns: what the last one was is only a guess.
SELECT n, status FROM (VALUES (1, 'turn 1'), (2, 'turn 2'), (3, 'turn 1'), (4, 'turn 3'), (5, 'turn 2')) turns (n, key),
    LATERAL (SELECT refused(format('SELECT idempotent_request_begin(%L, %L)', key, '1')) AS status) begun ORDER BY n;
SELECT idempotent_request_finish(key, attempt, '1') FROM idempotent.request_records WHERE key LIKE 'turn _' AND key <> 'turn 3';
SELECT n, (begun).status FROM (VALUES (1, 'turn 4'), (2, 'turn 1'), (3, 'turn 5'), (4, 'turn 2')) turns (n, key),
    LATERAL (SELECT idempotent_request_begin(key, '1') AS begun) b ORDER BY n;
SELECT refused($$SELECT idempotent_request_begin('turn 1', '2')$$);

-- Part of the transaction.
BEGIN;
SELECT status FROM idempotent_request_begin('tx', '1');
ROLLBACK;
SELECT attempt AS first FROM idempotent_request_begin('tx', '2') \gset
BEGIN;
SELECT idempotent_request_advance('tx', :first, 'a');
SAVEPOINT s;
SELECT idempotent_request_advance('tx', :first, 'b');
SELECT idempotent_request_finish('tx', :first, '1');
ROLLBACK TO s;
SELECT status, recovery_point, response FROM mine WHERE key = 'tx';
SELECT idempotent_request_finish('tx', :first, '2');
SELECT status, response FROM idempotent_request_begin('tx', '2');
COMMIT;
-- All of it in one statement, and in one that fails.
SELECT status, idempotent_request_finish('all in one', attempt, '"x"') FROM idempotent_request_begin('all in one', '1');
SELECT status, response FROM idempotent_request_begin('all in one', '1');
SELECT 1 / (SELECT count(*) - 1 FROM idempotent_request_begin('one', '1'));
SELECT count(*) FROM mine WHERE key = 'one';
-- Attempts are not given out twice.
SELECT count(*) = count(DISTINCT attempt) AS distinct_attempts FROM idempotent.request_records;

-- READ ONLY: a replay works, the rest is refused as it is.
BEGIN READ ONLY;
SELECT status, response FROM idempotent_request_begin('pay', '{"amount": 10, "to": {"iban": ["x", 1]}}');
SAVEPOINT s;
SELECT * FROM idempotent_request_begin('pay', '{"amount": 11}');
ROLLBACK TO s;
\set VERBOSITY sqlstate
SELECT * FROM idempotent_request_begin('fresh', '1');
\set VERBOSITY default
ROLLBACK;
SELECT attempt AS first FROM idempotent_request_begin('ro', '1') \gset
BEGIN READ ONLY;
\set VERBOSITY sqlstate
SELECT idempotent_request_finish('ro', :first, '1');
\set VERBOSITY default
ROLLBACK;

-- What is there to see.
SELECT p.oid::regprocedure, p.provolatile, p.proparallel, p.prosecdef, pg_get_function_result(p.oid), obj_description(p.oid) IS NOT NULL AS described
FROM pg_proc p WHERE p.proname ~ '^idempotent_(execute|request|purge)' ORDER BY p.proname;

SET client_min_messages = warning;
DROP SCHEMA requests CASCADE;
DELETE FROM idempotent.request_records;
