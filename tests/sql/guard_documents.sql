\set state '\\echo SQLSTATE :SQLSTATE'
-- A function that compares less than a digest keeps does not ask the digest.
CREATE TABLE hashed (id int PRIMARY KEY, a int, b text, first bytea);
SELECT FROM idempotent_guard('hashed', remember => 'first');
INSERT INTO hashed VALUES (1, 1, 'b');
SELECT outcome FROM idempotent_insert('hashed', '{"id": 1, "a": 1, "b": "other"}', compare => '{a}');
:state
-- What a document keeps of a column that is not compared any more is not read.
CREATE TABLE typed (id int PRIMARY KEY, v text, w int, first jsonb);
SELECT FROM idempotent_guard('typed', remember => 'first');
INSERT INTO typed VALUES (1, 'abc', 1);
ALTER TABLE typed ALTER v TYPE int USING 1;
SELECT FROM idempotent_guard('typed', ignore => '{v}', remember => 'first');
INSERT INTO typed VALUES (1, 1, 1);
:state
-- Values in values, which a document keeps as JSON, or as text.
CREATE TYPE pair AS (n int, t text);
CREATE TABLE nested (id int PRIMARY KEY, c pair, a int[], ac pair[], j jsonb, js json, r int4range, b bytea, ts timestamp, first jsonb);
SELECT FROM idempotent_guard('nested', remember => 'first');
INSERT INTO nested VALUES (1, (1, 'x'), '{1,NULL}', '{"(1,x)"}', '{"a": 1}', '[1]', '[1,3)', '\x00ff', '2013-01-01');
UPDATE nested SET (c, a, ac, j, js, r, b, ts) = (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO nested VALUES (1, (1, 'x'), '{1,NULL}', '{"(1,x)"}', '{"a": 1}', '[1]', '[1,3)', '\x00ff', '2013-01-01');
INSERT INTO nested VALUES (1, (1, 'y'), '{1}', '{"(2,x)"}', '{"a": 2}', '[2]', '[1,2)', '\x00', '2013-01-02');
SELECT first FROM nested;
-- What was written before the type changed, read in another shape of JSON.
ALTER TYPE pair ADD ATTRIBUTE u int;
INSERT INTO nested VALUES (1, (1, 'x', NULL), '{1,NULL}', '{"(1,x,)"}', '{"a": 1}', '[1]', '[1,3)', '\x00ff', '2013-01-01');
:state
-- A document that somebody wrote by hand, with values as their JSON.
CREATE TABLE brought (id int PRIMARY KEY, c pair, a int[], ts timestamp, first jsonb);
SELECT FROM idempotent_guard('brought', remember => 'first');
INSERT INTO brought VALUES (1, (1, 'x', 1), '{1}', '2013-01-01', '{"c": {"n": 2, "t": "y"}, "a": [2], "ts": "2013-01-02T00:00:00"}');
INSERT INTO brought VALUES (1, (2, 'y', NULL), '{2}', '2013-01-02');
:state
INSERT INTO brought VALUES (1, (1, 'x', 1), '{1}', '2013-01-01');
:state
