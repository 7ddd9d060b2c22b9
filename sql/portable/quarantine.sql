-- Quarantined conflicts, and rejected payloads. docs/quarantine.md

CREATE TABLE idempotent.conflict_records (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target      regclass    NOT NULL,
    key         jsonb       NOT NULL,
    payload     jsonb       NOT NULL,
    stored      jsonb       NOT NULL,
    differences jsonb       NOT NULL,
    digest      bytea       NOT NULL,
    arrived_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    arrived_by  name        NOT NULL DEFAULT current_user,
    resolution  text CHECK (resolution IN ('keep_stored', 'apply_payload')),
    resolved_at timestamptz,
    xid         xid8        DEFAULT pg_catalog.pg_current_xact_id(),
    lsn         pg_lsn      DEFAULT pg_catalog.pg_current_wal_insert_lsn(),
    application_name text   DEFAULT pg_catalog.current_setting('application_name'),
    CHECK ((resolution IS NULL) = (resolved_at IS NULL))
);
COMMENT ON TABLE idempotent.conflict_records IS 'what idempotent.conflicts shows; written by the functions, with the rights of their callers';
COMMENT ON COLUMN idempotent.conflict_records.digest IS 'what identifies a repeated conflict';
CREATE UNIQUE INDEX conflict_records_unresolved ON idempotent.conflict_records (target, digest) WHERE resolution IS NULL;
COMMENT ON INDEX idempotent.conflict_records_unresolved IS 'an unresolved conflict is recorded once, however often it arrives';

CREATE TABLE idempotent.rejection_records (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target      regclass    NOT NULL,
    payload     jsonb       NOT NULL,
    error       jsonb       NOT NULL,
    digest      bytea       NOT NULL,
    arrived_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    arrived_by  name        NOT NULL DEFAULT current_user,
    xid         xid8        DEFAULT pg_catalog.pg_current_xact_id(),
    lsn         pg_lsn      DEFAULT pg_catalog.pg_current_wal_insert_lsn(),
    application_name text   DEFAULT pg_catalog.current_setting('application_name')
);
COMMENT ON TABLE idempotent.rejection_records IS 'what idempotent.rejections shows; written by the functions, with the rights of their callers';
COMMENT ON COLUMN idempotent.rejection_records.digest IS 'what identifies a repeated rejection';
CREATE UNIQUE INDEX rejection_records_once ON idempotent.rejection_records (target, digest);
COMMENT ON INDEX idempotent.rejection_records_once IS 'a rejection is recorded once, however often it arrives';

-- Whether the reader may see a record: may name the target, and SELECT from it. Only a superuser sees one whose table is gone.
CREATE FUNCTION idempotent.may_see(target regclass) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT coalesce((SELECT has_schema_privilege(relnamespace, 'USAGE') AND has_table_privilege(oid, 'SELECT') FROM pg_class WHERE oid = target),
                    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)));
END
$$;
COMMENT ON FUNCTION idempotent.may_see(regclass) IS 'whether the current user may see what is recorded of a table';

-- Row-level security stands in for the rights of an owner. Whoever writes to a table may cause a record, in their own
-- name; whoever may SELECT from it sees the record, and resolves it.
ALTER TABLE idempotent.conflict_records ENABLE ROW LEVEL SECURITY;
CREATE POLICY recorded ON idempotent.conflict_records FOR INSERT WITH CHECK (arrived_by = current_user);
CREATE POLICY seen ON idempotent.conflict_records FOR SELECT USING (idempotent.may_see(target) AND NOT row_security_active(target));
CREATE POLICY resolved ON idempotent.conflict_records FOR UPDATE USING (idempotent.may_see(target) AND NOT row_security_active(target));
ALTER TABLE idempotent.rejection_records ENABLE ROW LEVEL SECURITY;
CREATE POLICY recorded ON idempotent.rejection_records FOR INSERT WITH CHECK (arrived_by = current_user);
CREATE POLICY seen ON idempotent.rejection_records FOR SELECT USING (idempotent.may_see(target) AND NOT row_security_active(target));

