-- Requests: an operation runs once, and its retries get the first answer. docs/requests.md
--
-- A request is known by role, scope and key, and has one row. Where something is to be written, a call takes the lock on
-- the key, which it holds until its transaction ends, and looks once more. So a lock that is not free says that another
-- transaction works on the key.
--
-- The holder of a lease takes the lock, too, when it writes.
--
-- Why no interleaving goes wrong:
-- - Two calls with one key at once: one gets the lock. The other gets 55I01, or waits for the end of that transaction and
--   looks again: it finds the answer, or nothing, and does the work.
-- - A holder dies. Its transaction is rolled back, and its lock is gone. Of a request that it had begun before, the row
--   stays, and the lease runs out.
-- - A lease is taken over. The attempt that resumes gets another number, and the old holder is refused by its own.
-- - What was decided is not so any more when the row is written: every UPDATE names the attempt that was looked at, and
--   changes nothing if it is another one by now.
-- - REPEATABLE READ, SERIALIZABLE. What the snapshot cannot see is met when the row is written: 40001.
-- - A key expires when it is read, by the clock, purged or not. A purge passes over rows that are locked.

-- It goes with the clock, so that no two attempts share a number, whatever the database is restored or replicated to.
CREATE SEQUENCE idempotent.request_attempts;
COMMENT ON SEQUENCE idempotent.request_attempts IS 'the attempts at requests';
DO $start$
BEGIN
    PERFORM pg_catalog.setval('idempotent.request_attempts',
        (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)::bigint);
END
$start$;

CREATE TABLE idempotent.request_records (
    role           regrole     NOT NULL DEFAULT idempotent.own_role(),
    scope          text        NOT NULL,
    key            text        NOT NULL,
    status         text        NOT NULL CHECK (status IN ('started', 'finished', 'abandoned')),
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
    purge_after    timestamptz NOT NULL,
    CONSTRAINT request_records_pkey PRIMARY KEY (key, scope, role)
) WITH (fillfactor = 75);
COMMENT ON TABLE idempotent.request_records IS 'what idempotent.requests shows; written by the functions, with the rights of their callers';
COMMENT ON COLUMN idempotent.request_records.role IS 'the role that sent the request';
COMMENT ON COLUMN idempotent.request_records.scope IS 'the key is unique within role and scope';
COMMENT ON COLUMN idempotent.request_records.key IS 'the key that the client gave the request';
COMMENT ON COLUMN idempotent.request_records.status IS 'started, finished or abandoned';
COMMENT ON COLUMN idempotent.request_records.attempt IS 'the attempt that holds the request, or finished it';
COMMENT ON COLUMN idempotent.request_records.fingerprint IS 'SHA-256 of the request';
COMMENT ON COLUMN idempotent.request_records.request IS 'the request itself';
COMMENT ON COLUMN idempotent.request_records.recovery_point IS 'how far the work has got';
COMMENT ON COLUMN idempotent.request_records.response IS 'the answer, once it is finished';
COMMENT ON COLUMN idempotent.request_records.ttl IS 'how long the answer is kept';
COMMENT ON COLUMN idempotent.request_records.lease IS 'how long an attempt holds the request without renewing its lease';
COMMENT ON COLUMN idempotent.request_records.lease_until IS 'when another attempt may resume the request';
COMMENT ON COLUMN idempotent.request_records.started_at IS 'when the attempt began';
COMMENT ON COLUMN idempotent.request_records.completed_at IS 'when the request was finished';
COMMENT ON COLUMN idempotent.request_records.expires_at IS 'when the key becomes free again';
COMMENT ON COLUMN idempotent.request_records.purge_after IS 'a purge skips the row until then; never later than expires_at';
CREATE INDEX request_records_purge_after ON idempotent.request_records (purge_after);
COMMENT ON INDEX idempotent.request_records_purge_after IS 'for idempotent_purge';
ALTER TABLE idempotent.request_records ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON idempotent.request_records USING (role = idempotent.own_role()) WITH CHECK (role = idempotent.own_role());

CREATE VIEW idempotent.requests WITH (security_barrier = true) AS
SELECT request.scope, request.key, request.status, request.attempt, request.fingerprint,
       request.request, request.recovery_point, request.response, request.ttl, request.lease,
       request.lease_until, request.started_at, request.completed_at, request.expires_at,
       request.purge_after
  FROM idempotent.request_records AS request
 WHERE request.role OPERATOR(pg_catalog.=) idempotent.own_role();
