-- A checksum of a set of rows, the same text as the compiled edition gives. docs/digest.md says how it is made: a row
-- becomes bytes, these their SHA-256, that the key of a ChaCha12 stream of 512 words, and the words of all rows are added.
--
-- What a row is made of comes from record_send, which gives each column with its type, and its value in the binary form that
-- clients are sent. For most types this form says everything. The other types are written as they are shown.

-- A number of things: seven bits a byte, the lowest first.
CREATE FUNCTION idempotent.digest_length(count int) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    written bytea := '';
BEGIN
    WHILE count >= 128 LOOP
        written := written || set_byte('\x00', 0, count & 127 | 128);
        count := count >> 7;
    END LOOP;
    RETURN written || set_byte('\x00', 0, count);
END
$$;
COMMENT ON FUNCTION idempotent.digest_length(int) IS 'part of idempotent_digest: a number of things';

-- A tag, and bytes with their number.
CREATE FUNCTION idempotent.digest_bytes(tag bytea, bytes bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN tag || idempotent.digest_length(octet_length(bytes)) || bytes;
END
$$;
COMMENT ON FUNCTION idempotent.digest_bytes(bytea, bytea) IS 'part of idempotent_digest: bytes with their number';

-- An integer, in as many bytes as it takes, whatever its type.
CREATE FUNCTION idempotent.digest_integer(value bigint) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bytes int := CASE value WHEN 0 THEN 0 ELSE
        coalesce((SELECT min(n) FROM generate_series(1, 7) AS n WHERE value >> 8 * n - 1 IN (0, -1)), 8) END;
BEGIN
    RETURN set_byte('\x00', 0, 16 + bytes) || substr(int8send(value), 9 - bytes);
END
$$;
COMMENT ON FUNCTION idempotent.digest_integer(bigint) IS 'part of idempotent_digest: an integer';

-- The 2, 4 or 8 bytes of an integer.
CREATE FUNCTION idempotent.sent_integer(sent bytea) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ('x' || lpad(encode(sent, 'hex'), 16, CASE WHEN get_byte(sent, 0) > 127 THEN 'f' ELSE '0' END))::bit(64)::bigint;
END
$$;
COMMENT ON FUNCTION idempotent.sent_integer(bytea) IS 'part of idempotent_digest: reads an integer';

-- A float; zeros are one, and so are those that are no number.
CREATE FUNCTION idempotent.digest_float(sent bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN '\x03'::bytea || CASE
        WHEN sent = '\x8000000000000000' THEN '\x0000000000000000'
        WHEN get_byte(sent, 0) & 127 = 127 AND get_byte(sent, 1) >= 240 AND substr(sent, 2) <> '\xf0000000000000' THEN '\x7ff8000000000000'
        ELSE sent END;
END
$$;
COMMENT ON FUNCTION idempotent.digest_float(bytea) IS 'part of idempotent_digest: a float';

-- A float of 4 bytes as one of 8: sign, exponent and fraction have other places there.
CREATE FUNCTION idempotent.widened(sent bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bits bigint := idempotent.sent_integer(sent);
    exponent int := bits >> 23 & 255;
    fraction bigint := bits & 8388607;
    sign float8 := CASE WHEN bits < 0 THEN -1 ELSE 1 END;
BEGIN
    RETURN float8send(sign * CASE
        WHEN exponent = 255 THEN CASE fraction WHEN 0 THEN 'Infinity' ELSE 'NaN' END::float8
        WHEN exponent = 0 THEN fraction * 2::float8 ^ -149
        ELSE (fraction + 8388608) * 2::float8 ^ (exponent - 150) END);
END
$$;
COMMENT ON FUNCTION idempotent.widened(bytea) IS 'part of idempotent_digest: a real as a double precision';

CREATE FUNCTION idempotent.digest_floats(sent bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    floats int := octet_length(sent) / 8;
BEGIN
    RETURN '\x28'::bytea || idempotent.digest_length(floats)
           || (SELECT string_agg(idempotent.digest_float(substr(sent, 8 * n + 1, 8)), '' ORDER BY n) FROM generate_series(0, floats - 1) AS n);
END
$$;
COMMENT ON FUNCTION idempotent.digest_floats(bytea) IS 'part of idempotent_digest: a geometric value';

-- Digits, weight, sign, scale, and digits of base 10000. The scale is left out, so 1.0 and 1.00 are one.
CREATE FUNCTION idempotent.digest_numeric(sent bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    digits int := idempotent.sent_integer(substr(sent, 1, 2));
    tag bytea := CASE substr(sent, 5, 2) WHEN '\xc000' THEN '\x30' WHEN '\xd000' THEN '\x31' WHEN '\xf000' THEN '\x32'
                                         WHEN '\x4000' THEN '\x34' ELSE '\x33' END;
BEGIN
    IF tag < '\x33' THEN
        RETURN tag;
    END IF;
    RETURN tag || idempotent.digest_length(digits) || CASE WHEN digits > 0 THEN substr(sent, 3, 2) || substr(sent, 9) ELSE '' END;
END
$$;
COMMENT ON FUNCTION idempotent.digest_numeric(bytea) IS 'part of idempotent_digest: a numeric';

-- Microseconds, days and months, as one span of microseconds in 16 bytes.
CREATE FUNCTION idempotent.digest_interval(sent bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    days numeric := idempotent.sent_integer(substr(sent, 13, 4)) * 30::numeric + idempotent.sent_integer(substr(sent, 9, 4));
    span numeric := days * 86400000000 + idempotent.sent_integer(substr(sent, 1, 8));
    whole CONSTANT numeric := 18446744073709551616;
    high bigint := floor(span / whole);
    low numeric := span - high * whole;
BEGIN
    RETURN '\x09'::bytea || int8send(high) || int8send((low - CASE WHEN low >= whole / 2 THEN whole ELSE 0 END)::bigint);
END
$$;
COMMENT ON FUNCTION idempotent.digest_interval(bytea) IS 'part of idempotent_digest: an interval';

-- A jsonb, or what is inside of one. Fields come by name, the shorter ones first.
CREATE FUNCTION idempotent.digest_document(document jsonb) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE jsonb_typeof(document)
        WHEN 'null' THEN '\x00'
        WHEN 'boolean' THEN CASE WHEN document::boolean THEN '\x02'::bytea ELSE '\x01' END
        WHEN 'string' THEN idempotent.digest_bytes('\x20', convert_to(document #>> '{}', 'UTF8'))
        WHEN 'number' THEN idempotent.digest_numeric(numeric_send(document::numeric))
        WHEN 'array' THEN
            '\x23'::bytea || idempotent.digest_length(jsonb_array_length(document))
            || coalesce((SELECT string_agg(idempotent.digest_document(member), '' ORDER BY n)
                           FROM jsonb_array_elements(document) WITH ORDINALITY AS m (member, n)), '')
        ELSE
            (SELECT '\x22'::bytea || idempotent.digest_length(count(*)::int)
                    || coalesce(string_agg(idempotent.digest_bytes('', name) || idempotent.digest_document(value), '' ORDER BY octet_length(name), name), '')
               FROM (SELECT convert_to(key, 'UTF8') AS name, value FROM jsonb_each(document)) AS f) END;
END
$$;
COMMENT ON FUNCTION idempotent.digest_document(jsonb) IS 'part of idempotent_digest: a jsonb';

-- So many values, each after its number of bytes, and in a row after its type; NULL where the number is -1.
CREATE FUNCTION idempotent.sent_values(sent bytea, at int, count int, typed boolean) RETURNS TABLE (n int, type oid, value bytea)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    length int;
BEGIN
    FOR i IN 1 .. count LOOP
        n := i;
        IF typed THEN
            type := idempotent.sent_integer(substr(sent, at, 4)) & 4294967295;
            at := at + 4;
        END IF;
        length := idempotent.sent_integer(substr(sent, at, 4));
        value := CASE WHEN length >= 0 THEN substr(sent, at + 4, length) END;
        at := at + 4 + greatest(length, 0);
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.sent_values(bytea, int, int, boolean) IS 'part of idempotent_digest: reads the values in a row, an array or a range';

-- Dimensions and lower bounds count. `shown` is a JSON array for each dimension.
CREATE FUNCTION idempotent.digest_array(element oid, sent bytea, shown json) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    dimensions int := idempotent.sent_integer(substr(sent, 1, 4));
    lengths bigint[] := ARRAY(SELECT idempotent.sent_integer(substr(sent, 13 + 8 * d, 4)) FROM generate_series(0, dimensions - 1) AS d);
    bounds bigint[] := ARRAY(SELECT idempotent.sent_integer(substr(sent, 17 + 8 * d, 4)) FROM generate_series(0, dimensions - 1) AS d);
    members int := CASE dimensions WHEN 0 THEN 0 ELSE 1 END;
    shown_members json[] := ARRAY[shown];
BEGIN
    FOR d IN 1 .. dimensions LOOP
        members := members * lengths[d];
        shown_members := ARRAY(SELECT own.member FROM unnest(shown_members) WITH ORDINALITY AS m (list, n), json_array_elements(list) WITH ORDINALITY AS own (member, k) ORDER BY n, k);
    END LOOP;
    RETURN '\x24'::bytea || idempotent.digest_length(dimensions)
        || coalesce((SELECT string_agg(idempotent.digest_integer(bound), '' ORDER BY n) FROM unnest(lengths || bounds) WITH ORDINALITY AS b (bound, n)), '')
        || (SELECT CASE count(value) WHEN count(*) THEN coalesce(string_agg(value, '' ORDER BY n), '') END
              FROM (SELECT n, idempotent.digest_value(element, value, shown_members[n]) AS value
                      FROM idempotent.sent_values(sent, 13 + 8 * dimensions, members, false)) AS m);
END
$$;
COMMENT ON FUNCTION idempotent.digest_array(oid, bytea, json) IS 'part of idempotent_digest: an array';

-- Bits of the first byte say of each bound whether it is inclusive (2 and 4) and infinite (8 and 16).
CREATE FUNCTION idempotent.digest_range(element oid, sent bytea) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    flags int := get_byte(sent, 0);
    finite int := CASE WHEN flags & 8 = 0 THEN 1 ELSE 0 END + CASE WHEN flags & 16 = 0 THEN 1 ELSE 0 END;
    bounds bytea[];
BEGIN
    IF flags & 1 = 1 THEN
        RETURN '\x2601';
    END IF;
    bounds := ARRAY(SELECT idempotent.digest_value(element, value, NULL) FROM idempotent.sent_values(sent, 2, finite, false) ORDER BY n);
    RETURN '\x2600'::bytea
        || set_byte('\x00', 0, (flags & 8) >> 2 | ((flags & 2) >> 1)) || CASE WHEN flags & 8 = 0 THEN bounds[1] ELSE '' END
        || set_byte('\x00', 0, (flags & 16) >> 3 | ((flags & 4) >> 2)) || CASE WHEN flags & 16 = 0 THEN bounds[finite] ELSE '' END;
END
$$;
COMMENT ON FUNCTION idempotent.digest_range(oid, bytea) IS 'part of idempotent_digest: a range';

-- The columns of a row. NULL if a value among them has to be shown, and is not.
CREATE FUNCTION idempotent.digest_columns(sent bytea, shown json) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT CASE count(value) WHEN count(*) THEN coalesce(string_agg(value, '' ORDER BY n), '') END
      FROM (SELECT own.n, idempotent.digest_value(own.type, own.value, f.value) AS value
              FROM idempotent.sent_values(sent, 5, idempotent.sent_integer(substr(sent, 1, 4))::int, true) AS own
              LEFT JOIN json_each(shown) WITH ORDINALITY AS f (name, value, n) ON f.n = own.n) AS columns);
END
$$;
COMMENT ON FUNCTION idempotent.digest_columns(bytea, json) IS 'part of idempotent_digest: the columns of a row';

-- A value of a type that consists of values of other types; NULL for any other type.
CREATE FUNCTION idempotent.digest_nested(t pg_type, sent bytea, shown json) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    element oid;
    ranges int;
BEGIN
    IF t.typtype = 'c' OR t.oid = 'record'::regtype THEN
        RETURN '\x25'::bytea || idempotent.digest_length(idempotent.sent_integer(substr(sent, 1, 4))::int) || idempotent.digest_columns(sent, shown);
    ELSIF t.typlen = -1 AND t.typsubscript = 'array_subscript_handler'::regproc THEN
        RETURN idempotent.digest_array(t.typelem, sent, shown);
    ELSIF t.typtype IN ('r', 'm') THEN
        SELECT rngsubtype INTO element FROM pg_range WHERE t.oid IN (rngtypid, rngmultitypid);
        IF t.typtype = 'r' THEN
            RETURN idempotent.digest_range(element, sent);
        END IF;
        ranges := idempotent.sent_integer(substr(sent, 1, 4));
        RETURN '\x27'::bytea || idempotent.digest_length(ranges)
            || coalesce((SELECT string_agg(idempotent.digest_range(element, value), '' ORDER BY n) FROM idempotent.sent_values(sent, 5, ranges, false)), '');
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION idempotent.digest_nested(pg_type, bytea, json) IS 'part of idempotent_digest: a value that consists of others';

-- A value as its type's output function shows it; NULL if it is not shown. JSON does not show it so where the type has a cast.
CREATE FUNCTION idempotent.digest_shown(t pg_type, shown json) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_cast WHERE castsource = t.oid AND casttarget = 'json'::regtype) THEN
        PERFORM idempotent.fail('0A000', format('the portable edition has no digest of type %s', t.typname),
            hint => 'Cast the value to text, which gives the same digest.');
    END IF;
    RETURN idempotent.digest_bytes('\x20', convert_to(shown #>> '{}', 'UTF8'));
END
$$;
COMMENT ON FUNCTION idempotent.digest_shown(pg_type, json) IS 'part of idempotent_digest: a value as it is shown';

-- A value, by its type. What comes first says what follows.
CREATE FUNCTION idempotent.digest_value(type oid, sent bytea, shown json) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pg_type;
BEGIN
    IF sent IS NULL THEN
        RETURN '\x00';
    END IF;
    SELECT own.* INTO t FROM pg_type AS given, idempotent.base_of(given) AS based, pg_type AS own WHERE given.oid = type AND own.oid = based.base;
    RETURN CASE
        WHEN t.oid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN idempotent.digest_integer(idempotent.sent_integer(sent))
        WHEN t.oid = 'oid'::regtype THEN idempotent.digest_integer(idempotent.sent_integer(sent) & 4294967295)
        WHEN t.oid IN ('text'::regtype, 'varchar'::regtype, 'json'::regtype, 'name'::regtype, 'unknown'::regtype) OR t.typtype = 'e'
             OR (SELECT prosrc = 'textout' FROM pg_proc WHERE oid = t.typoutput) THEN idempotent.digest_bytes('\x20', sent)
        WHEN t.oid = 'bpchar'::regtype THEN idempotent.digest_bytes('\x20', rtrim(sent, '\x20'))
        WHEN t.oid = 'bool'::regtype THEN CASE get_byte(sent, 0) WHEN 0 THEN '\x01'::bytea ELSE '\x02' END
        WHEN t.oid = 'numeric'::regtype THEN idempotent.digest_numeric(sent)
        WHEN t.oid = 'float8'::regtype THEN idempotent.digest_float(sent)
        WHEN t.oid = 'float4'::regtype THEN idempotent.digest_float(idempotent.widened(sent))
        WHEN t.oid = 'date'::regtype THEN '\x04' || sent
        WHEN t.oid = 'time'::regtype THEN '\x05' || sent
        WHEN t.oid = 'timetz'::regtype THEN '\x06' || sent
        WHEN t.oid = 'timestamp'::regtype THEN '\x07' || sent
        WHEN t.oid = 'timestamptz'::regtype THEN '\x08' || sent
        WHEN t.oid = 'interval'::regtype THEN idempotent.digest_interval(sent)
        WHEN t.oid = 'money'::regtype THEN '\x0a' || sent
        WHEN t.oid = 'bytea'::regtype THEN idempotent.digest_bytes('\x0b', sent)
        WHEN t.oid IN ('bit'::regtype, 'varbit'::regtype) THEN
            '\x0c' || idempotent.digest_length(idempotent.sent_integer(substr(sent, 1, 4))::int) || substr(sent, 5)
        -- The family and the bits; not whether it is a cidr, nor the number of bytes.
        WHEN t.oid IN ('inet'::regtype, 'cidr'::regtype) THEN idempotent.digest_bytes('\x0d', substr(sent, 1, 2) || substr(sent, 5))
        WHEN t.oid = 'uuid'::regtype THEN idempotent.digest_bytes('\x0e', sent)
        WHEN t.oid IN ('macaddr'::regtype, 'macaddr8'::regtype) THEN idempotent.digest_bytes('\x0f', sent)
        WHEN t.oid IN ('point'::regtype, 'line'::regtype, 'circle'::regtype, 'lseg'::regtype, 'box'::regtype) THEN idempotent.digest_floats(sent)
        WHEN t.oid = 'path'::regtype THEN CASE get_byte(sent, 0) WHEN 0 THEN '\x01'::bytea ELSE '\x02' END || idempotent.digest_floats(substr(sent, 6))
        WHEN t.oid = 'polygon'::regtype THEN idempotent.digest_floats(substr(sent, 5))
        WHEN t.oid = 'jsonb'::regtype THEN '\x21'::bytea || idempotent.digest_document(convert_from(substr(sent, 2), 'UTF8')::jsonb)
        WHEN t.typtype IN ('c', 'r', 'm') OR t.oid = 'record'::regtype OR t.typsubscript = 'array_subscript_handler'::regproc THEN
            idempotent.digest_nested(t, sent, shown)
        ELSE idempotent.digest_shown(t, shown) END;
END
$$;
COMMENT ON FUNCTION idempotent.digest_value(oid, bytea, json) IS 'part of idempotent_digest: a value';

-- Under settings that make the same value the same text, everywhere. In SQL, since PL/pgSQL takes records of one type only.
CREATE FUNCTION idempotent.digest_line(line anyelement) RETURNS bytea
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    SET client_encoding = 'UTF8' SET extra_float_digits = 3 SET datestyle = 'ISO, YMD' SET intervalstyle = postgres SET timezone = 'UTC'
    SET bytea_output = hex SET standard_conforming_strings = on SET quote_all_identifiers = off
AS $$
    SELECT coalesce(idempotent.digest_columns(record_send(line), NULL), idempotent.digest_columns(record_send(line), row_to_json(line)))
$$;
COMMENT ON FUNCTION idempotent.digest_line(anyelement) IS 'part of idempotent_digest: the bytes of a row';

-- The words of a row, times `times`, added to the sums of others: 32 blocks of 16 words of the ChaCha12 stream whose key is
-- the hash of the row. A sum has room for 2 to the power of 31 rows; what is more than 32 bits is carried in the end. The first
-- two words count the rows instead.
--
-- A quarter of a round changes four columns of words at once. Each is a subquery around the one before, because a loop would
-- take many times as long.
DO $make$
DECLARE
    rotations CONSTANT int[] := '{16,12,8,7}';
    begins text[] := '{1634760805,857760878,2036477234,1797285236}'::text[] || ARRAY(SELECT format('key[%s]', k) FROM generate_series(1, 8) AS k) || '{n,0,0,0}'::text[];
    query text := 'SELECT n::bigint AS n, ' || (SELECT string_agg(format('%s::bigint AS x%s', word, i), ', ' ORDER BY i) FROM unnest(begins) WITH ORDINALITY AS w (word, i))
                  || ' FROM generate_series(0, 31) AS n';
    words text[];
    a int; b int; d int;
    diagonal int;
    mixed text;
BEGIN
    FOR quarter IN 0 .. 47 LOOP
        words := ARRAY(SELECT 'x' || i FROM generate_series(1, 16) AS i);
        diagonal := quarter / 4 % 2;
        FOR i IN 0 .. 3 LOOP
            a := 1 + i;
            b := 5 + (i + diagonal) % 4;
            d := 13 + (i + 3 * diagonal) % 4;
            IF quarter % 2 = 1 THEN
                a := 9 + (i + 2 * diagonal) % 4;
                SELECT d, b INTO b, d;
            END IF;
            words[a] := format('(x%s + x%s & 4294967295)', a, b);
            mixed := format('(x%s # %s)', d, words[a]);
            words[d] := format('((%1$s << %2$s) | (%1$s >> %3$s)) & 4294967295', mixed, rotations[quarter % 4 + 1], 32 - rotations[quarter % 4 + 1]);
        END LOOP;
        query := format('SELECT n, %s FROM (%s) AS before OFFSET 0', (SELECT string_agg(format('%s AS x%s', w, i), ', ' ORDER BY i) FROM unnest(words) WITH ORDINALITY AS u (w, i)), query);
    END LOOP;
    query := format('SELECT array_agg(ARRAY[%s] ORDER BY n) FROM (%s) AS words',
        (SELECT string_agg(format('coalesce(sums[n + 1][%1$s], 0) + times * %2$s', i, CASE i
                    WHEN 1 THEN format('CASE n WHEN 0 THEN 1 ELSE (x1 + %s & 4294967295) END', word)
                    WHEN 2 THEN format('CASE n WHEN 0 THEN 0 ELSE (x2 + %s & 4294967295) END', word)
                    ELSE format('(x%s + %s & 4294967295)', i, word) END), ', ' ORDER BY i)
           FROM unnest(begins) WITH ORDINALITY AS w (word, i)), query);
    EXECUTE format($create$
        CREATE FUNCTION idempotent.digest_sum(sums bigint[], hash bytea, times bigint) RETURNS bigint[]
        LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
        AS $body$
        DECLARE
            -- Little end first.
            key bigint[] := ARRAY(SELECT get_byte(hash, k) + (get_byte(hash, k + 1) << 8) + (get_byte(hash, k + 2) << 16) + (get_byte(hash, k + 3)::bigint << 24)
                                    FROM generate_series(0, 28, 4) AS k);
        BEGIN
            RETURN (%s);
        END
        $body$ $create$, query);
END
$make$;
COMMENT ON FUNCTION idempotent.digest_sum(bigint[], bytea, bigint) IS 'part of idempotent_digest: adds the words of a row';

CREATE FUNCTION idempotent.digest_add(sums bigint[], line anyelement) RETURNS bigint[]
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$ SELECT idempotent.digest_sum(sums, sha256(idempotent.digest_line(line)), 1) $$;
COMMENT ON FUNCTION idempotent.digest_add(bigint[], anyelement) IS 'part of idempotent_digest: adds a row';

CREATE FUNCTION idempotent.digest_remove(sums bigint[], line anyelement) RETURNS bigint[]
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$ SELECT idempotent.digest_sum(sums, sha256(idempotent.digest_line(line)), -1) $$;
COMMENT ON FUNCTION idempotent.digest_remove(bigint[], anyelement) IS 'part of idempotent_digest: takes a row out that leaves a window frame';

-- Two words, the lower one first, are a number of 64 bits, which is written little end first.
CREATE FUNCTION idempotent.digest_text(sums bigint[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    words bytea;
BEGIN
    SELECT string_agg(decode(regexp_replace(lpad(to_hex(word & 4294967295), 8, '0'), '(..)(..)(..)(..)', '\4\3\2\1'), 'hex'), '' ORDER BY block, i) INTO words
      FROM (SELECT block, i, coalesce(sums[block][i], 0) + CASE i % 2 WHEN 0 THEN coalesce(sums[block][i - 1], 0) >> 32 ELSE 0 END AS word
              FROM generate_series(1, 32) AS block, generate_series(1, 16) AS i) AS w;
    RETURN format('v2:%s:%s', coalesce(sums[1][1], 0), encode(sha256(words), 'hex'));
END
$$;
COMMENT ON FUNCTION idempotent.digest_text(bigint[]) IS 'part of idempotent_digest: the digest';

CREATE AGGREGATE idempotent_digest(record) (
    SFUNC      = idempotent.digest_add,
    STYPE      = bigint[],
    SSPACE     = 4200,
    INITCOND   = '{}',
    FINALFUNC  = idempotent.digest_text,
    MSFUNC     = idempotent.digest_add,
    MINVFUNC   = idempotent.digest_remove,
    MSTYPE     = bigint[],
    MSSPACE    = 4200,
    MINITCOND  = '{}',
    MFINALFUNC = idempotent.digest_text
);
COMMENT ON AGGREGATE idempotent_digest(record) IS
    'a checksum of a set of rows that does not depend on their order';