CREATE VIEW idempotent.conflicts WITH (security_barrier = true) AS
SELECT record.id, record.target,
       CASE WHEN may.see_values THEN record.key END AS key,
       CASE WHEN may.see_values THEN record.payload END AS payload,
       CASE WHEN may.see_values THEN record.stored END AS stored,
       CASE WHEN may.see_values THEN record.differences END AS differences,
       record.arrived_at, record.arrived_by, record.resolution, record.resolved_at,
       record.xid, record.lsn, record.application_name
  FROM idempotent.conflict_records AS record
 CROSS JOIN LATERAL (SELECT NOT pg_catalog.row_security_active(record.target::oid) AS see_values) AS may
 WHERE idempotent.may_see(record.target);
COMMENT ON VIEW idempotent.conflicts IS 'quarantined conflicts of the tables that you have the privileges to name and SELECT from';
COMMENT ON COLUMN idempotent.conflicts.id IS 'the number of the conflict, for idempotent_resolve';
COMMENT ON COLUMN idempotent.conflicts.target IS 'the table that the payload was for';
COMMENT ON COLUMN idempotent.conflicts.key IS 'the key columns of the payload';
COMMENT ON COLUMN idempotent.conflicts.payload IS 'the columns that the payload named';
COMMENT ON COLUMN idempotent.conflicts.stored IS 'the row that was stored under the key';
COMMENT ON COLUMN idempotent.conflicts.differences IS
    'the columns that differ, each with its stored and its payload value';
COMMENT ON COLUMN idempotent.conflicts.arrived_at IS 'when it was recorded';
COMMENT ON COLUMN idempotent.conflicts.arrived_by IS 'the role that sent the payload';
COMMENT ON COLUMN idempotent.conflicts.resolution IS
    'keep_stored or apply_payload; NULL while it is open';
COMMENT ON COLUMN idempotent.conflicts.resolved_at IS 'when it was resolved';
COMMENT ON COLUMN idempotent.conflicts.xid IS 'the transaction that recorded it';
COMMENT ON COLUMN idempotent.conflicts.lsn IS 'where the write-ahead log ended then';
COMMENT ON COLUMN idempotent.conflicts.application_name IS 'application_name of the session that sent the payload';

CREATE VIEW idempotent.rejections WITH (security_barrier = true) AS
SELECT record.id, record.target,
       CASE WHEN may.see_values THEN record.payload END AS payload,
       CASE WHEN may.see_values THEN record.error END AS error,
       record.arrived_at, record.arrived_by,
       record.xid, record.lsn, record.application_name
  FROM idempotent.rejection_records AS record
 CROSS JOIN LATERAL (SELECT NOT pg_catalog.row_security_active(record.target::oid) AS see_values) AS may
 WHERE idempotent.may_see(record.target);
COMMENT ON VIEW idempotent.rejections IS 'rejected payloads of the tables that you have the privileges to name and SELECT from';
COMMENT ON COLUMN idempotent.rejections.id IS 'the number of the rejection';
COMMENT ON COLUMN idempotent.rejections.target IS 'the table that the payload was for';
COMMENT ON COLUMN idempotent.rejections.payload IS 'the columns that the payload named';
COMMENT ON COLUMN idempotent.rejections.error IS
    'the server''s error: sqlstate, message, and detail, column and constraint if it has them';
COMMENT ON COLUMN idempotent.rejections.arrived_at IS 'when it was recorded';
COMMENT ON COLUMN idempotent.rejections.arrived_by IS 'the role that sent the payload';
COMMENT ON COLUMN idempotent.rejections.xid IS 'the transaction that recorded it';
COMMENT ON COLUMN idempotent.rejections.lsn IS 'where the write-ahead log ended then';
COMMENT ON COLUMN idempotent.rejections.application_name IS 'application_name of the session that sent the payload';

-- 192 bits of hashes that agree for documents which are equal as jsonb: 2 and 2.0 are one.
CREATE FUNCTION idempotent.digest_of(document jsonb) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN int8send(jsonb_hash_extended(document, 1)) || int8send(jsonb_hash_extended(document, 2)) || int8send(jsonb_hash_extended(document, 3));
END
$$;
COMMENT ON FUNCTION idempotent.digest_of(jsonb) IS 'what identifies a repeated conflict or rejection';

