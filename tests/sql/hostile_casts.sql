-- A type that has a cast to json takes JSON by its cast from jsonb. The cast's function is its owner's, who says who may
-- call it; it may be SECURITY DEFINER.
\set VERBOSITY default
\set SHOW_CONTEXT errors
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_pgi_mallory;
CREATE SCHEMA vault;
GRANT USAGE, CREATE ON SCHEMA vault TO regress_pgi_mallory;
SET search_path = vault, public;
CREATE TYPE ticket AS ENUM ('none', 'gold');
CREATE TABLE redeemed (by_whom text);
CREATE FUNCTION redeem(jsonb) RETURNS ticket LANGUAGE sql SECURITY DEFINER SET search_path = vault
AS $$ INSERT INTO redeemed VALUES (session_user); SELECT 'gold'::ticket $$;
REVOKE EXECUTE ON FUNCTION redeem(jsonb) FROM PUBLIC;
CREATE FUNCTION ticket_json(ticket) RETURNS json LANGUAGE sql AS $$ SELECT '{"t": 1}'::json $$;
CREATE CAST (jsonb AS ticket) WITH FUNCTION redeem(jsonb);
CREATE CAST (ticket AS json) WITH FUNCTION ticket_json(ticket);

-- 1. Mallory may not cast in a query, nor by a table of her own.
SET ROLE regress_pgi_mallory;
SELECT '{}'::jsonb::ticket;
:state
CREATE TABLE tickets (id int PRIMARY KEY, ticket ticket);
SELECT outcome FROM idempotent_insert('tickets', '{"id": 1, "ticket": {}}');
:state
SELECT inserted FROM idempotent_insert_many('tickets', '[{"id": 1, "ticket": "none"}, {"id": 2, "ticket": [1]}]');
:state
SELECT inserted FROM idempotent_insert_many('tickets', '[{"id": 1, "ticket": "none"}, {"id": 2, "ticket": null}]');
RESET ROLE;
TABLE redeemed;
-- What the session knows of the table is no right.
SELECT outcome FROM idempotent_insert('tickets', '{"id": 3, "ticket": {}}');
SET ROLE regress_pgi_mallory;
SELECT outcome FROM idempotent_insert('tickets', '{"id": 4, "ticket": {}}');
:state
RESET ROLE;
SELECT count(*) FROM redeemed;

-- 2. A cast may give NULL.
DROP CAST (jsonb AS ticket);
CREATE FUNCTION no_ticket(jsonb) RETURNS ticket LANGUAGE sql AS $$ SELECT NULL::ticket $$;
CREATE CAST (jsonb AS ticket) WITH FUNCTION no_ticket(jsonb);
SELECT outcome FROM idempotent_insert('tickets', '{"id": 5, "ticket": {}}');
SELECT * FROM tickets ORDER BY id;

-- 3. A cast that is gone is not called any more.
DROP CAST (jsonb AS ticket);
DROP FUNCTION no_ticket(jsonb);
SELECT outcome FROM idempotent_insert('tickets', '{"id": 6, "ticket": {}}');
:state

RESET search_path;
DROP SCHEMA vault CASCADE;
DROP ROLE regress_pgi_mallory;
