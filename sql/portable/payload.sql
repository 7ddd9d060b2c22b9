-- From a payload to statements. Payloads that name the same fields have one plan: the statement that reads such a payload
-- and looks its key up, and the one that inserts it. Both take the payload as their parameter. Where a call has several payloads,
-- there are two more that take an array of them.

CREATE TYPE idempotent.plan AS (
    -- The fields, in the order of the document, and their columns.
    fields   text[],
    named    smallint[],
    -- The ordinal of the first such payload.
    first    bigint,
    -- The columns whose values must agree, by number and by name.
    compared smallint[],
    compared_names text[],
    -- A column that the key needs and the payload leaves out.
    missing  text,
    -- An identity column that is GENERATED ALWAYS, and must not be inserted.
    refused  text,
    look     text,
    put      text,
    look_each text,
    put_each text
);
COMMENT ON TYPE idempotent.plan IS 'how payloads that name the same fields are read, looked up and inserted';

CREATE TYPE idempotent.look AS (
    -- Whether the payload is inside the condition of the key, and its key as text.
    has_key  boolean,
    key      text[],
    -- A generated column in which it has another value than the server computes.
    wrong    text,
    -- Whether a row is stored under the key, with this spelling of it, and what is in it.
    found    boolean,
    stored_key text[],
    stored   jsonb,
    -- The payload as it is read.
    sent     jsonb,
    -- The columns that differ, and by compared column both values as text.
    differing text[],
    stored_values text[],
    sent_values text[],
    -- Whether a digest says that another payload arrived first; and the values that did where a document tells them, and
    -- those that the payload says have.
    is_other boolean,
    first    jsonb,
    brought  jsonb
);
COMMENT ON TYPE idempotent.look IS 'what a look at the row under the key of a payload has shown';

-- How a field is read: the declaration of its column in jsonb_to_record, and the expression that gives its value. The input
-- function of the type reads it, with the modifier of the column, as it reads a literal. A number for an integer is the
-- literal: 1.0 is 1, and 1.5 is rounded. `typed` says that the document is a row of a source, whose numbers are cast, and no literals.
CREATE FUNCTION idempotent.reading(c idempotent.column_info, document text DEFAULT '$1', typed boolean DEFAULT false, OUT declaration text, OUT value text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN c.base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype)
                THEN format('%I pg_catalog.text', c.name) ELSE format('%I %s', c.name, c.type) END,
           CASE WHEN c.base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
                THEN format('CASE WHEN pg_catalog.jsonb_typeof(%s OPERATOR(pg_catalog.->) %L) OPERATOR(pg_catalog.=) ''number''%5$s THEN sent.%3$I::pg_catalog.numeric::%4$s ELSE sent.%3$I::%4$s END',
                            document, c.name, c.name, c.type, CASE WHEN NOT typed THEN format(' AND pg_catalog.strpos(sent.%I, ''.'') OPERATOR(pg_catalog.>) 0', c.name) END)
                WHEN c.base = 'oid'::regtype
                THEN format('CASE pg_catalog.jsonb_typeof(%s OPERATOR(pg_catalog.->) %L) WHEN ''number'' THEN pg_catalog.trim_scale(sent.%I::pg_catalog.numeric)::pg_catalog.text::%s ELSE sent.%3$I::%4$s END',
                            document, c.name, c.name, c.type)
                ELSE format('sent.%I', c.name) END
$$;
COMMENT ON FUNCTION idempotent.reading(idempotent.column_info, text, boolean) IS 'how the field of a column is read';

-- Whether the server's own functions read JSON for a type otherwise than a payload is read: a number for an integer within an array or
-- a composite, and a list in an array of jsonb.
CREATE FUNCTION idempotent.is_read_within(type oid, within boolean DEFAULT true) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pg_type;
BEGIN
    SELECT own.* INTO t FROM pg_type AS given, idempotent.base_of(given) AS based, pg_type AS own WHERE given.oid = type AND own.oid = based.base;
    RETURN CASE
        WHEN t.oid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype) THEN within
        WHEN t.oid IN ('json[]'::regtype, 'jsonb[]'::regtype) THEN true
        WHEN t.typtype = 'c' THEN
            EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped AND idempotent.is_read_within(a.atttypid))
        WHEN t.typlen = -1 AND t.typsubscript = 'array_subscript_handler'::regproc THEN idempotent.is_read_within(t.typelem)
        ELSE false END;
END
$$;
COMMENT ON FUNCTION idempotent.is_read_within(oid, boolean) IS 'whether JSON for a type has to be written otherwise for the server';

