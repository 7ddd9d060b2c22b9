-- What a call may be told of others at work, and of what is no part of a request.
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA waiting;
SET search_path = waiting, public;
CREATE TABLE paid (id int, note text);
\set QUIET off
-- 1. `ignore`: top-level fields that another attempt may send otherwise. They are not kept.
SELECT status FROM idempotent_request_begin('i', '{"a": 1, "sent_at": 5, "b": {"sent_at": 1}}', ignore => '{sent_at, trace}');
SELECT request FROM idempotent.requests WHERE key = 'i';
SELECT idempotent_request_finish('i', attempt, '"done"') FROM idempotent.requests WHERE key = 'i';
SELECT status, response FROM idempotent_request_begin('i', '{"a": 1, "sent_at": 6, "trace": "x", "b": {"sent_at": 1}}', ignore => '{sent_at, trace}');
SELECT status FROM idempotent_request_begin('i', '{"a": 1, "b": {"sent_at": 2}}', ignore => '{sent_at, trace}');
SELECT status FROM idempotent_request_begin('i', '{"a": 1, "sent_at": 5, "b": {"sent_at": 1}}');
-- Fields of an object only.
SELECT status FROM idempotent_request_begin('array', '["sent_at", 1]', ignore => '{sent_at}');
SELECT status FROM idempotent_request_begin('text', '"sent_at"', ignore => '{sent_at}');
SELECT status FROM idempotent_request_begin('none', '{"sent_at": 1}', ignore => '{other}');
SELECT key, request FROM idempotent.requests WHERE key IN ('array', 'text', 'none') ORDER BY key;
SELECT status FROM idempotent_request_begin('null', '{}', ignore => '{sent_at, NULL}');

-- 2. `operation`: stands for the text of the command, which may change.
SELECT * FROM idempotent_execute('o', 'INSERT INTO paid VALUES ($1, $2) RETURNING id', '[1, "x"]', operation => 'pay');
SELECT * FROM idempotent_execute('o', 'INSERT INTO waiting.paid (id, note) VALUES ($1, $2) RETURNING *', '[1, "x"]', operation => 'pay');
SELECT * FROM idempotent_execute('o', 'INSERT INTO paid VALUES ($1, $2) RETURNING id', '[2, "y"]', operation => 'pay');
SELECT * FROM idempotent_execute('o', 'INSERT INTO paid VALUES ($1, $2) RETURNING id', '[1, "x"]', operation => 'refund');
SELECT * FROM idempotent_execute('o', 'INSERT INTO paid VALUES ($1, $2) RETURNING id', '[1, "x"]');
SELECT request FROM idempotent.requests WHERE key = 'o';
TABLE paid;
-- Which parameters differ; only their number, if that does.
SELECT * FROM idempotent_execute('p', 'SELECT $1::int + $2::int + $3::int AS sum', '[1, 2, 3]');
SELECT * FROM idempotent_execute('p', 'SELECT $1::int + $2::int + $3::int AS sum', '[1, 4, 5]');
SELECT * FROM idempotent_execute('p', 'SELECT $1::int + $2::int AS sum', '[1, 2]');
SELECT status FROM idempotent_request_begin('q', '{"arguments": [1], "command": 1, "more": 1}');
SELECT status FROM idempotent_request_begin('q', '{"arguments": [2], "command": 1, "more": 1}');

-- 3. `wait`: a lease that runs out in that time, and one that does not.
SELECT status FROM idempotent_request_begin('w', '1', lease => '300 milliseconds');
SELECT status FROM idempotent_request_begin('w', '1', wait => '1 minute');
SELECT clock_timestamp() AS before \gset
\set VERBOSITY sqlstate
SELECT status FROM idempotent_request_begin('w', '1', wait => '300 milliseconds');
SELECT clock_timestamp() - :'before'::timestamptz BETWEEN '300 milliseconds' AND '20 seconds' AS waited;
SELECT status FROM idempotent_request_begin('w', '1', wait => '0');
SELECT * FROM idempotent_execute('w', 'SELECT 1', wait => '0');
-- Another request is told at once.
SELECT status FROM idempotent_request_begin('w', '2', wait => '1 hour');
-- It is cancelled as any statement.
SET statement_timeout = '200ms';
SELECT status FROM idempotent_request_begin('w', '1', wait => '1 hour');
RESET statement_timeout;
\set VERBOSITY default
SELECT status FROM idempotent_request_begin('w', '1', wait => '-1 second');
SELECT * FROM idempotent_execute('w', 'SELECT 1', wait => '-1 second');
\set QUIET on
SET client_min_messages = warning;
DROP SCHEMA waiting CASCADE;
