-- One side of a comparison, in a schema of its own ({s}): its table, and the functions that people write by hand.

CREATE SCHEMA {s};
CREATE TABLE {s}.events (LIKE event);
ALTER TABLE {s}.events ADD PRIMARY KEY (id);

-- The first way by hand: insert, and on a unique violation read the stored row.
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

-- The second way by hand: ON CONFLICT DO NOTHING, and read the stored row if nothing was inserted.
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

-- Raises the error of a DO UPDATE that verifies.
CREATE FUNCTION {s}.refuse(id uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'event % is stored with other values', id;
END
$$;

-- Requests by hand: the same promise, columns and two calls. It handles expired keys, leases and attempts that were taken
-- over.
CREATE TABLE {s}.requests (
    role           regrole     NOT NULL,
    scope          text        NOT NULL,
    key            text        NOT NULL,
    status          text        NOT NULL,
    attempt        bigint      NOT NULL,
    fingerprint    bytea       NOT NULL,
    request        jsonb       NOT NULL,
    recovery_point text,
    response       jsonb,
    ttl            interval    NOT NULL,
    lease          interval,
    lease_until    timestamptz,
    started_at     timestamptz NOT NULL,
    completed_at   timestamptz,
    expires_at     timestamptz NOT NULL,
    PRIMARY KEY (key, scope, role)
);
-- For finding expired requests.
CREATE INDEX ON {s}.requests (expires_at);
CREATE SEQUENCE {s}.attempts;

CREATE FUNCTION {s}.request_begin(
    _key text, _request jsonb, look_first boolean DEFAULT false, _ttl interval DEFAULT '24 hours',
    _lease interval DEFAULT '1 minute',
    OUT status text, OUT attempt bigint, OUT recovery_point text, OUT response jsonb
)
LANGUAGE plpgsql AS $$
DECLARE
    now         timestamptz := clock_timestamp();
    print       bytea := sha256(convert_to(_request::text, 'UTF8'));
    _role       regrole := quote_ident(current_user)::regrole;
    known       {s}.requests;
BEGIN
    IF char_length(_key) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'a key has 1 to 255 characters';
    END IF;
    IF look_first THEN
        SELECT * INTO known FROM {s}.requests r WHERE r.key = _key AND r.scope = '' AND r.role = _role;
    END IF;
    IF NOT look_first OR known.status IS DISTINCT FROM 'finished' OR known.expires_at <= now THEN
        INSERT INTO {s}.requests AS r (role, scope, key, status, attempt, fingerprint, request, ttl, lease, lease_until,
                                       started_at, expires_at)
        VALUES (_role, '', _key, 'started', nextval('{s}.attempts'), print, _request, _ttl, _lease, now + _lease,
                now, now + _ttl)
        ON CONFLICT (key, scope, role) DO NOTHING
        RETURNING 'started', r.attempt INTO status, attempt;
        IF FOUND THEN
            RETURN;
        END IF;
        SELECT * INTO STRICT known FROM {s}.requests r WHERE r.key = _key AND r.scope = '' AND r.role = _role FOR UPDATE;
    END IF;
    IF known.status = 'abandoned'
        OR known.expires_at <= now AND (known.status = 'finished' OR known.lease_until <= now)
    THEN
        UPDATE {s}.requests r
        SET status = 'started', attempt = nextval('{s}.attempts'), fingerprint = print, request = _request,
            recovery_point = NULL, response = NULL, ttl = _ttl, lease = _lease, lease_until = now + _lease,
            started_at = now, completed_at = NULL, expires_at = now + _ttl
        WHERE r.key = _key AND r.scope = '' AND r.role = _role
        RETURNING 'started', r.attempt INTO status, attempt;
    ELSIF known.fingerprint <> print AND known.request <> _request THEN
        RAISE EXCEPTION 'key % was used with another request', _key;
    ELSIF known.status = 'finished' THEN
        status := 'finished';
        attempt := known.attempt;
        recovery_point := known.recovery_point;
        response := known.response;
    ELSIF known.lease_until > now THEN
        RAISE EXCEPTION 'key % is in progress', _key;
    ELSE
        UPDATE {s}.requests r
        SET attempt = nextval('{s}.attempts'), ttl = _ttl, lease = _lease, lease_until = now + _lease, started_at = now,
            expires_at = now + _ttl
        WHERE r.key = _key AND r.scope = '' AND r.role = _role
        RETURNING 'resumed', r.attempt, r.recovery_point INTO status, attempt, recovery_point;
    END IF;
END
$$;

CREATE FUNCTION {s}.request_finish(_key text, _attempt bigint, _response jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz := clock_timestamp();
BEGIN
    UPDATE {s}.requests r
    SET status = 'finished', response = _response, lease_until = NULL, completed_at = now, expires_at = now + r.ttl
    WHERE r.key = _key AND r.scope = '' AND r.role = quote_ident(current_user)::regrole
        AND r.attempt = _attempt AND r.status = 'started';
    IF NOT FOUND THEN
        PERFORM FROM {s}.requests r
        WHERE r.key = _key AND r.scope = '' AND r.role = quote_ident(current_user)::regrole
            AND r.attempt = _attempt AND r.status = 'finished' AND r.response = _response;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'attempt % does not hold key %', _attempt, _key;
        END IF;
    END IF;
END
$$;
