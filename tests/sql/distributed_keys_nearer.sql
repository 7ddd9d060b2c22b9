-- A look-up on the form for distributed tables finds the functions of the index, whatever is nearer on the caller's search_path.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET pg_idempotent.use_distributed_form = on;
CREATE SCHEMA distributed_keys_nearer;
SET search_path = distributed_keys_nearer, public;
CREATE TABLE tagged (tags text[], v int);
CREATE UNIQUE INDEX tagged_key ON tagged (array_length(tags, 1), (tags[1] || '!'));
INSERT INTO tagged VALUES ('{a,b}', 1);
CREATE SCHEMA nearer;
CREATE FUNCTION nearer.array_length(text[], int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE WARNING 'the nearer function runs'; RETURN 0; END $$;
CREATE FUNCTION nearer.joined(text, text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE WARNING 'the nearer operator runs'; RETURN ''; END $$;
CREATE OPERATOR nearer.|| (FUNCTION = nearer.joined, LEFTARG = text, RIGHTARG = text);
SET search_path = nearer, pg_catalog, public;
SELECT outcome FROM idempotent_insert('distributed_keys_nearer.tagged', '{"tags": ["a", "b"], "v": 1}');
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA distributed_keys_nearer, nearer CASCADE;