-- A value in a document in the one form that equal values of its type have, where jsonb tells them apart: `1 day` and `24:00`, or
-- citext.
CREATE FUNCTION idempotent.in_one_form(document jsonb, type oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pg_type;
BEGIN
    SELECT own.* INTO t FROM pg_type AS given, idempotent.base_of(given) AS based, pg_type AS own WHERE given.oid = type AND own.oid = based.base;
    RETURN CASE
        WHEN jsonb_typeof(document) = 'string' THEN CASE
            WHEN t.oid = 'interval'::regtype THEN to_jsonb(idempotent.digest_interval(interval_send((document #>> '{}')::interval)))
            WHEN t.typname = 'citext' THEN to_jsonb(lower(document #>> '{}'))
            ELSE document END
        WHEN jsonb_typeof(document) = 'array' AND t.typelem <> 0 THEN
            coalesce((SELECT jsonb_agg(idempotent.in_one_form(member, CASE jsonb_typeof(member) WHEN 'array' THEN t.oid ELSE t.typelem END) ORDER BY n)
                        FROM jsonb_array_elements(document) WITH ORDINALITY AS m (member, n)), '[]')
        WHEN jsonb_typeof(document) = 'object' AND t.typtype = 'c' THEN
            document || coalesce((SELECT jsonb_object_agg(a.attname, idempotent.in_one_form(document -> a.attname::text, a.atttypid))
                                    FROM pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped AND document ? a.attname::text), '{}')
        ELSE document END;
END
$$;
COMMENT ON FUNCTION idempotent.in_one_form(jsonb, oid) IS 'part of what identifies a repeated conflict';

-- The same for the differences of a conflict.
CREATE FUNCTION idempotent.in_one_form(target regclass, differences jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((
        SELECT jsonb_object_agg(name, (SELECT jsonb_object_agg(side, idempotent.in_one_form(value, a.atttypid)) FROM jsonb_each(both_values) AS v (side, value)))
          FROM jsonb_each(differences) AS d (name, both_values) JOIN pg_attribute AS a ON a.attrelid = target AND a.attname = name AND NOT a.attisdropped), '{}');
END
$$;
COMMENT ON FUNCTION idempotent.in_one_form(regclass, jsonb) IS 'part of what identifies a repeated conflict';

-- A conflict that arrives again while its record is open is not recorded twice. What makes two the same is the stored row
-- and what differs: columns that are not compared may be others in every retry.
CREATE FUNCTION idempotent.record_conflict(target regclass, key jsonb, payload jsonb, stored jsonb, differences jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO idempotent.conflict_records (target, key, payload, stored, differences, digest)
    VALUES (target, key, payload, stored, differences, idempotent.digest_of(jsonb_build_array(stored, idempotent.in_one_form(target, differences))))
    ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION idempotent.record_conflict(regclass, jsonb, jsonb, jsonb, jsonb) IS 'records a conflict';

CREATE FUNCTION idempotent.record_rejection(target regclass, payload jsonb, error jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO idempotent.rejection_records (target, payload, error, digest)
    VALUES (target, payload, error, idempotent.digest_of(jsonb_build_array(payload, error - '{message,detail}'::text[])))
    ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION idempotent.record_rejection(regclass, jsonb, jsonb) IS 'records a rejected payload';

-- Ends a conflict. 'apply_payload' updates the columns that differ, unless the stored row has changed since.
CREATE FUNCTION idempotent_resolve(id bigint, resolution text) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    record idempotent.conflict_records;
    ended boolean;
BEGIN
    PERFORM idempotent.check_resolution(id, resolution);
    record := idempotent.find_conflict(id);
    ended := idempotent.end_conflict(record, resolution);
    IF ended AND resolution OPERATOR(pg_catalog.=) 'apply_payload' THEN
        PERFORM idempotent.apply_conflict(record);
    END IF;
    RETURN ended;
END
$$;
COMMENT ON FUNCTION idempotent_resolve(bigint, text) IS
    'ends a conflict of idempotent.conflicts: keep_stored, or apply_payload';

CREATE FUNCTION idempotent.check_resolution(id bigint, resolution text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.require('id', id IS NOT NULL);
    PERFORM idempotent.require('resolution', resolution IS NOT NULL);
    IF resolution NOT IN ('keep_stored', 'apply_payload') THEN
        PERFORM idempotent.fail('22023', format('unrecognized resolution: "%s"', idempotent.cut(resolution)), hint => 'Available resolutions: keep_stored, apply_payload.');
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_resolution(bigint, text) IS 'refuses a resolution that is none';

-- A conflict that the caller may not see does not exist for them: a policy hides its record.
CREATE FUNCTION idempotent.find_conflict(id bigint) RETURNS idempotent.conflict_records
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    record idempotent.conflict_records;
BEGIN
    SELECT * INTO record FROM idempotent.conflict_records AS r WHERE r.id = find_conflict.id;
    IF NOT FOUND OR NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = record.target) THEN
        PERFORM idempotent.fail('42704', format('conflict %s does not exist', id));
    ELSIF NOT idempotent.may_see(record.target) THEN
        PERFORM idempotent.fail('42501', format('permission denied for conflict %s', id),
            'It takes USAGE on the schema of the table, SELECT on the table, and row-level security policies that show the stored row.');
    END IF;
    RETURN record;
END
$$;
COMMENT ON FUNCTION idempotent.find_conflict(bigint) IS 'the record of a conflict';

-- The rights of an UPDATE of what differs are demanded for either resolution. False if it was ended so before.
CREATE FUNCTION idempotent.end_conflict(record idempotent.conflict_records, resolution text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    earlier text;
    bad text;
BEGIN
    SELECT name INTO bad FROM jsonb_object_keys(record.differences) AS name
     WHERE idempotent.column_number(record.target, name) IS NULL AND resolution = 'apply_payload' LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.no_such_column(record.target, bad, NULL);
    END IF;
    SELECT name INTO bad FROM jsonb_object_keys(record.differences) AS name
     WHERE idempotent.column_number(record.target, name) IS NOT NULL
       AND NOT has_column_privilege(record.target, idempotent.column_number(record.target, name), 'UPDATE') LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.fail('42501', format('permission denied for table %s', idempotent.name_of(record.target)));
    END IF;
    UPDATE idempotent.conflict_records AS r SET resolution = end_conflict.resolution, resolved_at = clock_timestamp() WHERE r.id = record.id AND r.resolution IS NULL;
    IF FOUND THEN
        RETURN true;
    END IF;
    SELECT r.resolution INTO earlier FROM idempotent.conflict_records AS r WHERE r.id = record.id;
    IF earlier <> end_conflict.resolution THEN
        PERFORM idempotent.fail('55000', format('conflict %s is already resolved', record.id), format('It was resolved with "%s".', earlier));
    END IF;
    RETURN false;
END
$$;
COMMENT ON FUNCTION idempotent.end_conflict(idempotent.conflict_records, text) IS 'ends a conflict';

CREATE FUNCTION idempotent.apply_conflict(record idempotent.conflict_records) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    statements record;
    seen idempotent.look;
    updated boolean;
    violated text;
BEGIN
    SELECT * INTO statements FROM idempotent.application_of(record);
    EXECUTE statements.lock USING record.stored;
    EXECUTE statements.look INTO seen USING record.stored;
    PERFORM idempotent.check_unchanged(record, seen);
    IF statements.update IS NULL THEN
        -- Only a digest tells that another payload arrived first: the row is as this one has it.
        RETURN;
    END IF;
    BEGIN
        EXECUTE statements.update INTO updated USING record.stored, record.payload;
    EXCEPTION WHEN unique_violation THEN
        GET STACKED DIAGNOSTICS violated = CONSTRAINT_NAME;
        IF idempotent.changes_key(record, violated) THEN
            PERFORM idempotent.refuse_out_of_key(record);
        END IF;
        RAISE;
    END;
    IF updated IS NULL THEN
        seen.found := false;
        PERFORM idempotent.check_unchanged(record, seen);
    END IF;
    EXECUTE statements.look INTO seen USING record.stored;
    IF NOT seen.found THEN
        PERFORM idempotent.refuse_out_of_key(record);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.apply_conflict(idempotent.conflict_records) IS 'updates a stored row by the payload of a conflict';

-- Whether the payload's own values, and not a trigger, gave the row a key that another row has.
CREATE FUNCTION idempotent.changes_key(record idempotent.conflict_records, violated text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    arbiter idempotent.unique_index := idempotent.arbiter_for_key(record.target, ARRAY(SELECT jsonb_object_keys(record.key)));
BEGIN
    RETURN violated = arbiter.name
        AND EXISTS (SELECT FROM jsonb_object_keys(record.differences) AS name WHERE idempotent.column_number(record.target, name) = ANY (arbiter.deciding));
END
$$;
COMMENT ON FUNCTION idempotent.changes_key(idempotent.conflict_records, text) IS 'whether a payload moves its row to another key';

-- The statements that lock the stored row, look whether it is as it was recorded, and update it.
CREATE FUNCTION idempotent.application_of(record idempotent.conflict_records, OUT lock text, OUT look text, OUT update text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    arbiter idempotent.unique_index := idempotent.arbiter_for_key(record.target, ARRAY(SELECT jsonb_object_keys(record.key)));
    named smallint[] := ARRAY(SELECT idempotent.column_number(record.target, name) FROM jsonb_object_keys(record.stored) AS name
                               WHERE idempotent.column_number(record.target, name) IS NOT NULL);
    differing smallint[] := ARRAY(SELECT idempotent.column_number(record.target, name) FROM jsonb_object_keys(record.differences) AS name);
    same_key text := (SELECT string_agg(format('(%s) %s sent."key %s"%s', arbiter.expressions[n], arbiter.equals[n], n, arbiter.collates[n]), ' AND ')
                        FROM generate_subscripts(arbiter.parts, 1) AS n);
    key_of_stored text := format('(SELECT %s FROM (%s) AS stored) AS sent',
        (SELECT string_agg(format('(%s) AS "key %s"', arbiter.expressions[n], n), ', ') FROM generate_subscripts(arbiter.parts, 1) AS n),
        idempotent.reading_of(record.target, named));
BEGIN
    lock := format('SELECT FROM %s AS own, %s WHERE %s%s FOR UPDATE OF own', idempotent.qualified(record.target), key_of_stored, same_key, ' AND ' || arbiter.condition);
    look := idempotent.look_of(record.target, arbiter, named, ARRAY(SELECT n FROM unnest(named) AS n WHERE n <> ALL (arbiter.numbers)));
    -- The payload is one column, so that an expression of the key finds columns of the table alone.
    update := CASE WHEN record.differences <> '{}' THEN format('WITH updated AS (UPDATE %s AS own SET %s FROM %s, (SELECT payload AS "the payload" FROM (%s) AS payload) AS given WHERE %s%s RETURNING true) SELECT true FROM updated', idempotent.qualified(record.target),
        (SELECT string_agg(format('%I = ("the payload").%1$I', name), ', ') FROM jsonb_object_keys(record.differences) AS name), key_of_stored,
        idempotent.reading_of(record.target, differing, '$2'), same_key, ' AND ' || arbiter.condition) END;
END
$$;
COMMENT ON FUNCTION idempotent.application_of(idempotent.conflict_records) IS 'the statements that apply the payload of a conflict';

CREATE FUNCTION idempotent.check_unchanged(record idempotent.conflict_records, seen idempotent.look) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT seen.found OR cardinality(seen.differing) > 0 THEN
        PERFORM idempotent.fail('55000', format('the stored row in table "%s" has changed since conflict %s', idempotent.name_of(record.target), record.id),
            CASE WHEN seen.found THEN 'The row differs from the one that was recorded with the conflict.'
                 ELSE 'The row no longer exists, or a trigger prevents the update.' END,
            'Look at the row, then resolve the conflict with ''keep_stored'', or send the payload again.', record.target);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_unchanged(idempotent.conflict_records, idempotent.look) IS 'refuses a stored row that has changed since its conflict';

CREATE FUNCTION idempotent.refuse_out_of_key(record idempotent.conflict_records) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.fail('55000', format('the payload of conflict %s would move the row in table "%s" out of its key', record.id, idempotent.name_of(record.target)),
        'With the payload''s values, or what a trigger makes of them, its key would not lead to the row.',
        'Update the row yourself, then resolve the conflict with ''keep_stored''.', record.target,
        "constraint" => (idempotent.arbiter_for_key(record.target, ARRAY(SELECT jsonb_object_keys(record.key)))).name);
END
$$;
COMMENT ON FUNCTION idempotent.refuse_out_of_key(idempotent.conflict_records) IS 'refuses an update that would change the key of a row';