COMMENT ON VIEW idempotent.requests IS 'your own request keys with their answers';
COMMENT ON COLUMN idempotent.requests.scope IS 'the key is unique within role and scope';
COMMENT ON COLUMN idempotent.requests.key IS 'the key that the client gave the request';
COMMENT ON COLUMN idempotent.requests.status IS 'started, finished or abandoned';
COMMENT ON COLUMN idempotent.requests.attempt IS 'the attempt that holds the request, or finished it';
COMMENT ON COLUMN idempotent.requests.fingerprint IS 'SHA-256 of the request';
COMMENT ON COLUMN idempotent.requests.request IS 'the request itself';
COMMENT ON COLUMN idempotent.requests.recovery_point IS 'how far the work has got';
COMMENT ON COLUMN idempotent.requests.response IS 'the answer, once it is finished';
COMMENT ON COLUMN idempotent.requests.ttl IS 'how long the answer is kept';
COMMENT ON COLUMN idempotent.requests.lease IS 'how long an attempt holds the request without renewing its lease';
COMMENT ON COLUMN idempotent.requests.lease_until IS 'when another attempt may resume the request';
COMMENT ON COLUMN idempotent.requests.started_at IS 'when the attempt began';
COMMENT ON COLUMN idempotent.requests.completed_at IS 'when the request was finished';
COMMENT ON COLUMN idempotent.requests.expires_at IS 'when the key becomes free again';
COMMENT ON COLUMN idempotent.requests.purge_after IS 'a purge skips the row until then; never later than expires_at';

