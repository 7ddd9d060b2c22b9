-- idempotent_repair keeps the statements that it used last, and few of them, where each row differs in other columns.
\set SHOW_CONTEXT never
SELECT format('CREATE TABLE varied (id int PRIMARY KEY, %s)', string_agg('c' || i || ' int DEFAULT 0', ', ')) FROM generate_series(0, 9) AS i \gexec
INSERT INTO varied SELECT generate_series(1, 1000);
CREATE TABLE varied_in AS TABLE varied;
SELECT format('UPDATE varied_in SET %s', string_agg(format('c%s = id >> %1$s & 1', i), ', ')) FROM generate_series(0, 9) AS i \gexec
CREATE FUNCTION count_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE NOTICE 'few are kept: %', (SELECT count(*) BETWEEN 2 AND 10 FROM pg_backend_memory_contexts WHERE name = 'CachedPlanSource' AND ident LIKE 'UPDATE%varied%SET%');
    RETURN NEW;
END $$;
CREATE TRIGGER count_kept BEFORE UPDATE ON varied FOR EACH ROW WHEN (NEW.id = 1000) EXECUTE FUNCTION count_kept();
SELECT status, outcome, count(*), count(DISTINCT differences) FROM idempotent_repair('varied', 'varied_in', dry_run => false) GROUP BY 1, 2;
DROP TABLE varied, varied_in;
DROP FUNCTION count_kept();