-- What a document has for a value of this type, as the server's functions read it. A number for an integer is what the cast from numeric
-- makes of it: 1.0 is 1, and 1.5 is rounded. An array of jsonb becomes one text; lists in it are members, and no dimensions.
CREATE FUNCTION idempotent.to_be_read(document jsonb, type oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pg_type;
BEGIN
    SELECT own.* INTO t FROM pg_type AS given, idempotent.base_of(given) AS based, pg_type AS own WHERE given.oid = type AND own.oid = based.base;
    RETURN CASE
        WHEN jsonb_typeof(document) = 'number' AND strpos(document::text, '.') > 0 THEN CASE t.oid
            WHEN 'int2'::regtype THEN to_jsonb(document::numeric::int2)
            WHEN 'int4'::regtype THEN to_jsonb(document::numeric::int4)
            WHEN 'int8'::regtype THEN to_jsonb(document::numeric::int8)
            WHEN 'oid'::regtype THEN to_jsonb(trim_scale(document::numeric))
            ELSE document END
        WHEN jsonb_typeof(document) = 'array' AND t.oid IN ('json[]'::regtype, 'jsonb[]'::regtype) THEN
            to_jsonb(ARRAY(SELECT CASE jsonb_typeof(member) WHEN 'null' THEN NULL ELSE member END FROM jsonb_array_elements(document) WITH ORDINALITY AS m (member, n) ORDER BY n)::text)
        -- A list in a list is one more dimension.
        WHEN jsonb_typeof(document) = 'array' THEN
            coalesce((SELECT jsonb_agg(idempotent.to_be_read(member, CASE jsonb_typeof(member) WHEN 'array' THEN t.oid ELSE t.typelem END) ORDER BY n)
                        FROM jsonb_array_elements(document) WITH ORDINALITY AS m (member, n)), '[]')
        WHEN jsonb_typeof(document) = 'object' AND t.typtype = 'c' THEN
            document || coalesce((SELECT jsonb_object_agg(a.attname, idempotent.to_be_read(document -> a.attname::text, a.atttypid))
                                    FROM pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped AND document ? a.attname::text), '{}')
        ELSE document END;
END
$$;
COMMENT ON FUNCTION idempotent.to_be_read(jsonb, oid) IS 'a value in a document as the server reads it';

-- The same for some fields of a document, which are given with their types. Most documents have nothing of that kind.
CREATE FUNCTION idempotent.to_be_read(document jsonb, types jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF document::text !~ '\d\.\d|\[.*\[' THEN
        RETURN document;
    END IF;
    RETURN document || coalesce((SELECT jsonb_object_agg(key, idempotent.to_be_read(document -> key, type::oid)) FROM jsonb_each_text(types) AS f (key, type) WHERE document ? key), '{}');
END
$$;
COMMENT ON FUNCTION idempotent.to_be_read(jsonb, jsonb) IS 'a document as the server reads it';

-- SQL for the document from which these columns are read.
CREATE FUNCTION idempotent.read_from(cols idempotent.column_info[], document text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    types jsonb := (SELECT jsonb_object_agg(c.name, c.typid::text) FROM unnest(cols) AS c JOIN pg_type AS t ON t.oid = c.base
                     -- Only composites and arrays are worth a look.
                     WHERE CASE WHEN t.typtype = 'c' OR t.typsubscript = 'array_subscript_handler'::regproc THEN idempotent.is_read_within(c.typid, within => false) END);
BEGIN
    RETURN CASE WHEN types IS NULL THEN document ELSE format('idempotent.to_be_read(%s, %L::pg_catalog.jsonb)', document, types) END;
END
$$;
COMMENT ON FUNCTION idempotent.read_from(idempotent.column_info[], text) IS 'SQL for the document from which columns are read';

-- The payload as a row: SELECT … FROM jsonb_to_record($1) …, or from another document.
CREATE FUNCTION idempotent.reading_of(target regclass, named smallint[], document text DEFAULT '$1', typed boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    -- Most columns are of these types, which need no look into the catalogs.
    plain CONSTANT oid[] := '{bool,int2,int4,int8,numeric,float8,date,timestamp,timestamptz,uuid,text,varchar,bpchar,bytea,json,jsonb}'::regtype[]::oid[];
BEGIN
    RETURN (
    SELECT CASE WHEN cardinality(named) = 0 THEN 'SELECT' ELSE (
        SELECT format('SELECT %s FROM pg_catalog.jsonb_to_record(%s) AS sent (%s)',
                      string_agg(format('%s AS %I', r.value, c.name), ', ' ORDER BY place),
                      CASE WHEN bool_or(c.base <> ALL (plain)) THEN idempotent.read_from(array_agg(c) FILTER (WHERE c.base <> ALL (plain)), document) ELSE document END,
                      string_agg(r.declaration, ', ' ORDER BY place))
          FROM unnest(named) WITH ORDINALITY AS n (number, place)
          JOIN idempotent.columns_of(target, false) AS c ON c.number = n.number
         CROSS JOIN LATERAL idempotent.reading(c, document, typed) AS r) END);
END
$$;
COMMENT ON FUNCTION idempotent.reading_of(regclass, smallint[], text, boolean) IS 'SQL that reads a payload as a row';

-- The columns that a payload leaves out and the key, or a generated column that it names, is computed from: what their
-- defaults give, or NULL.
CREATE FUNCTION idempotent.completion_of(target regclass, arbiter idempotent.unique_index, named smallint[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT coalesce(string_agg(format(', CAST(%s AS %s) AS %I',
               CASE WHEN idempotent.repeats(c) THEN c.filled_by ELSE 'NULL' END, split_part(c.type, ' COLLATE ', 1), c.name), '' ORDER BY c.number), '')
      FROM idempotent.columns_of(target) AS c
     WHERE c.number <> ALL (named)
       AND (c.number = ANY (arbiter.deciding)
            OR c.number IN (SELECT idempotent.columns_in(target, d.adbin) FROM pg_attrdef AS d JOIN pg_attribute AS g ON g.attrelid = adrelid AND g.attnum = adnum
                             WHERE adrelid = target AND adnum = ANY (named) AND g.attgenerated <> '')));
END
$$;
COMMENT ON FUNCTION idempotent.completion_of(regclass, idempotent.unique_index, smallint[]) IS 'SQL for what completes the key of a payload';

-- The row that a trigger has, $1, as a payload.
CREATE FUNCTION idempotent.row_of(target regclass, named smallint[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT 'SELECT ' || coalesce(string_agg(format('($1).%1$I AS %1$I', attname), ', ' ORDER BY place), '')
              FROM unnest(named) WITH ORDINALITY AS n (number, place) JOIN pg_attribute ON attrelid = target AND attnum = number);
END
$$;
COMMENT ON FUNCTION idempotent.row_of(regclass, smallint[]) IS 'SQL that reads the row of a trigger';

-- SQL for a part of the key of a row. Of a row outside of the condition an index computes no expression: it may be an error.
CREATE FUNCTION idempotent.within_condition(arbiter idempotent.unique_index, part int) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN format(CASE WHEN arbiter.condition IS NOT NULL AND arbiter.numbers[part] = 0 THEN 'CASE WHEN %2$s THEN %1$s END' ELSE '(%1$s)' END,
                  arbiter.expressions[part], arbiter.condition);
END
$$;
COMMENT ON FUNCTION idempotent.within_condition(idempotent.unique_index, int) IS 'SQL for a part of the key of a row, if it has one';

-- What a look says of a payload and its stored row.
CREATE TYPE idempotent.comparison AS (
    -- SQL for the columns that differ, for both values of each as text, and what is joined for it.
    differing     text,
    stored_values text,
    sent_values   text,
    is_other      text,
    first         text,
    brought       text,
    joins         text
);
COMMENT ON TYPE idempotent.comparison IS 'SQL that compares a payload with its stored row';

-- A column of `omitted` does not differ if the payload has what its default gives in this statement.
CREATE FUNCTION idempotent.comparison_of(
    cols idempotent.column_info[], compared smallint[], omitted smallint[], stored_row text DEFAULT 's', sent_row text DEFAULT 'sent'
) RETURNS idempotent.comparison
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c idempotent.comparison;
BEGIN
    SELECT coalesce('pg_catalog.array_remove(ARRAY[' || string_agg(format('CASE WHEN NOT %s%s THEN %L END',
                        idempotent.agreement(own, format('%s.%I', stored_row, own.name), format('%s.%I', sent_row, own.name)),
                        ' AND NOT ' || CASE WHEN own.number = ANY (omitted) THEN idempotent.is_omitted(own) END, own.name), ', ' ORDER BY own.number) || '], NULL)', '''{}''::pg_catalog.text[]'),
           coalesce('ARRAY[' || string_agg(idempotent.shown(format('%s.%I', stored_row, own.name)), ', ' ORDER BY own.number) || ']', '''{}'''),
           coalesce('ARRAY[' || string_agg(idempotent.shown(format('%s.%I', sent_row, own.name)), ', ' ORDER BY own.number) || ']', '''{}'''),
           'false', 'NULL::pg_catalog.jsonb', 'NULL::pg_catalog.jsonb', ''
      INTO c FROM unnest(cols) AS own WHERE own.number = ANY (compared);
    RETURN c;
END
$$;
COMMENT ON FUNCTION idempotent.comparison_of(idempotent.column_info[], smallint[], smallint[], text, text) IS 'SQL that compares a payload with its stored row';

-- SQL that says whether a payload has what a default gives.
CREATE FUNCTION idempotent.is_omitted(c idempotent.column_info) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN idempotent.agreement(c, format('sent.%I', c.name), format('CAST(%s AS %s)', c.filled_by, split_part(c.type, ' COLLATE ', 1)));
END
$$;
COMMENT ON FUNCTION idempotent.is_omitted(idempotent.column_info) IS 'SQL that says whether a payload has what a default gives';

-- The comparison with what a document remembers.
CREATE FUNCTION idempotent.comparison_with_document(
    cols idempotent.column_info[], named smallint[], compared smallint[], omitted smallint[], m idempotent.memory
) RETURNS idempotent.comparison
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    brings boolean := m.number = ANY (named);
    c idempotent.comparison := idempotent.comparison_of(cols, compared, omitted, '"what arrived first"', CASE WHEN brings THEN '"what is brought"' ELSE 'sent' END);
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(compared)) THEN
        RETURN idempotent.comparison_of(cols, compared, omitted);
    END IF;
    c.first := format('CASE WHEN s.%I IS DISTINCT FROM NULL THEN pg_catalog.to_jsonb("what arrived first") END', m.name);
    c.joins := idempotent.join_first(m, cols, compared, format('s.%I', m.name), '"what arrived first"', 's');
    IF brings THEN
        c.brought := format('CASE WHEN s.%1$I IS DISTINCT FROM NULL AND sent.%1$I IS DISTINCT FROM NULL THEN pg_catalog.to_jsonb("what is brought") END', m.name);
        c.joins := c.joins || idempotent.join_first(m, cols, compared, format('CASE WHEN s.%1$I IS DISTINCT FROM NULL THEN sent.%1$I END', m.name), '"what is brought"', 'sent');
    END IF;
    RETURN c;
END
$$;
COMMENT ON FUNCTION idempotent.comparison_with_document(idempotent.column_info[], smallint[], smallint[], smallint[], idempotent.memory) IS 'SQL that compares a payload with what first arrived';

-- The comparison with a digest. Where the caller compares less than was kept, and where only the stored row knows a value, the
-- stored columns are compared.
CREATE FUNCTION idempotent.comparison_with_digest(
    target regclass, cols idempotent.column_info[], named smallint[], compared smallint[], omitted smallint[], m idempotent.memory
) RETURNS idempotent.comparison
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c idempotent.comparison := idempotent.comparison_of(cols, compared, omitted);
    of_payload text := CASE WHEN m.number = ANY (named) THEN format('sent.%I', m.name) ELSE 'NULL::pg_catalog.bytea' END;
    line text;
    either text;
    is_first text;
BEGIN
    IF EXISTS (SELECT FROM unnest(cols) AS own WHERE own.number = ANY (m.kept) AND own.number <> ALL (compared)
                  AND (own.number = ANY (named) OR own.number <> ALL (m.if_supplied) AND own.kind IS DISTINCT FROM 'constant' AND own.filled_by IS NOT NULL)) THEN
        RETURN c;
    END IF;
    SELECT idempotent.to_fingerprint(m, cols, coalesce(jsonb_object_agg(own.number, CASE
               WHEN own.number <> ALL (named) AND own.number = ANY (m.if_supplied) THEN format('s.%I', own.name)
               WHEN own.number <> ALL (named) THEN format('CAST(%s AS %s)', coalesce(own.filled_by, 'NULL'), split_part(own.type, ' COLLATE ', 1))
               WHEN own.number = ANY (m.if_supplied) THEN format('CASE WHEN %s THEN s.%2$I ELSE sent.%2$I END', idempotent.is_omitted(own), own.name)
               ELSE format('sent.%I', own.name) END), '{}')),
           string_agg(CASE WHEN own.number <> ALL (named) THEN quote_literal(own.name)
                           ELSE format('CASE WHEN %s OR %s THEN %L END', idempotent.is_omitted(own), idempotent.agreement(own, format('sent.%I', own.name), format('s.%I', own.name)), own.name) END,
                      ', ' ORDER BY own.name COLLATE "C") FILTER (WHERE own.number = ANY (m.if_supplied))
      INTO line, either FROM unnest(cols) AS own WHERE own.number = ANY (m.kept);
    is_first := format('CASE WHEN s.%1$I IS NOT NULL THEN CASE WHEN %2$s IS NOT NULL THEN idempotent.is_same_digest(%3$s::pg_catalog.regclass, %4$L, s.%1$I, %2$s) ELSE idempotent.is_first(%3$s::pg_catalog.regclass, %4$L, s.%1$I, %5$s, %6$s) END END',
        m.name, of_payload, target::oid, m.name, line, coalesce('pg_catalog.array_remove(ARRAY[' || either || '], NULL)', '''{}'''));
    c.joins := format(' LEFT JOIN LATERAL (SELECT %s AS is_first OFFSET 0) AS kept ON true', is_first);
    c.differing := format('CASE WHEN kept.is_first THEN ''{}'' ELSE %s END', c.differing);
    c.is_other := 'NOT kept.is_first IS TRUE AND kept.is_first IS NOT NULL';
    RETURN c;
END
$$;
COMMENT ON FUNCTION idempotent.comparison_with_digest(regclass, idempotent.column_info[], smallint[], smallint[], smallint[], idempotent.memory) IS 'SQL that compares a payload with what first arrived';

-- The statement that reads a payload, completes its key, and looks at the row that is stored under it.
-- Of the stored row it shows what the caller may read, unless `shown` says which columns. With a memory, the payload is
-- compared with what first arrived. `from_row` says that it is the row of a trigger, which is complete; then an empty `shown`
-- means that of the two rows nothing is told but the columns that differ.
CREATE FUNCTION idempotent.look_of(
    target regclass, arbiter idempotent.unique_index, named smallint[], compared smallint[], shown smallint[] DEFAULT NULL, omitted smallint[] DEFAULT '{}',
    m idempotent.memory DEFAULT NULL, from_row boolean DEFAULT false, document text DEFAULT '$1', typed boolean DEFAULT false
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    cols idempotent.column_info[] := ARRAY(SELECT c FROM idempotent.columns_of(target, m.number IS NOT NULL) AS c);
    -- What is read of the stored row: what may be shown, and what is compared.
    read text[] := ARRAY(SELECT quote_ident(c.name) FROM unnest(cols) AS c
                          WHERE c.generated <> 'v' AND (c.number = ANY (compared) OR c.number = ANY (shown) OR c.number = m.number OR m.is_digest AND c.number = ANY (m.if_supplied)
                                                        OR shown IS NULL AND has_column_privilege(target, c.number, 'SELECT')) ORDER BY c.number);
    keys text;
    stored_keys text;
    join_on text;
    key_shown text;
    stored_shown text;
    wrong text;
    generated text;
    compares idempotent.comparison := CASE
        WHEN m.number IS NULL THEN idempotent.comparison_of(cols, compared, omitted)
        WHEN m.is_digest THEN idempotent.comparison_with_digest(target, cols, named, compared, omitted, m)
        ELSE idempotent.comparison_with_document(cols, named, compared, omitted, m) END;
BEGIN
    SELECT string_agg(format(', %s AS "key %s"', idempotent.within_condition(arbiter, n), n), '' ORDER BY n),
           string_agg(format('(%s) AS "key %s"', arbiter.expressions[n], n), ', ' ORDER BY n),
           string_agg(format(CASE WHEN arbiter.nulls_equal
                                  THEN '(s."key %1$s" %3$s sent."key %1$s"%2$s OR (s."key %1$s" IS NOT DISTINCT FROM NULL AND sent."key %1$s" IS NOT DISTINCT FROM NULL))'
                                  ELSE 's."key %1$s" %3$s sent."key %1$s"%2$s' END, n, arbiter.collates[n], arbiter.equals[n]), ' AND ' ORDER BY n),
           string_agg(idempotent.shown(format('sent."key %s"', n)), ', ' ORDER BY n),
           string_agg(idempotent.shown(format('s."key %s"', n)), ', ' ORDER BY n)
      INTO keys, stored_keys, join_on, key_shown, stored_shown FROM generate_subscripts(arbiter.parts, 1) AS n;
    SELECT coalesce(string_agg(format(', CAST(%s AS %s) AS "generated %s"', c.filled_by, split_part(c.type, ' COLLATE ', 1), c.number), '' ORDER BY c.number), ''),
           coalesce('CASE ' || string_agg(format('WHEN NOT %s THEN %L', idempotent.agreement(c, format('sent.%I', c.name), format('sent."generated %s"', c.number)), c.name), ' ' ORDER BY c.number) || ' END', 'NULL')
      INTO generated, wrong FROM unnest(cols) AS c WHERE c.generated <> '' AND c.number = ANY (named);
    IF from_row THEN
        RETURN format('SELECT COALESCE(sent."has key", false), ARRAY[%s], NULL, s."found" IS NOT NULL, ARRAY[%s], %s, %s, %s'
            ' FROM (SELECT %I.*%s, (%s) AS "has key" FROM (%s OFFSET 0) AS %I OFFSET 0) AS sent LEFT JOIN (SELECT true AS "found", %s%s FROM %s %s%s) AS s ON %s AND sent."has key"%s',
            key_shown, stored_shown,
            CASE WHEN cardinality(shown) = 0 THEN 'NULL, NULL'
                 ELSE format('(SELECT pg_catalog.to_jsonb("the row") FROM (SELECT %s) AS "the row"), (SELECT pg_catalog.to_jsonb("the payload") FROM (%s) AS "the payload")',
                             coalesce((SELECT string_agg('s.' || name, ', ') FROM unnest(read) AS name), ''), idempotent.row_of(target, named)) END,
            compares.differing,
            CASE WHEN cardinality(shown) = 0 THEN format('NULL, NULL, %s, NULL, NULL', compares.is_other)
                 ELSE concat_ws(', ', compares.stored_values, compares.sent_values, compares.is_other, compares.first, compares.brought) END,
            idempotent.name_of(target), keys, coalesce(arbiter.condition, 'true'), idempotent.row_of(target, named), idempotent.name_of(target),
            stored_keys, coalesce(', ' || nullif(array_to_string(read, ', '), ''), ''),
            CASE (SELECT relkind FROM pg_class WHERE oid = target) WHEN 'p' THEN '' ELSE 'ONLY' END, idempotent.qualified(target),
            coalesce(' WHERE ' || arbiter.condition, ''), join_on, compares.joins);
    END IF;
    RETURN format(
        'WITH read AS MATERIALIZED (%s),'
        ' payload AS MATERIALIZED (SELECT read.*%s FROM read),'
        ' sent AS MATERIALIZED (SELECT %I.*%s%s, (%s) AS "has key" FROM payload AS %I)'
        ' SELECT COALESCE(sent."has key", false), ARRAY[%s], %s, s."found" IS NOT NULL, ARRAY[%s],'
        ' %s, (SELECT pg_catalog.to_jsonb("the payload") FROM (SELECT %s FROM payload) AS "the payload"), %s, %s, %s, %s, %s, %s'
        ' FROM sent LEFT JOIN (SELECT true AS "found", %s%s FROM %s %s%s) AS s ON %s AND sent."has key"%s',
        CASE WHEN from_row THEN idempotent.row_of(target, named) ELSE idempotent.reading_of(target, named, document, typed) END,
        idempotent.completion_of(target, arbiter, named) || CASE WHEN generated ~ '\mtableoid\M' THEN format(', %s::pg_catalog.oid AS tableoid', target::oid) ELSE '' END,
        idempotent.name_of(target), keys, generated, coalesce(arbiter.condition, 'true'), idempotent.name_of(target),
        key_shown, wrong, stored_shown,
        CASE WHEN cardinality(read) = 0 THEN 'NULL::pg_catalog.jsonb'
             ELSE format('(SELECT pg_catalog.to_jsonb("the row") FROM (SELECT %s) AS "the row")', (SELECT string_agg('s.' || name, ', ') FROM unnest(read) AS name)) END,
        -- What it names, and its key.
        (SELECT string_agg('payload.' || quote_ident(c.name), ', ' ORDER BY c.number) FROM unnest(cols) AS c WHERE c.number = ANY (named) OR c.number = ANY (arbiter.numbers)),
        compares.differing, compares.stored_values, compares.sent_values, compares.is_other, compares.first, compares.brought,
        stored_keys, coalesce(', ' || nullif(array_to_string(read, ', '), ''), ''),
        CASE (SELECT relkind FROM pg_class WHERE oid = target) WHEN 'p' THEN '' ELSE 'ONLY' END, idempotent.qualified(target),
        coalesce(' WHERE ' || arbiter.condition, ''), join_on, compares.joins);
END
$$;
COMMENT ON FUNCTION idempotent.look_of(regclass, idempotent.unique_index, smallint[], smallint[], smallint[], smallint[], idempotent.memory, boolean, text, boolean) IS
    'the statement that looks a payload up';

-- The statement that inserts a payload, and gives the key under which it went in, the row, and whether it is inside the condition of
-- the key.
CREATE FUNCTION idempotent.put_of(target regclass, arbiter idempotent.unique_index, named smallint[], overriding text, each boolean DEFAULT false, typed boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT format('INSERT INTO %s %s ON CONFLICT %s DO NOTHING RETURNING ARRAY[%s], %s, COALESCE(%s, false)', idempotent.qualified(target),
        coalesce(
            (SELECT format(CASE WHEN each THEN '(%s) %sSELECT %s FROM pg_catalog.unnest($1) WITH ORDINALITY AS given (payload, n) CROSS JOIN LATERAL (%s) AS sent ORDER BY given.n'
                                ELSE '(%s) %sSELECT %s FROM (%s) AS sent' END, string_agg(quote_ident(c.name), ', ' ORDER BY place),
                        'OVERRIDING ' || upper(overriding) || ' VALUE ',
                        string_agg(format('sent.%I', c.name), ', ' ORDER BY place), idempotent.reading_of(target, named, CASE WHEN each THEN 'given.payload' ELSE '$1' END, typed))
               FROM unnest(named) WITH ORDINALITY AS n (number, place) JOIN idempotent.columns_of(target, false) AS c ON c.number = n.number AND c.generated = ''
             HAVING count(*) > 0),
            'DEFAULT VALUES'),
        idempotent.conflict_target(target, arbiter),
        (SELECT string_agg(idempotent.shown(idempotent.within_condition(arbiter, n)), ', ' ORDER BY n) FROM generate_subscripts(arbiter.parts, 1) AS n),
        coalesce((SELECT format('(SELECT pg_catalog.to_jsonb("the row") FROM (SELECT %s) AS "the row")', string_agg(quote_ident(c.name), ', ' ORDER BY c.number))
                    FROM idempotent.columns_of(target, false) AS c WHERE c.generated <> 'v' AND has_column_privilege(target, c.number, 'SELECT')
                  HAVING count(*) > 0), 'NULL::pg_catalog.jsonb'),
        coalesce(arbiter.condition, 'true')));
END
$$;
COMMENT ON FUNCTION idempotent.put_of(regclass, idempotent.unique_index, smallint[], text, boolean, boolean) IS 'the statement that inserts a payload';

-- Refuses what is no object, and a field that is no column.
CREATE FUNCTION idempotent.check_payloads(target regclass, payloads jsonb[], origin text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad record;
    names text[] := ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = target AND attnum > 0 AND NOT attisdropped);
BEGIN
    SELECT n, jsonb_typeof(payload) AS kind INTO bad FROM unnest(payloads) WITH ORDINALITY AS p (payload, n) WHERE jsonb_typeof(payload) <> 'object' ORDER BY n LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.fail('22023', CASE origin WHEN 'payload' THEN 'argument "payload" must be a JSON object' ELSE format('payload %s is not a JSON object', bad.n) END,
            format('It is a JSON %s.', bad.kind));
    END IF;
    SELECT n, field INTO bad FROM unnest(payloads) WITH ORDINALITY AS p (payload, n), jsonb_object_keys(payload) WITH ORDINALITY AS f (field, place)
     WHERE field <> ALL (names) ORDER BY n, place LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.no_such_column(target, bad.field, CASE origin WHEN 'payloads' THEN format('Payload %s has a field of that name.', bad.n) END);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_payloads(regclass, jsonb[], text) IS 'refuses payloads that are no rows of the target';

-- Of a column whose type JSON shows by a cast, and that has a cast back: SQL that gives the literal for a field, $1.
CREATE FUNCTION idempotent.casts_back(target regclass) RETURNS TABLE (field text, statement text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN QUERY
    SELECT a.attname::text,
           format('SELECT CASE pg_catalog.num_nulls(given.value) WHEN 0 THEN pg_catalog.to_jsonb(pg_catalog.format(''%%s'', given.value)) END'
                  ' FROM (SELECT CAST($1 AS %s) OFFSET 0) AS given (value)', format_type(based.base, NULL))
      FROM pg_attribute AS a
     CROSS JOIN LATERAL (SELECT coalesce((SELECT b.base FROM pg_type AS domain, idempotent.base_of(domain) AS b WHERE domain.oid = a.atttypid AND domain.typtype = 'd'), a.atttypid)) AS based (base)
     WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
       AND EXISTS (SELECT FROM pg_cast WHERE castsource = based.base AND casttarget = 'json'::regtype AND castmethod = 'f')
       AND EXISTS (SELECT FROM pg_cast WHERE castsource = 'jsonb'::regtype AND casttarget = based.base AND castmethod = 'f');
END
$$;
COMMENT ON FUNCTION idempotent.casts_back(regclass) IS 'how objects and arrays become values of types that JSON shows by a cast';

-- Payloads in which such objects and arrays are literals. The cast runs once for each, with the rights of the caller. What it refuses
-- stays as it is where payloads are rejected one by one: then it cannot be read.
CREATE FUNCTION idempotent.cast_back(target regclass, payloads jsonb[], rejects boolean) RETURNS jsonb[]
LANGUAGE plpgsql
AS $$
DECLARE
    own record;
    literal jsonb;
BEGIN
    FOR own IN SELECT * FROM idempotent.casts_back(target) LOOP
        FOR i IN 1 .. pg_catalog.cardinality(payloads) LOOP
            CONTINUE WHEN NOT COALESCE(pg_catalog.jsonb_typeof(payloads[i] OPERATOR(pg_catalog.->) own.field) OPERATOR(pg_catalog.=) ANY ('{object,array}'), false);
            BEGIN
                EXECUTE own.statement INTO literal USING payloads[i] OPERATOR(pg_catalog.->) own.field;
                payloads[i] := payloads[i] OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(own.field, literal);
            EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
                IF NOT rejects THEN
                    RAISE;
                END IF;
            END;
        END LOOP;
    END LOOP;
    RETURN payloads;
END
$$;
COMMENT ON FUNCTION idempotent.cast_back(regclass, jsonb[], boolean) IS 'payloads with literals of types that JSON shows by a cast';

-- The plans of payloads, which of them each payload has, and the arbiter. `named` are the columns that all of them name.
CREATE FUNCTION idempotent.plans_of(
    target regclass, payloads jsonb[], rule idempotent.rule, guard_key text[], m idempotent.memory, origin text, source_names smallint[], rejects boolean,
    OUT arbiter idempotent.unique_index, OUT plans idempotent.plan[], OUT plan_of int[]
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    named smallint[];
    plan idempotent.plan;
    place text;
BEGIN
    -- Payloads that name the same fields have the same text of them.
    WITH documents AS (SELECT n, ARRAY(SELECT jsonb_object_keys(payload)) AS fields FROM unnest(payloads) WITH ORDINALITY AS p (payload, n)),
         shapes AS (SELECT fields, min(n) AS first, row_number() OVER (ORDER BY min(n)) AS shape FROM documents GROUP BY fields)
    SELECT array_agg(DISTINCT ROW(fields, ARRAY(SELECT idempotent.column_number(target, f) FROM unnest(fields) WITH ORDINALITY AS u (f, k) ORDER BY k),
                                  first, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::idempotent.plan),
           (SELECT array_agg(shape ORDER BY n) FROM documents JOIN shapes USING (fields))
      INTO plans, plan_of FROM shapes;
    plans := ARRAY(SELECT p FROM unnest(plans) AS p ORDER BY p.first);
    named := coalesce(source_names, ARRAY(SELECT c.number FROM idempotent.columns_of(target, false) AS c
                                           WHERE NOT EXISTS (SELECT FROM unnest(plans) AS p WHERE c.number <> ALL (p.named))));
    arbiter := idempotent.find_arbiter(target, rule, named, guard_key, origin);
    PERFORM idempotent.check_rule(target, arbiter, rule);
    IF NOT (arbiter.parts <@ guard_key AND guard_key <@ arbiter.parts) THEN
        -- By another key than the guard's, the row of today is compared.
        m := NULL;
    END IF;
    FOR i IN 1 .. coalesce(cardinality(plans), 0) LOOP
        plan := plans[i];
        plan.compared := idempotent.compared(target, arbiter, rule, plan.named);
        plan.compared_names := ARRAY(SELECT name FROM idempotent.columns_of(target, false) WHERE number = ANY (plan.compared) ORDER BY number);
        plan.missing := idempotent.missing_column(target, arbiter, plan.named);
        place := CASE origin WHEN 'source' THEN 'the source' ELSE idempotent.numbered(origin, plan.first) END;
        IF plan.missing IS NOT NULL AND NOT rejects THEN
            PERFORM idempotent.refuse_key(target, arbiter, plan.missing, 'missing from', place, origin);
        END IF;
        plans[i] := plan;
    END LOOP;
    PERFORM idempotent.check_rights(target, (SELECT array_agg(DISTINCT n) FROM unnest(plans) AS p, unnest(p.named) AS n), arbiter.deciding);
    FOR i IN 1 .. coalesce(cardinality(plans), 0) LOOP
        plan := plans[i];
        SELECT name INTO plan.refused FROM idempotent.columns_of(target, false) WHERE identity = 'a' AND number = ANY (plan.named) AND rule.overriding IS NULL;
        PERFORM idempotent.check_generated(target, plan.named);
        plan.look := idempotent.look_of(target, arbiter, plan.named, plan.compared, m => m, typed => origin = 'source');
        plan.put := idempotent.put_of(target, arbiter, plan.named, rule.overriding, typed => origin = 'source');
        IF cardinality(payloads) > 1 AND cardinality(plan.named) > 0 THEN
            plan.look_each := format('SELECT pg_catalog.array_agg(ROW(look.*)::idempotent.look ORDER BY given.n) FROM pg_catalog.unnest($1) WITH ORDINALITY AS given (payload, n) CROSS JOIN LATERAL (%s) AS look',
                idempotent.look_of(target, arbiter, plan.named, plan.compared, m => m, document => 'given.payload', typed => origin = 'source'));
            plan.put_each := format('WITH put (key, stored) AS (%s) SELECT pg_catalog.array_agg(put.key::pg_catalog.text), pg_catalog.array_agg(put.stored) FROM put',
                idempotent.put_of(target, arbiter, plan.named, rule.overriding, each => true, typed => origin = 'source'));
        END IF;
        plans[i] := plan;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.plans_of(regclass, jsonb[], idempotent.rule, text[], idempotent.memory, text, smallint[], boolean) IS 'the plans of payloads, and the arbiter';

-- `payload`, `payload 3`, `row 3 of the source`. A load says which rows of the source are in its batch.
CREATE FUNCTION idempotent.numbered(origin text, n bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN n IS NULL THEN NULL WHEN origin = 'source' THEN format('row %s of the source', coalesce((nullif(current_setting('idempotent.row_numbers', true), '')::bigint[])[n], n)) WHEN origin = 'payloads' THEN format('payload %s', n) ELSE 'the payload' END $$;
COMMENT ON FUNCTION idempotent.numbered(text, bigint) IS 'how a payload is called in errors';

-- A column that the key needs, and that these payloads leave out without a default that is the same in every attempt. What
-- an expression or a condition refers to may be left out where that is NULL then.
CREATE FUNCTION idempotent.missing_column(target regclass, arbiter idempotent.unique_index, named smallint[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT c.name FROM unnest(arbiter.deciding) WITH ORDINALITY AS d (number, place) JOIN idempotent.columns_of(target) AS c ON c.number = d.number
     WHERE c.number <> ALL (named) AND NOT idempotent.repeats(c)
       AND NOT ((arbiter.condition IS NOT NULL OR c.number <> ALL (arbiter.numbers)) AND c.filled_by IS NULL AND c.identity = '' AND c.generated = '')
     ORDER BY place LIMIT 1);
END
$$;
COMMENT ON FUNCTION idempotent.missing_column(regclass, idempotent.unique_index, smallint[]) IS 'a column that a payload lacks for its key';

-- 23502 for a part of the key, or a column that decides on it, that a payload or a source lacks or has as NULL.
CREATE FUNCTION idempotent.refuse_key(target regclass, arbiter idempotent.unique_index, part text, what text, place text, origin text, hint text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    number smallint := idempotent.column_number(target, part);
BEGIN
    PERFORM idempotent.fail('23502',
        format('%s "%s" is %s %s', CASE WHEN number IS NULL THEN 'key expression' WHEN number = ANY (arbiter.numbers) THEN 'key column' ELSE 'column' END, part, what, place),
        format('A %s cannot be identified without its complete key.', CASE origin WHEN 'source' THEN 'row' ELSE 'payload' END),
        hint, target, CASE WHEN number IS NULL THEN '' ELSE part END, arbiter.name);
END
$$;
COMMENT ON FUNCTION idempotent.refuse_key(regclass, idempotent.unique_index, text, text, text, text, text) IS 'refuses a payload without its key';

-- 428C9 for a generated column whose value cannot be checked.
CREATE FUNCTION idempotent.check_generated(target regclass, named smallint[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad record;
BEGIN
    SELECT g.name, c.name AS needs INTO bad
      FROM idempotent.columns_of(target) AS g
      JOIN pg_attrdef AS d ON d.adrelid = target AND d.adnum = g.number
     CROSS JOIN LATERAL idempotent.columns_in(target, d.adbin) AS used
      JOIN idempotent.columns_of(target) AS c ON c.number = used
     WHERE g.generated <> '' AND g.number = ANY (named) AND c.number <> ALL (named) AND c.number <> g.number
       AND (c.filled_by IS NOT NULL OR c.identity <> '') AND c.kind IS DISTINCT FROM 'constant'
     ORDER BY g.number, c.number LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.refuse_generated(target, bad.name, format('Its value cannot be checked without column "%s".', bad.needs));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_generated(regclass, smallint[]) IS 'refuses a generated column whose value cannot be checked';

CREATE FUNCTION idempotent.refuse_generated(target regclass, name text, why text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.fail('428C9', format('cannot insert a non-DEFAULT value into column "%s"', name),
        format(E'Column "%s" is a generated column.\n%s', name, why), 'Leave the column out.');
END
$$;
COMMENT ON FUNCTION idempotent.refuse_generated(regclass, text, text) IS 'refuses a value for a generated column';

CREATE FUNCTION idempotent.refuse_identity(target regclass, name text, origin text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.fail('428C9', format('cannot insert a non-DEFAULT value into column "%s"', name),
        format('Column "%s" is an identity column defined as GENERATED ALWAYS.', name),
        format('Write it with overriding => ''system'', ignore it with overriding => ''user'', or make it writable: ALTER TABLE %s ALTER COLUMN %I SET GENERATED BY DEFAULT;',
            idempotent.qualified(coalesce(pg_partition_root(target), target)), name));
END
$$;
COMMENT ON FUNCTION idempotent.refuse_identity(regclass, text, text) IS 'refuses a value for an identity column';
