-- A row that was stored before a column was added has the column's default, not the NULL that the payload has.
CREATE TABLE grown (id int PRIMARY KEY, a int);
SELECT FROM idempotent_guard('grown');
INSERT INTO grown VALUES (1, NULL);
ALTER TABLE grown ADD c int DEFAULT 7;
INSERT INTO grown VALUES (1, NULL, NULL);
INSERT INTO grown VALUES (1, NULL, 7);
-- What is inserted beside an UPDATE, in one statement, is a payload.
CREATE TABLE parted (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (200);
INSERT INTO parted VALUES (1, 1), (2, 2), (100, 1), (101, 101);
SELECT FROM idempotent_guard('parted');
WITH u AS (UPDATE parted SET v = v WHERE id = 1 RETURNING 1) INSERT INTO parted SELECT 101, 101 FROM u;
WITH u AS (UPDATE parted SET v = v WHERE id = 1 RETURNING 1) INSERT INTO parted SELECT 101, 0 FROM u;
-- A trigger behind the guard may move the row after all.
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER zzz_last BEFORE UPDATE ON parted_1 FOR EACH ROW EXECUTE FUNCTION nothing();
-- It did not: a payload for the same partition,
WITH u AS (UPDATE parted SET v = v WHERE id = 1 RETURNING 1) INSERT INTO parted SELECT 2, 2 FROM u;
-- and one after an UPDATE of another row that stays.
WITH u AS (UPDATE parted SET v = v WHERE id IN (1, 100) RETURNING 1) INSERT INTO parted SELECT 101, 101 FROM (SELECT count(*) FROM u) c;
-- It does: the row collides, and is not taken for a duplicate.
CREATE OR REPLACE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.id := NEW.id + 99; RETURN NEW; END';
UPDATE parted SET v = v WHERE id = 1;
TABLE parted ORDER BY id;