CREATE FUNCTION idempotent.check_key(key text, scope text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.require('key', key IS NOT NULL);
    PERFORM idempotent.require('scope', scope IS NOT NULL);
    IF char_length(key) NOT BETWEEN 1 AND 255 THEN
        PERFORM idempotent.fail('22023', 'a request key must have 1 to 255 characters', format('This one has %s.', char_length(key)));
    ELSIF char_length(scope) > 255 THEN
        PERFORM idempotent.fail('22023', 'a scope must have at most 255 characters', format('This one has %s.', char_length(scope)));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_key(text, text) IS 'refuses a request key that is none';

CREATE FUNCTION idempotent.check_duration(name text, value interval) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.require(name, value IS NOT NULL);
    IF value <= interval '0' THEN
        PERFORM idempotent.fail('22023', format('argument "%s" must be positive', name));
    ELSIF value > interval '290000 years' THEN
        PERFORM idempotent.fail('22023', format('argument "%s" must not be longer than 290000 years', name));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_duration(text, interval) IS 'refuses a duration that is none';

CREATE FUNCTION idempotent.check_wait(wait interval) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF wait < interval '0' THEN
        PERFORM idempotent.fail('22023', 'argument "wait" must not be negative');
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_wait(interval) IS 'refuses a negative wait';

CREATE FUNCTION idempotent.find_request(key text, scope text) RETURNS idempotent.request_records
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known idempotent.request_records;
BEGIN
    SELECT * INTO known FROM idempotent.request_records AS r
     WHERE r.key = find_request.key AND r.scope = find_request.scope AND r.role = idempotent.own_role();
    RETURN known;
END
$$;
COMMENT ON FUNCTION idempotent.find_request(text, text) IS 'the row of a request';

-- 55I01. An attempt that holds the request by a lease says for how long.
CREATE FUNCTION idempotent.refuse_in_progress(key text, lease_until timestamptz) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seconds bigint := greatest(ceil(extract(epoch FROM lease_until - clock_timestamp())), 1);
BEGIN
    PERFORM idempotent.fail('55I01', format('request key "%s" is in progress', key),
        coalesce(format('An attempt holds it until %s, unless its lease is renewed.', nullif(lease_until::text, '')) || left(lease_until::text, 0),
                 'Another transaction is working on it.'),
        CASE WHEN lease_until IS NULL THEN 'Send the request again later.'
             ELSE format('Send the request again after %s %s.', seconds, CASE seconds WHEN 1 THEN 'second' ELSE 'seconds' END) END,
        'idempotent.request_records', "constraint" => 'request_records_pkey');
END
$$;
COMMENT ON FUNCTION idempotent.refuse_in_progress(text, timestamptz) IS 'raises 55I01';

-- 23I02, which names the fields, or the arguments, that differ, at most ten.
CREATE FUNCTION idempotent.refuse_reuse(key text, ours jsonb, theirs jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    names text[];
    parameters text := '';
    detail text := 'The requests differ as a whole.';
BEGIN
    IF jsonb_typeof(ours) = 'object' AND jsonb_typeof(theirs) = 'object' THEN
        names := ARRAY(SELECT name FROM (SELECT jsonb_object_keys(ours) AS name UNION SELECT jsonb_object_keys(theirs)) AS all_names
                        WHERE ours -> name IS DISTINCT FROM theirs -> name ORDER BY octet_length(name), name COLLATE "C");
        IF jsonb_typeof(ours -> 'arguments') = 'array' AND jsonb_typeof(theirs -> 'arguments') = 'array'
           AND jsonb_array_length(ours -> 'arguments') = jsonb_array_length(theirs -> 'arguments')
           AND (SELECT count(*) FROM jsonb_object_keys(ours)) = 2 AND (SELECT count(*) FROM jsonb_object_keys(theirs)) = 2 THEN
            SELECT format(' (%s)', string_agg(CASE WHEN place <= 10 THEN format('$%s', n + 1) ELSE '…' END, ', ' ORDER BY n)) INTO parameters
              FROM (SELECT n, row_number() OVER (ORDER BY n) AS place FROM generate_series(0, jsonb_array_length(ours -> 'arguments') - 1) AS n
                     WHERE ours -> 'arguments' -> n <> theirs -> 'arguments' -> n) AS d
             WHERE place <= 11;
        END IF;
        detail := format('The requests differ in %s%s.',
            (SELECT string_agg(CASE name WHEN '' THEN '""' ELSE idempotent.cut(name) END || CASE name WHEN 'arguments' THEN coalesce(parameters, '') ELSE '' END, ', ' ORDER BY n)
               FROM unnest(names[1:10]) WITH ORDINALITY AS d (name, n)),
            CASE WHEN cardinality(names) > 10 THEN format(' and %s more', cardinality(names) - 10) END);
    END IF;
    PERFORM idempotent.fail('23I02', format('request key "%s" was used with another request', key), detail,
        'Use a new key for a new request.', 'idempotent.request_records', "constraint" => 'request_records_pkey');
END
$$;
COMMENT ON FUNCTION idempotent.refuse_reuse(text, jsonb, jsonb) IS 'raises 23I02';

CREATE FUNCTION idempotent.request_lock(key text, scope text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN hashtextextended(format('idempotent request %s %s %s', idempotent.own_role()::oid, scope, key), octet_length(scope));
END
$$;
COMMENT ON FUNCTION idempotent.request_lock(text, text) IS 'the number of the lock on a request key';

-- Takes the lock on a key. False if another transaction has it, and the call may not wait, or has waited for long enough.
CREATE FUNCTION idempotent.lock_request(key text, scope text, wait interval, deadline timestamptz) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    number bigint := idempotent.request_lock(key, scope);
    patience text := current_setting('lock_timeout');
BEGIN
    IF pg_try_advisory_xact_lock(number) THEN
        RETURN true;
    ELSIF wait IS NOT NULL AND deadline <= clock_timestamp() OR wait IS NULL AND patience = '0' THEN
        RETURN false;
    END IF;
    BEGIN
        IF wait IS NOT NULL THEN
            PERFORM set_config('lock_timeout', greatest(ceil(extract(epoch FROM deadline - clock_timestamp()) * 1000), 1) || 'ms', true);
        END IF;
        PERFORM pg_advisory_xact_lock(number);
        PERFORM set_config('lock_timeout', patience, true);
        RETURN true;
    EXCEPTION WHEN lock_not_available THEN
        RETURN false;
    END;
END
$$;
COMMENT ON FUNCTION idempotent.lock_request(text, text, interval, timestamptz) IS 'takes the lock on a request key';

-- What is to be done about a request: start it, resume it, give its answer; or an error. Whoever starts or resumes it has
-- the lock on its key.
CREATE FUNCTION idempotent.decide(key text, scope text, request jsonb, wait interval, OUT decision text, OUT known idempotent.request_records)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + wait;
    locked boolean := false;
    held boolean;
BEGIN
    LOOP
        known := idempotent.find_request(key, scope);
        held := known.status = 'started' AND coalesce(known.lease_until > clock_timestamp(), true);
        IF known.attempt IS NULL OR known.status = 'abandoned' OR (known.expires_at <= clock_timestamp() AND NOT held) THEN
            decision := 'start';
        ELSIF known.request <> decide.request THEN
            PERFORM idempotent.refuse_reuse(key, known.request, decide.request);
        ELSIF known.status = 'finished' THEN
            decision := 'replay';
            RETURN;
        ELSIF held THEN
            IF wait IS NULL OR deadline <= clock_timestamp() THEN
                PERFORM idempotent.refuse_in_progress(key, known.lease_until);
            END IF;
            PERFORM pg_sleep(least(0.2, greatest(extract(epoch FROM least(deadline, known.lease_until) - clock_timestamp()), 0.001)));
            CONTINUE;
        ELSE
            decision := 'resume';
        END IF;
        IF locked THEN
            RETURN;
        ELSIF NOT idempotent.lock_request(key, scope, wait, deadline) THEN
            PERFORM idempotent.refuse_in_progress(key, NULL);
        END IF;
        locked := true;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.decide(text, text, jsonb, interval) IS 'what is to be done about a request';

-- Writes the row of an attempt that starts or resumes a request. NULL if the row is not the one that was looked at.
CREATE FUNCTION idempotent.claim(
    key text, scope text, request jsonb, ttl interval, lease interval, decision text, known idempotent.request_records
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    number bigint := greatest(nextval('idempotent.request_attempts'), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
    moment timestamptz := clock_timestamp();
BEGIN
    PERFORM setval('idempotent.request_attempts', number) WHERE number > (SELECT last_value FROM idempotent.request_attempts);
    IF known.attempt IS NULL THEN
        INSERT INTO idempotent.request_records AS r (scope, key, status, attempt, fingerprint, request, ttl, lease, lease_until, started_at, expires_at, purge_after)
        VALUES (scope, key, 'started', number, sha256(convert_to(request::text, 'UTF8')), request, ttl, lease, moment + lease, moment, moment + ttl, moment + ttl)
        ON CONFLICT ON CONSTRAINT request_records_pkey DO NOTHING;
    ELSIF decision = 'start' THEN
        UPDATE idempotent.request_records AS r
           SET status = 'started', attempt = number, fingerprint = sha256(convert_to(claim.request::text, 'UTF8')), request = claim.request, recovery_point = NULL,
               response = NULL, ttl = claim.ttl, lease = claim.lease, lease_until = moment + claim.lease, started_at = moment, completed_at = NULL,
               expires_at = moment + claim.ttl, purge_after = moment + claim.ttl
         WHERE r.key = claim.key AND r.scope = claim.scope AND r.role = idempotent.own_role() AND r.attempt = known.attempt AND r.status = known.status;
    ELSE
        UPDATE idempotent.request_records AS r
           SET attempt = number, ttl = claim.ttl, lease = claim.lease, lease_until = moment + claim.lease, started_at = moment,
               expires_at = moment + claim.ttl, purge_after = moment + claim.ttl
         WHERE r.key = claim.key AND r.scope = claim.scope AND r.role = idempotent.own_role() AND r.attempt = known.attempt AND r.status = known.status;
    END IF;
    RETURN CASE WHEN FOUND THEN number END;
END
$$;
COMMENT ON FUNCTION idempotent.claim(text, text, jsonb, interval, interval, text, idempotent.request_records) IS 'writes the row of an attempt';

CREATE FUNCTION idempotent_request_begin(
    key     text,
    request jsonb,
    scope   text     DEFAULT '',
    ttl     interval DEFAULT '24 hours',
    lease   interval DEFAULT '1 minute',
    wait    interval DEFAULT NULL,
    ignore  text[]   DEFAULT NULL,
    OUT status         text,
    OUT attempt        bigint,
    OUT recovery_point text,
    OUT response       jsonb
) RETURNS record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    decided record;
BEGIN
    PERFORM idempotent.check_key(key, scope);
    PERFORM idempotent.check_wait(wait);
    PERFORM idempotent.require('request', request IS NOT NULL);
    IF EXISTS (SELECT FROM unnest(ignore) AS field WHERE field IS NULL) THEN
        PERFORM idempotent.fail('22004', 'argument "ignore" must not contain nulls');
    ELSIF cardinality(ignore) = 0 THEN
        PERFORM idempotent.fail('22023', 'argument "ignore" must name at least one field', hint => 'Pass NULL, or leave the argument out, for none.');
    ELSIF ignore IS NOT NULL AND jsonb_typeof(request) = 'object' THEN
        request := request - ignore;
    END IF;
    PERFORM idempotent.check_duration('ttl', ttl);
    PERFORM idempotent.check_duration('lease', lease);
    LOOP
        SELECT * INTO decided FROM idempotent.decide(key, scope, request, wait);
        IF decided.decision = 'replay' THEN
            status := 'finished';
            attempt := (decided.known).attempt;
            recovery_point := (decided.known).recovery_point;
            response := (decided.known).response;
            RETURN;
        END IF;
        attempt := idempotent.claim(key, scope, request, ttl, lease, decided.decision, decided.known);
        EXIT WHEN attempt IS NOT NULL;
    END LOOP;
    status := CASE decided.decision WHEN 'start' THEN 'started' ELSE 'resumed' END;
    recovery_point := CASE decided.decision WHEN 'resume' THEN (decided.known).recovery_point END;
END
$$;
COMMENT ON FUNCTION idempotent_request_begin(text, jsonb, text, interval, interval, interval, text[]) IS
    'starts a request, resumes one whose lease ran out, or gives its answer';

-- 55000: an attempt that was taken over, or has ended.
CREATE FUNCTION idempotent.refuse_attempt(key text, scope text, attempt bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known idempotent.request_records := idempotent.find_request(key, scope);
BEGIN
    PERFORM idempotent.fail('55000', format('attempt %s does not hold request key "%s"', attempt, key),
        CASE
            WHEN known.attempt IS NULL THEN 'There is no such request.'
            WHEN known.attempt <> refuse_attempt.attempt THEN format('Attempt %s %s it.', known.attempt,
                CASE known.status WHEN 'started' THEN 'holds' WHEN 'finished' THEN 'has finished' ELSE 'has abandoned' END)
            WHEN known.status = 'finished' THEN 'It has already finished the request.'
            WHEN known.status = 'abandoned' THEN 'It has abandoned the request.'
            ELSE 'The request has changed meanwhile.'
        END, 'Begin the request again to learn its status.');
END
$$;
COMMENT ON FUNCTION idempotent.refuse_attempt(text, text, bigint) IS 'refuses an attempt that does not hold the request';

CREATE FUNCTION idempotent_request_advance(
    key text, attempt bigint, recovery_point text, scope text DEFAULT ''
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.check_key(key, scope);
    PERFORM idempotent.require('attempt', attempt IS NOT NULL);
    PERFORM idempotent.require('recovery_point', recovery_point IS NOT NULL);
    PERFORM pg_advisory_xact_lock(idempotent.request_lock(key, scope));
    UPDATE idempotent.request_records AS r
       SET recovery_point = idempotent_request_advance.recovery_point, lease_until = clock_timestamp() + r.lease
     WHERE r.key = idempotent_request_advance.key AND r.scope = idempotent_request_advance.scope AND r.role = idempotent.own_role()
       AND r.attempt = idempotent_request_advance.attempt AND r.status = 'started';
    IF NOT FOUND THEN
        PERFORM idempotent.refuse_attempt(key, scope, attempt);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent_request_advance(text, bigint, text, text) IS
    'records how far the work on a request has got, and renews the lease';

CREATE FUNCTION idempotent_request_finish(
    key text, attempt bigint, response jsonb, scope text DEFAULT ''
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known idempotent.request_records;
BEGIN
    PERFORM idempotent.check_key(key, scope);
    PERFORM idempotent.require('attempt', attempt IS NOT NULL);
    PERFORM idempotent.require('response', response IS NOT NULL);
    PERFORM pg_advisory_xact_lock(idempotent.request_lock(key, scope));
    UPDATE idempotent.request_records AS r
       SET status = 'finished', response = idempotent_request_finish.response, lease_until = NULL, completed_at = moment, expires_at = moment + r.ttl
      FROM clock_timestamp() AS moment
     WHERE r.key = idempotent_request_finish.key AND r.scope = idempotent_request_finish.scope AND r.role = idempotent.own_role()
       AND r.attempt = idempotent_request_finish.attempt AND r.status = 'started';
    IF FOUND THEN
        RETURN;
    END IF;
    known := idempotent.find_request(key, scope);
    IF known.attempt = attempt AND known.status = 'finished' AND known.response = response THEN
        RETURN;
    END IF;
    PERFORM idempotent.refuse_attempt(key, scope, attempt);
END
$$;
COMMENT ON FUNCTION idempotent_request_finish(text, bigint, jsonb, text) IS
    'stores the answer of a request, which its retries get';

CREATE FUNCTION idempotent_request_abandon(
    key text, attempt bigint, scope text DEFAULT ''
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known idempotent.request_records;
BEGIN
    PERFORM idempotent.check_key(key, scope);
    PERFORM idempotent.require('attempt', attempt IS NOT NULL);
    PERFORM pg_advisory_xact_lock(idempotent.request_lock(key, scope));
    UPDATE idempotent.request_records AS r
       SET status = 'abandoned', lease_until = NULL, completed_at = clock_timestamp()
     WHERE r.key = idempotent_request_abandon.key AND r.scope = idempotent_request_abandon.scope AND r.role = idempotent.own_role()
       AND r.attempt = idempotent_request_abandon.attempt AND r.status = 'started';
    IF FOUND THEN
        RETURN;
    END IF;
    known := idempotent.find_request(key, scope);
    IF known.attempt = attempt AND known.status = 'abandoned' THEN
        RETURN;
    END IF;
    PERFORM idempotent.refuse_attempt(key, scope, attempt);
END
$$;
COMMENT ON FUNCTION idempotent_request_abandon(text, bigint, text) IS
    'abandons a request without an answer: its key is free again';

-- What kind of command it is: one that PREPARE takes; another one; or none that a function can run.
CREATE FUNCTION idempotent.command_kind(command text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- The first word, without comments before it.
    word text := upper(substring(command FROM '^(?:\s|--[^\n]*\n|/\*.*?\*/)*([(]|\w+)'));
BEGIN
    IF word IN ('BEGIN', 'START', 'COMMIT', 'END', 'ROLLBACK', 'ABORT', 'SAVEPOINT', 'RELEASE') OR command ~* '^\s*prepare\s+transaction' THEN
        PERFORM idempotent.fail('0A000', 'the command cannot be run for a request', 'The caller begins and ends transactions.');
    ELSIF word = 'COPY' THEN
        PERFORM idempotent.fail('0A000', 'the command cannot be run for a request', 'COPY needs a client.');
    END IF;
    RETURN CASE WHEN word IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE', 'VALUES', 'WITH', 'TABLE', '(') THEN 'query' ELSE 'utility' END;
END
$$;
COMMENT ON FUNCTION idempotent.command_kind(text) IS 'how a command is run';

-- Whether a text is one statement. A cursor refuses several before it runs any, and says so in words of its own.
CREATE FUNCTION idempotent.check_single(command text) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    c refcursor;
    several text;
BEGIN
    BEGIN
        OPEN c FOR EXECUTE 'SELECT 1; SELECT 2';
    EXCEPTION WHEN invalid_cursor_definition THEN
        several := SQLERRM;
    END;
    BEGIN
        OPEN c FOR EXECUTE command;
        CLOSE c;
    EXCEPTION WHEN invalid_cursor_definition THEN
        IF SQLERRM OPERATOR(pg_catalog.=) several OR command OPERATOR(pg_catalog.~) '^[\s;]*$' THEN
            PERFORM idempotent.fail('42601', 'the command is not a single statement');
        END IF;
    END;
END
$$;
COMMENT ON FUNCTION idempotent.check_single(text) IS 'refuses several statements';

CREATE FUNCTION idempotent.check_arity(parameters int, arguments jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF jsonb_array_length(arguments) <> parameters THEN
        PERFORM idempotent.fail('22023', format('the command has %s, and %s',
            CASE parameters WHEN 1 THEN '1 parameter' ELSE parameters || ' parameters' END,
            CASE jsonb_array_length(arguments) WHEN 1 THEN '1 argument was given' ELSE jsonb_array_length(arguments) || ' arguments were given' END));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_arity(int, jsonb) IS 'refuses more or fewer arguments than a command has parameters';

-- SQL that gives the text of the argument with this number, read as a field of a payload is.
CREATE FUNCTION idempotent.argument_sql(type regtype, number int) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c idempotent.column_info;
    reading record;
BEGIN
    c.name := '$' || number;
    c.type := format_type(type, NULL);
    c.typid := type;
    c.base := (SELECT base FROM pg_type AS t, idempotent.base_of(t) WHERE t.oid = type);
    SELECT * INTO reading FROM idempotent.reading(c);
    RETURN format('SELECT %s FROM pg_catalog.jsonb_to_record(%s) AS sent (%s)', idempotent.shown(reading.value), idempotent.read_from(ARRAY[c], '$1'), reading.declaration);
END
$$;
COMMENT ON FUNCTION idempotent.argument_sql(regtype, int) IS 'SQL that reads an argument';

-- The EXECUTE of a prepared command, with the arguments as literals. Values are read with the search_path of the caller, so
-- that errors name types as the caller does.
CREATE FUNCTION idempotent.execution(name text, arguments jsonb) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    types regtype[] := (SELECT s.parameter_types FROM pg_catalog.pg_prepared_statements AS s WHERE s.name OPERATOR(pg_catalog.=) execution.name);
    literals text[] := '{}';
    value text;
BEGIN
    PERFORM idempotent.check_arity(pg_catalog.cardinality(types), arguments);
    FOR i IN 1 .. pg_catalog.cardinality(types) LOOP
        EXECUTE idempotent.argument_sql(types[i], i) INTO value
          USING pg_catalog.jsonb_build_object(pg_catalog.concat('$', i), arguments OPERATOR(pg_catalog.->) (i OPERATOR(pg_catalog.-) 1));
        literals := pg_catalog.array_append(literals, pg_catalog.quote_nullable(value));
    END LOOP;
    RETURN pg_catalog.format('EXECUTE %I%s', name, '(' OPERATOR(pg_catalog.||) NULLIF(pg_catalog.array_to_string(literals, ', '), '') OPERATOR(pg_catalog.||) ')');
END
$$;
COMMENT ON FUNCTION idempotent.execution(text, jsonb) IS 'the EXECUTE of a command with its arguments';

-- A name for a prepared command. A command may call a function that has a command of its own.
CREATE FUNCTION idempotent.free_name() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN concat('idempotent_command', nullif((SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'idempotent\_command%'), 0));
END
$$;
COMMENT ON FUNCTION idempotent.free_name() IS 'a name that no prepared statement has';

-- Prepares the command under this name. An error in it points into the statement that prepares it. So the command is read once more
-- by itself, as a cursor that is opened and never fetched from, and the same error points into the command.
CREATE FUNCTION idempotent.prepare_command(command text, name text) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    query text := pg_catalog.format('PREPARE %I AS %s', name, command);
    message text;
    c refcursor;
BEGIN
    PERFORM idempotent.check_single(query);
    EXECUTE query;
EXCEPTION WHEN syntax_error_or_access_rule_violation OR feature_not_supported THEN
    message := SQLERRM;
    BEGIN
        OPEN c FOR EXECUTE command;
    EXCEPTION WHEN syntax_error_or_access_rule_violation OR feature_not_supported THEN
        IF SQLERRM OPERATOR(pg_catalog.=) message THEN
            RAISE;
        END IF;
    END;
    RAISE;
END
$$;
COMMENT ON FUNCTION idempotent.prepare_command(text, text) IS 'prepares the command of a request';

-- Runs the command, as the caller and with the search_path of the caller, and gives its rows. A cursor refuses what gives
-- no rows before it runs it.
CREATE FUNCTION idempotent.run_command(command text, arguments jsonb, name text) RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    query text := command;
    rows jsonb[] := '{}';
    one record;
    c refcursor;
    prepared boolean := false;
BEGIN
    IF idempotent.command_kind(command) OPERATOR(pg_catalog.=) 'query' THEN
        PERFORM idempotent.prepare_command(command, name);
        prepared := true;
        query := idempotent.execution(name, arguments);
    ELSE
        PERFORM idempotent.check_arity(0, arguments);
        PERFORM idempotent.check_single(query);
    END IF;
    BEGIN
        OPEN c FOR EXECUTE query;
    EXCEPTION WHEN invalid_cursor_definition THEN
        c := NULL;
    END;
    IF c IS NULL THEN
        EXECUTE query;
    ELSE
        LOOP
            FETCH c INTO one;
            EXIT WHEN NOT FOUND;
            rows := pg_catalog.array_append(rows, pg_catalog.to_jsonb(one));
        END LOOP;
        CLOSE c;
    END IF;
    IF prepared THEN
        EXECUTE pg_catalog.format('DEALLOCATE %I', name);
    END IF;
    RETURN pg_catalog.to_jsonb(rows);
EXCEPTION WHEN OTHERS THEN
    -- The end of a transaction does not do it.
    IF prepared THEN
        EXECUTE pg_catalog.format('DEALLOCATE %I', name);
    END IF;
    IF SQLSTATE OPERATOR(pg_catalog.=) '42P18' THEN
        PERFORM idempotent.fail(SQLSTATE, SQLERRM, hint => 'Cast it in the command, as in $1::text.');
    END IF;
    RAISE;
END
$$;
COMMENT ON FUNCTION idempotent.run_command(text, jsonb, text) IS 'runs the command of a request';

CREATE FUNCTION idempotent_execute(
    key       text,
    command   text,
    arguments jsonb    DEFAULT '[]',
    scope     text     DEFAULT '',
    ttl       interval DEFAULT '24 hours',
    wait      interval DEFAULT NULL,
    operation text     DEFAULT NULL,
    OUT response jsonb,
    OUT replayed boolean
) RETURNS record
LANGUAGE plpgsql
AS $$
DECLARE
    request jsonb;
    decided record;
    attempt bigint;
BEGIN
    PERFORM idempotent.check_key(key, scope);
    PERFORM idempotent.require('command', command IS NOT NULL);
    PERFORM idempotent.require('arguments', arguments IS NOT NULL);
    PERFORM idempotent.check_duration('ttl', ttl);
    PERFORM idempotent.check_wait(wait);
    request := CASE WHEN operation IS NULL THEN pg_catalog.jsonb_build_object('command', command, 'arguments', arguments)
                    ELSE pg_catalog.jsonb_build_object('operation', operation, 'arguments', arguments) END;
    LOOP
        SELECT * INTO decided FROM idempotent.decide(key, scope, request, wait);
        IF decided.decision OPERATOR(pg_catalog.=) 'replay' THEN
            response := (decided.known).response;
            replayed := true;
            RETURN;
        END IF;
        attempt := idempotent.claim(key, scope, request, ttl, NULL, decided.decision, decided.known);
        EXIT WHEN attempt IS NOT NULL;
    END LOOP;
    PERFORM idempotent.check_arguments(arguments);
    response := idempotent.run_command(command, arguments, idempotent.free_name());
    PERFORM idempotent.finish_command(key, scope, attempt, response);
    replayed := false;
END
$$;
COMMENT ON FUNCTION idempotent_execute(text, text, jsonb, text, interval, interval, text) IS
    'runs a statement once for a request key; a retry gets the first answer';

CREATE FUNCTION idempotent.check_arguments(arguments jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF jsonb_typeof(arguments) <> 'array' THEN
        PERFORM idempotent.fail('22023', 'argument "arguments" must be a JSON array', format('It is a JSON %s.', jsonb_typeof(arguments)));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_arguments(jsonb) IS 'refuses arguments that are no array';

CREATE FUNCTION idempotent.finish_command(key text, scope text, attempt bigint, response jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE idempotent.request_records AS r
       SET status = 'finished', response = finish_command.response, completed_at = moment, expires_at = moment + r.ttl
      FROM clock_timestamp() AS moment
     WHERE r.key = finish_command.key AND r.scope = finish_command.scope AND r.role = idempotent.own_role()
       AND r.attempt = finish_command.attempt;
    IF NOT FOUND THEN
        PERFORM idempotent.fail('55000', format('request key "%s" was removed while its command ran', key));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.finish_command(text, text, bigint, jsonb) IS 'stores the answer of a command';

-- The requests of the caller. The owner of the table, to whom no policy applies, purges those of all roles.
CREATE FUNCTION idempotent_purge(batch_size int DEFAULT 1000) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    purged bigint;
    moment timestamptz := clock_timestamp();
    all_roles boolean := idempotent.owns('idempotent.request_records');
BEGIN
    PERFORM idempotent.require('batch_size', batch_size IS NOT NULL);
    IF batch_size <= 0 THEN
        PERFORM idempotent.fail('22023', 'argument "batch_size" must be positive');
    END IF;
    WITH expired AS MATERIALIZED (
        SELECT r.ctid AS place FROM idempotent.request_records AS r
         WHERE r.purge_after <= moment AND r.expires_at <= moment AND (r.status <> 'started' OR r.lease_until <= moment)
           AND (all_roles OR r.role = idempotent.own_role())
         ORDER BY r.purge_after LIMIT batch_size FOR UPDATE SKIP LOCKED)
    DELETE FROM idempotent.request_records AS r USING expired WHERE r.ctid = expired.place;
    GET DIAGNOSTICS purged = ROW_COUNT;
    RETURN purged;
END
$$;
COMMENT ON FUNCTION idempotent_purge(int) IS
    'removes at most batch_size expired requests; returns how many';
