-- One side of a comparison, in a schema of its own ({s}): its table, and what people write by hand for it.

CREATE SCHEMA {s};
CREATE TABLE {s}.events (LIKE event);
ALTER TABLE {s}.events ADD PRIMARY KEY (id);

-- The first way to do it by hand: try, and look when it was there already.
CREATE FUNCTION {s}.insert_or_catch(payload jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    arrived {s}.events := jsonb_populate_record(NULL::{s}.events, payload);
    stored  {s}.events;
BEGIN
    INSERT INTO {s}.events VALUES (arrived.*);
    RETURN 'inserted';
EXCEPTION WHEN unique_violation THEN
    SELECT * INTO STRICT stored FROM {s}.events WHERE id = arrived.id;
    IF stored.amount IS DISTINCT FROM arrived.amount
        OR stored.status IS DISTINCT FROM arrived.status
        OR stored.customer IS DISTINCT FROM arrived.customer
        OR stored.note IS DISTINCT FROM arrived.note
        OR stored.at IS DISTINCT FROM arrived.at
    THEN
        RAISE EXCEPTION 'event % is stored with other values', arrived.id;
    END IF;
    RETURN 'duplicate';
END
$$;

-- The second way: ON CONFLICT DO NOTHING, and look when nothing went in.
CREATE FUNCTION {s}.insert_or_look(payload jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    arrived {s}.events := jsonb_populate_record(NULL::{s}.events, payload);
    stored  {s}.events;
BEGIN
    INSERT INTO {s}.events VALUES (arrived.*) ON CONFLICT (id) DO NOTHING;
    IF FOUND THEN
        RETURN 'inserted';
    END IF;
    SELECT * INTO STRICT stored FROM {s}.events WHERE id = arrived.id;
    IF stored.amount IS DISTINCT FROM arrived.amount
        OR stored.status IS DISTINCT FROM arrived.status
        OR stored.customer IS DISTINCT FROM arrived.customer
        OR stored.note IS DISTINCT FROM arrived.note
        OR stored.at IS DISTINCT FROM arrived.at
    THEN
        RAISE EXCEPTION 'event % is stored with other values', arrived.id;
    END IF;
    RETURN 'duplicate';
END
$$;

-- For a DO UPDATE that verifies.
CREATE FUNCTION {s}.refuse(id uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'event % is stored with other values', id;
END
$$;
