-- What a guard remembers: the original payload of a key, in a column of the stored row. docs/guard.md, remember
--
-- A jsonb column keeps the compared columns by name, a bytea column a version byte and their SHA-256. Both are what the
-- compiled edition keeps. Values in a document are written so that nothing is lost: arrays, composites and json as their
-- texts, and so is a jsonb that is no object or array.

CREATE TYPE idempotent.memory AS (
    number      smallint,
    name        text,
    is_digest   boolean,
    -- The columns that are kept, and those of them that a payload may leave out.
    kept        smallint[],
    if_supplied smallint[]
);
COMMENT ON TYPE idempotent.memory IS 'the column in which a guard keeps what first arrived';

CREATE FUNCTION idempotent.cannot_remember(target regclass, c idempotent.column_info, state text, why text, detail text, hint text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.fail(state, format('column "%s" %scannot remember the original payload', c.name, why), detail, hint, target, c.name);
END
$$;
COMMENT ON FUNCTION idempotent.cannot_remember(regclass, idempotent.column_info, text, text, text, text) IS 'refuses a column that cannot remember';

-- A part of a type whose equal values the portable edition cannot write in one way; NULL if there is none. citext can be had in
-- lower case, but only as a column.
CREATE FUNCTION idempotent.part_without_form(type oid, in_collation oid) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pg_type;
BEGIN
    SELECT own.* INTO t FROM pg_type AS given, idempotent.base_of(given) AS based, pg_type AS own WHERE given.oid = type AND own.oid = based.base;
    RETURN CASE
        WHEN EXISTS (SELECT FROM pg_collation WHERE oid = in_collation AND NOT collisdeterministic) THEN t.oid
        WHEN t.typtype = 'c' THEN
            (SELECT min(part) FROM pg_attribute AS a, idempotent.part_without_form(a.atttypid, a.attcollation) AS part WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
        WHEN t.typtype IN ('r', 'm') THEN
            (SELECT idempotent.part_without_form(rngsubtype, rngcollation) FROM pg_range WHERE t.oid IN (rngtypid, rngmultitypid))
        WHEN t.typsubscript = 'array_subscript_handler'::regproc THEN idempotent.part_without_form(t.typelem, in_collation)
        -- Of an extension, unless equal values of it are stored, or at least shown, alike.
        WHEN t.oid >= 16384 AND t.typtype = 'b' AND t.typname NOT IN ('hstore', 'ltree') THEN t.oid END;
END
$$;
COMMENT ON FUNCTION idempotent.part_without_form(oid, oid) IS 'a part of a type of which a guard cannot keep a digest';

CREATE FUNCTION idempotent.check_digestible(target regclass, column_that_keeps idempotent.column_info, kept smallint[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad record;
BEGIN
    SELECT c.name, t.typname, format_type(part, NULL) AS type,
           t.typcollation <> 0 OR EXISTS (SELECT FROM pg_opclass JOIN pg_am AS method ON method.oid = opcmethod WHERE method.amname = 'hash' AND opcintype = part) AS hashes INTO bad
      FROM idempotent.columns_of(target, false) AS c JOIN pg_attribute AS a ON a.attrelid = target AND a.attnum = c.number
     CROSS JOIN idempotent.part_without_form(c.typid, a.attcollation) AS part
      JOIN pg_type AS t ON t.oid = part
     WHERE c.number = ANY (kept) AND NOT idempotent.is_citext(c.base, a.attcollation) AND idempotent.equality(c.typid) IS NOT NULL ORDER BY c.number LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.cannot_remember(target, column_that_keeps, '0A000', '',
            format('It is a bytea, and column "%s" has values of type %s.', bad.name,
                CASE WHEN bad.hashes THEN bad.type || ', of which the portable edition has no digest that is the same for equal values'
                     ELSE bad.typname || ', which has no hash: equal values may have different digests' END),
            'Remember in a jsonb column, or leave the column out of the comparison.');
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_digestible(regclass, idempotent.column_info, smallint[]) IS 'refuses to keep a digest of values that have none';

CREATE FUNCTION idempotent.is_citext(type oid, in_collation oid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM pg_type WHERE oid = type AND typname = 'citext') AND NOT EXISTS (SELECT FROM pg_collation WHERE oid = in_collation AND NOT collisdeterministic);
END
$$;
COMMENT ON FUNCTION idempotent.is_citext(oid, oid) IS 'whether a type is citext';

-- The option remember of a guard, resolved for its table.
CREATE FUNCTION idempotent.memory_of(target regclass, named text, kept smallint[], if_supplied smallint[]) RETURNS idempotent.memory
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c idempotent.column_info;
BEGIN
    SELECT * INTO c FROM idempotent.columns_of(target) AS own WHERE own.name = named;
    IF c.generated <> '' THEN
        PERFORM idempotent.cannot_remember(target, c, '428C9', 'is generated and ', NULL, NULL);
    ELSIF c.filled_by IS NOT NULL OR c.identity <> '' THEN
        PERFORM idempotent.cannot_remember(target, c, '22023', 'has a default and ',
            'A payload with a value in the column counts as one that has arrived before.', 'Drop the default.');
    ELSIF c.typid NOT IN ('jsonb'::regtype, 'bytea'::regtype) THEN
        PERFORM idempotent.cannot_remember(target, c, '42804', '', 'Its type is neither jsonb nor bytea.',
            'A jsonb keeps the compared columns, a bytea their SHA-256.');
    ELSIF c.typid = 'bytea'::regtype THEN
        PERFORM idempotent.check_digestible(target, c, kept);
    END IF;
    RETURN ROW(c.number, c.name, c.typid = 'bytea'::regtype, kept, if_supplied);
END
$$;
COMMENT ON FUNCTION idempotent.memory_of(regclass, text, smallint[], smallint[]) IS 'the column that remembers';

-- Documents.

-- SQL for a value in a document, under settings that are fixed.
CREATE FUNCTION idempotent.written(c idempotent.column_info, value text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE
        WHEN c.base = 'jsonb'::regtype THEN
            format('CASE WHEN pg_catalog.jsonb_typeof(%1$s) IN (''object'', ''array'') THEN %1$s::pg_catalog.jsonb ELSE pg_catalog.to_jsonb(%1$s::pg_catalog.text) END', value)
        WHEN c.base = 'json'::regtype OR EXISTS (SELECT FROM pg_cast WHERE castsource = c.base AND casttarget = 'json'::regtype)
             OR EXISTS (SELECT FROM pg_type WHERE oid = c.base AND (typtype = 'c' OR typsubscript = 'array_subscript_handler'::regproc)) THEN
            format('pg_catalog.to_jsonb(%s)', idempotent.shown(value))
        ELSE format('pg_catalog.to_jsonb(%s)', value) END;
END
$$;
COMMENT ON FUNCTION idempotent.written(idempotent.column_info, text) IS 'SQL for a value in a document';

-- SQL for the value of a column that first arrived: that of own.document, if it has the column, else `otherwise`. What
-- jsonb_to_record makes of the document is in `fields`.
CREATE FUNCTION idempotent.first_value(c idempotent.column_info, otherwise text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN format('CASE WHEN pg_catalog.jsonb_typeof(own.document) OPERATOR(pg_catalog.=) ''object'' AND own.document OPERATOR(pg_catalog.?) %L THEN %s ELSE %s END', c.name,
        CASE WHEN c.base IN ('json'::regtype, 'jsonb'::regtype) THEN
            format('CASE pg_catalog.jsonb_typeof(own.document OPERATOR(pg_catalog.->) %1$L) WHEN ''null'' THEN NULL WHEN ''string'' THEN (own.document OPERATOR(pg_catalog.->>) %1$L)::%2$s'
                   ' ELSE (own.document OPERATOR(pg_catalog.->) %1$L)::%2$s END', c.name, c.type)
        ELSE (SELECT replace(value, 'sent.', 'fields.') FROM idempotent.reading(c, 'own.document')) END, otherwise);
END
$$;
COMMENT ON FUNCTION idempotent.first_value(idempotent.column_info, text) IS 'SQL for a value that first arrived';

-- SQL that joins the values that first arrived, or that a payload says have: a row `name` with the compared columns.
CREATE FUNCTION idempotent.join_first(m idempotent.memory, cols idempotent.column_info[], compared smallint[], document text, name text, otherwise text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plain text := (SELECT string_agg((idempotent.reading(c)).declaration, ', ' ORDER BY c.number) FROM unnest(cols) AS c
                    WHERE c.number = ANY (m.kept) AND c.number = ANY (compared) AND c.base NOT IN ('json'::regtype, 'jsonb'::regtype));
BEGIN
    RETURN format(' LEFT JOIN LATERAL (SELECT %s FROM (SELECT %s AS document) AS own%s) AS %s ON true',
        (SELECT string_agg(format('%s AS %I', CASE WHEN c.number = ANY (m.kept) THEN idempotent.first_value(c, format('%s.%I', otherwise, c.name))
                                                   ELSE format('%s.%I', otherwise, c.name) END, c.name), ', ' ORDER BY c.number)
           FROM unnest(cols) AS c WHERE c.number = ANY (compared)),
        document, format(', pg_catalog.jsonb_to_record(CASE pg_catalog.jsonb_typeof(own.document) WHEN ''object'' THEN own.document END) AS fields (%s)', plain), name);
END
$$;
COMMENT ON FUNCTION idempotent.join_first(idempotent.memory, idempotent.column_info[], smallint[], text, text, text) IS 'SQL for the values that first arrived';

-- Digests.

-- SQL for the value of a column, as a digest takes it in.
CREATE FUNCTION idempotent.digestible(c idempotent.column_info, value text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE
        WHEN c.base = 'json'::regtype THEN format('%s::pg_catalog.jsonb', value)
        WHEN c.base = 'xml'::regtype THEN format('pg_catalog.convert_to(%s::pg_catalog.text, pg_catalog.getdatabaseencoding())', value)
        WHEN EXISTS (SELECT FROM pg_type WHERE oid = c.base AND typname = 'citext') THEN format('pg_catalog.lower(%s::pg_catalog.text)', value)
        WHEN c.base <> 'jsonb'::regtype AND EXISTS (SELECT FROM pg_cast WHERE castsource = c.base AND casttarget = 'json'::regtype) THEN idempotent.shown(value)
        ELSE value END;
END
$$;
COMMENT ON FUNCTION idempotent.digestible(idempotent.column_info, text) IS 'SQL for a value in a digest';

-- The version byte and the hash of the values of a row, whose columns have these names; `as_shown` says which of them count as
-- they are shown. NULLs are left out, and so are the columns `left_out`, whose names are hashed once more.
CREATE FUNCTION idempotent.fingerprint(line record, names text[], as_shown boolean[], left_out text[]) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET client_encoding = 'UTF8' SET extra_float_digits = 3 SET datestyle = 'ISO, YMD' SET intervalstyle = postgres SET timezone = 'UTC'
    SET bytea_output = hex SET standard_conforming_strings = on SET quote_all_identifiers = off
AS $$
DECLARE
    sent bytea := record_send(line);
    shown json := row_to_json(line);
    hash bytea;
BEGIN
    SELECT sha256(coalesce(string_agg(idempotent.digest_bytes('\x20', convert_to(names[own.n], 'UTF8'))
                || CASE WHEN as_shown[own.n] THEN idempotent.digest_bytes('\x20', convert_to(f.value #>> '{}', 'UTF8'))
                        ELSE idempotent.digest_value(own.type, own.value, f.value) END, '' ORDER BY own.n), '')) INTO hash
      FROM idempotent.sent_values(sent, 5, idempotent.sent_integer(substr(sent, 1, 4))::int, true) AS own
      JOIN json_each(shown) WITH ORDINALITY AS f (name, value, n) ON f.n = own.n
     WHERE own.value IS NOT NULL AND names[own.n] <> ALL (left_out);
    IF cardinality(left_out) > 0 THEN
        SELECT sha256(hash || string_agg(convert_to(name, 'UTF8') || '\x00', '' ORDER BY name COLLATE "C")) INTO hash FROM unnest(left_out) AS name;
    END IF;
    RETURN '\x02'::bytea || hash;
END
$$;
COMMENT ON FUNCTION idempotent.fingerprint(record, text[], boolean[], text[]) IS 'the digest that a guard keeps of a row';

-- The arguments of idempotent.fingerprint for the kept columns, whose values `value_of` gives by number.
CREATE FUNCTION idempotent.to_fingerprint(m idempotent.memory, cols idempotent.column_info[], value_of jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT format('ROW(%s)::pg_catalog.record, %L::pg_catalog.text[], %L::pg_catalog.bool[]',
                  string_agg(idempotent.digestible(c, value_of ->> c.number::text), ', ' ORDER BY c.name COLLATE "C"),
                  coalesce(array_agg(c.name ORDER BY c.name COLLATE "C"), '{}'),
                  coalesce(array_agg(c.base NOT IN ('json'::regtype, 'xml'::regtype) AND idempotent.equality(c.typid) IS NULL ORDER BY c.name COLLATE "C"), '{}'))
      FROM unnest(cols) AS c WHERE c.number = ANY (m.kept));
END
$$;
COMMENT ON FUNCTION idempotent.to_fingerprint(idempotent.memory, idempotent.column_info[], jsonb) IS 'the arguments that make the digest of a row';

CREATE FUNCTION idempotent.is_current(digest bytea) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT octet_length(digest) = 33 AND get_byte(digest, 0) = 2 $$;
COMMENT ON FUNCTION idempotent.is_current(bytea) IS 'whether a value is a digest of this version';

-- 55000 if two digests differ, and one of them is of another version: then nobody knows.
CREATE FUNCTION idempotent.is_same_digest(target regclass, name text, a bytea, b bytea) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF a <> b AND NOT (idempotent.is_current(a) AND idempotent.is_current(b)) THEN
        PERFORM idempotent.fail('55000', format('the payload remembered in column "%s" cannot be verified', name),
            'It holds no digest, or one of another version of the extension.',
            'Set the column to NULL in such rows; then the stored columns are compared.', target, name);
    END IF;
    RETURN a = b;
END
$$;
COMMENT ON FUNCTION idempotent.is_same_digest(regclass, text, bytea, bytea) IS 'whether two digests are the same';

-- Whether a digest is that of a payload. The first one may have left each of the columns `either` out, or not: only its digest
-- tells, so all are tried.
CREATE FUNCTION idempotent.is_first(target regclass, name text, first bytea, line record, names text[], as_shown boolean[], either text[]) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    either := either[1:6];
    FOR tried IN 0 .. (1 << cardinality(either)) - 1 LOOP
        IF idempotent.is_same_digest(target, name, first, idempotent.fingerprint(line, names, as_shown,
               ARRAY(SELECT either[n] FROM generate_subscripts(either, 1) AS n WHERE tried & (1 << n - 1) = 0))) THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$$;
COMMENT ON FUNCTION idempotent.is_first(regclass, text, bytea, record, text[], boolean[], text[]) IS 'whether a digest is that of a payload';

-- What a guard puts into the column.

-- The statement that gives it for a new row, $1; with what the row has left out, $2. NULL if the row brings a value itself.
CREATE FUNCTION idempotent.keep_of(target regclass, m idempotent.memory) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    cols idempotent.column_info[] := ARRAY(SELECT c FROM idempotent.columns_of(target, false) AS c WHERE c.number = ANY (m.kept));
BEGIN
    IF m.number IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN format('SELECT CASE WHEN ($1).%I IS NULL THEN pg_catalog.to_jsonb(%s) END', m.name,
        CASE WHEN m.is_digest THEN
            format('idempotent.fingerprint(%s, $2)', idempotent.to_fingerprint(m, cols, (SELECT jsonb_object_agg(c.number, format('($1).%I', c.name)) FROM unnest(cols) AS c)))
        ELSE
            -- A function has at most 100 arguments.
            coalesce((SELECT string_agg(format('pg_catalog.jsonb_build_object(%s)', part), ' OPERATOR(pg_catalog.||) ')
                        FROM (SELECT string_agg(format('%L, %s', (cols[n]).name, idempotent.written(cols[n], format('($1).%I', (cols[n]).name))), ', ') AS part
                                FROM generate_subscripts(cols, 1) AS n GROUP BY (n - 1) / 50) AS parts),
                     'pg_catalog.jsonb_build_object()')
        END);
END
$$;
COMMENT ON FUNCTION idempotent.keep_of(regclass, idempotent.memory) IS 'the statement that gives what is remembered of a new row';

-- Under settings that make the same value the same text, everywhere.
CREATE FUNCTION idempotent.kept_value(statement text, new_row anyelement, left_out text[]) RETURNS jsonb
LANGUAGE plpgsql
    SET extra_float_digits = 3 SET datestyle = 'ISO, YMD' SET intervalstyle = postgres SET timezone = 'UTC' SET bytea_output = hex
AS $$
DECLARE
    kept jsonb;
BEGIN
    EXECUTE statement INTO kept USING new_row, left_out;
    RETURN kept;
END
$$;
COMMENT ON FUNCTION idempotent.kept_value(text, anyelement, text[]) IS 'what is remembered of a new row';

-- 428C9 for an UPDATE of a remembered value. A row that has none may get one; and so may one with a digest of another version.
CREATE FUNCTION idempotent.check_update(relation regclass, guard name, column_that_keeps text, was text, now_is text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF was IS NULL OR now_is IS NOT DISTINCT FROM was THEN
        RETURN;
    ELSIF (SELECT atttypid FROM pg_attribute WHERE attrelid = relation AND attname = column_that_keeps) = 'bytea'::regtype AND NOT idempotent.is_current(was::bytea) THEN
        RETURN;
    END IF;
    PERFORM idempotent.fail('428C9', format('column "%s" cannot be updated', column_that_keeps),
        'It remembers the original payload, and the guard verifies retries against that.', target => idempotent.guarded_table(relation, guard), "column" => column_that_keeps);
END
$$;
COMMENT ON FUNCTION idempotent.check_update(regclass, name, text, text, text) IS 'refuses an UPDATE of a remembered value';
