-- What a failed subtransaction leaves: the executor of a function in SQL, called in a simple expression, is freed by its next call.
CREATE TABLE events (id int PRIMARY KEY, v int);
SELECT FROM idempotent_guard('events');
CREATE FUNCTION send(n int) RETURNS int LANGUAGE sql AS 'INSERT INTO events VALUES (n, n), (1, -1) RETURNING id';
INSERT INTO events VALUES (1, 1);
DO $$
DECLARE
    x int;
BEGIN
    FOR n IN 2 .. 5 LOOP
        BEGIN
            x := send(n);
        EXCEPTION WHEN SQLSTATE '23I01' THEN
            RAISE NOTICE '%: %', n, SQLSTATE;
        END;
        INSERT INTO events VALUES (1, 1);
    END LOOP;
END $$;
TABLE events;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 29;
