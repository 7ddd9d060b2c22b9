-- Rows of a source, a table or a view. Each is read as to_jsonb gives it, and is a payload from then on.

CREATE TYPE idempotent.source_column AS (number smallint, name text, fills boolean, drawn boolean, shown text);
COMMENT ON TYPE idempotent.source_column IS 'a column of a source, and that of the target which has its name';

CREATE FUNCTION idempotent.check_source(source regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.require('source', source IS NOT NULL);
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = source) THEN
        PERFORM idempotent.fail('42P01', format('relation with OID %s does not exist', source::oid));
    ELSIF (SELECT relkind FROM pg_class WHERE oid = source) NOT IN ('r', 'p', 'v', 'm', 'f') THEN
        PERFORM idempotent.fail('42809', format('cannot read rows from "%s"', idempotent.name_of(source)), 'The source must be a table or a view.');
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_source(regclass) IS 'refuses a source from which no rows can be read';

-- The columns of a source, matched with those of the target by name. `fills` says that the source fills the column itself,
-- with another value every time; such a column does not count as named. A merge has more: the target need not have the
-- columns `besides`, and a column of `renamed` goes to that of `renamed_to`, too.
CREATE FUNCTION idempotent.columns_of_source(
    target regclass, source regclass, besides text[] DEFAULT '{}', renamed text[] DEFAULT '{}', renamed_to smallint[] DEFAULT '{}'
) RETURNS SETOF idempotent.source_column
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own record;
BEGIN
    FOR own IN SELECT c.name, t.number, t.name AS column_name, idempotent.changes(c) AS fills, c.drawn, c.filled_by, c.identity, c.typid AS from_type, t.typid AS to_type
                 FROM (SELECT s, s.name AS to_name, s.number::int AS place FROM idempotent.columns_of(source) AS s
                       UNION ALL
                       SELECT s, idempotent.column_name(target, r.number), 10000 FROM unnest(renamed, renamed_to) AS r (name, number)
                         JOIN idempotent.columns_of(source) AS s USING (name)) AS given
                CROSS JOIN LATERAL (SELECT (given.s).*) AS c
                 LEFT JOIN idempotent.columns_of(target) AS t ON t.name = given.to_name ORDER BY given.place LOOP
        CONTINUE WHEN own.number IS NULL AND own.name = ANY (besides);
        IF own.number IS NULL THEN
            PERFORM idempotent.no_such_column(target, own.name, format('Source "%s" has a column of that name.', idempotent.name_of(source)));
        END IF;
        IF NOT idempotent.is_assignable(own.from_type, own.to_type) THEN
            PERFORM idempotent.fail('42804',
                format('column "%s" is of type %s but expression is of type %s', own.column_name, format_type(own.to_type, NULL), format_type(own.from_type, NULL)),
                hint => 'Cast the column in the source, or use a view that casts it.', target => target, "column" => own.column_name);
        END IF;
        RETURN NEXT ROW(own.number, own.name, own.fills, own.drawn, CASE WHEN own.identity = '' THEN own.filled_by END)::idempotent.source_column;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.columns_of_source(regclass, regclass, text[], text[], smallint[]) IS 'the columns of a source that are matched with those of the target';

-- Whether INSERT … SELECT assigns a value of one type to a column of another.
CREATE FUNCTION idempotent.is_assignable(from_type oid, to_type oid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    WITH RECURSIVE from_base AS (SELECT oid, typbasetype, typcategory, typtype, typelem FROM pg_type WHERE oid = from_type
                                 UNION ALL SELECT t.oid, t.typbasetype, t.typcategory, t.typtype, t.typelem FROM pg_type AS t JOIN from_base ON t.oid = from_base.typbasetype),
         to_base AS (SELECT oid, typbasetype, typcategory, typtype, typelem FROM pg_type WHERE oid = to_type
                     UNION ALL SELECT t.oid, t.typbasetype, t.typcategory, t.typtype, t.typelem FROM pg_type AS t JOIN to_base ON t.oid = to_base.typbasetype)
    SELECT f.oid = t.oid OR t.typcategory = 'S'
           OR EXISTS (SELECT FROM pg_cast WHERE castsource = f.oid AND casttarget = t.oid AND castcontext IN ('a', 'i'))
           OR (f.typcategory = 'A' AND t.typcategory = 'A' AND f.typelem <> 0 AND t.typelem <> 0 AND idempotent.is_assignable(f.typelem, t.typelem))
      FROM from_base AS f, to_base AS t WHERE f.typtype <> 'd' AND t.typtype <> 'd');
END
$$;
COMMENT ON FUNCTION idempotent.is_assignable(oid, oid) IS 'whether a value of a type is assigned to a column of another';

-- Its rows, in the order in which a SELECT gives them. With the search_path of the caller, whose views call functions.
CREATE FUNCTION idempotent.rows_of(source regclass) RETURNS jsonb[]
LANGUAGE plpgsql
AS $$
DECLARE
    payloads jsonb[];
BEGIN
    EXECUTE pg_catalog.format('SELECT pg_catalog.array_agg(pg_catalog.to_jsonb(source)) FROM %s AS source', idempotent.qualified(source)) INTO payloads;
    RETURN COALESCE(payloads, '{}');
END
$$;
COMMENT ON FUNCTION idempotent.rows_of(regclass) IS 'the rows of a source as payloads';

-- The defaults of a table as its caller names what they call: with the search_path of the session.
CREATE FUNCTION idempotent.defaults_in_words(source regclass) RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (SELECT pg_catalog.jsonb_object_agg(a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid))
              FROM pg_catalog.pg_attribute AS a
              JOIN pg_catalog.pg_attrdef AS d ON d.adrelid OPERATOR(pg_catalog.=) a.attrelid AND d.adnum OPERATOR(pg_catalog.=) a.attnum
             WHERE a.attrelid OPERATOR(pg_catalog.=) source AND a.attidentity OPERATOR(pg_catalog.=) '');
END
$$;
COMMENT ON FUNCTION idempotent.defaults_in_words(regclass) IS 'the defaults of a source, for people';

CREATE FUNCTION idempotent.check_source_key(target regclass, source regclass, rule idempotent.rule, own idempotent.source_column[]) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    PERFORM idempotent.check_source_key(target, source, rule, own, idempotent.defaults_in_words(source));
END
$$;
COMMENT ON FUNCTION idempotent.check_source_key(regclass, regclass, idempotent.rule, idempotent.source_column[]) IS 'refuses a source that names no key';

-- The arbiter for the rows of a source; where there is none, because the source fills the columns itself, the error says so.
CREATE FUNCTION idempotent.check_source_key(target regclass, source regclass, rule idempotent.rule, own idempotent.source_column[], defaults jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    counted smallint[] := ARRAY(SELECT number FROM unnest(own) WHERE NOT fills)
                          || ARRAY(SELECT c.number FROM idempotent.columns_of(target) AS c WHERE idempotent.repeats(c));
    has smallint[] := counted || ARRAY(SELECT number FROM unnest(own));
    usable idempotent.unique_index[] := ARRAY(SELECT i FROM idempotent.indexes_of(target) AS i WHERE idempotent.can_be_default(i));
    whole idempotent.unique_index;
    explained idempotent.unique_index;
    lacking smallint[];
    detail text;
    filled text;
BEGIN
    IF rule.key IS NOT NULL OR (idempotent.guard_in_force(target)).key IS NOT NULL
       OR EXISTS (SELECT FROM unnest(usable) AS i WHERE i.deciding <@ counted) THEN
        RETURN;
    END IF;
    SELECT * INTO whole FROM unnest(usable) AS i WHERE i.deciding <@ has ORDER BY i.is_primary DESC LIMIT 1;
    explained := whole;
    IF whole.index IS NULL AND cardinality(usable) = 1 THEN
        explained := usable[1];
        lacking := ARRAY(SELECT n FROM unnest(explained.deciding) AS n WHERE n <> ALL (has));
        detail := format('Source "%s" has %s.', idempotent.name_of(source), CASE cardinality(lacking)
            WHEN 1 THEN format('no column "%s"', idempotent.column_name(target, lacking[1]))
            ELSE format('none of the columns %s', idempotent.column_list(target, lacking)) END);
    END IF;
    SELECT string_agg(format('Column "%s" of source "%s" does not count as named, because the source fills it itself: %s.', o.name, idempotent.name_of(source),
               coalesce('its default is ' || coalesce(defaults ->> o.name, o.shown), 'it is an identity column')), E'\n') INTO filled
      FROM unnest(own) AS o WHERE o.fills AND o.number = ANY (explained.deciding);
    PERFORM idempotent.no_named_key(target, counted, 'source', nullif(concat_ws(E'\n', detail, filled), ''),
        CASE WHEN whole.index IS NOT NULL THEN
            format('If the source does carry the key in this column, name it with key => %s. Otherwise create a unique index on the columns that identify the business event.',
                quote_literal(idempotent.array_text(whole.parts))) END);
END
$$;
COMMENT ON FUNCTION idempotent.check_source_key(regclass, regclass, idempotent.rule, idempotent.source_column[], jsonb) IS 'refuses a source that names no key';

CREATE FUNCTION idempotent_insert_from(
    target      regclass,
    source      regclass,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    overriding  text   DEFAULT NULL,
    on_error    text   DEFAULT 'error',
    token       text   DEFAULT NULL,
    digest      text   DEFAULT NULL,
    OUT received   bigint,
    OUT inserted   bigint,
    OUT duplicates bigint,
    OUT conflicts  bigint,
    OUT rejected   bigint,
    OUT replayed   boolean
) RETURNS record
LANGUAGE plpgsql
AS $$
DECLARE
    rule idempotent.rule;
    own idempotent.source_column[];
    options jsonb;
    counts jsonb;
    outcomes text[];
BEGIN
    PERFORM idempotent.check_target(target);
    PERFORM idempotent.check_source(source);
    own := ARRAY(SELECT c FROM idempotent.columns_of_source(target, source) AS c);
    rule := idempotent.rule_of_call(target, key, compare, ignore, on_conflict, overriding, on_error);
    rule.excluded := idempotent.surrogates(target, own, rule.excluded);
    PERFORM idempotent.check_source_key(target, source, rule, own);
    PERFORM idempotent.plan_source(target, own, rule);
    PERFORM idempotent.check_token(token, digest);
    replayed := false;
    IF token IS NOT NULL THEN
        options := idempotent.insert_batch_options(key, compare, ignore, on_conflict, on_error, overriding);
        counts := idempotent.find_batch(target, token, digest, 'insert_from', options);
        replayed := counts IS NOT NULL;
    END IF;
    IF NOT replayed THEN
        outcomes := ARRAY(SELECT w.outcome FROM idempotent.write(target, idempotent.rows_of(source), 'source', rule, on_conflict, on_error,
                                                                 idempotent.named_by_source(own)) AS w);
        counts := pg_catalog.to_jsonb(c) FROM idempotent.counted(outcomes) AS c;
        IF token IS NOT NULL THEN
            PERFORM idempotent.record_batch(target, token, digest, 'insert_from', options, counts);
        END IF;
    END IF;
    SELECT COALESCE(c.received, 0), COALESCE(c.inserted, 0), COALESCE(c.duplicates, 0), COALESCE(c.conflicts, 0), COALESCE(c.rejected, 0)
      INTO received, inserted, duplicates, conflicts, rejected
      FROM pg_catalog.jsonb_to_record(counts) AS c (received bigint, inserted bigint, duplicates bigint, conflicts bigint, rejected bigint);
END
$$;
COMMENT ON FUNCTION idempotent_insert_from(regclass, regclass, text[], text[], text[], text, text, text, text, text) IS
    'inserts or verifies the rows of a table or view, and counts the outcomes';

-- Everything that can be said without a row: the key, the comparison, and the rights.
CREATE FUNCTION idempotent.plan_source(target regclass, own idempotent.source_column[], rule idempotent.rule) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    guards idempotent.guard_config := idempotent.guard_in_force(target);
BEGIN
    PERFORM idempotent.plans_of(target, ARRAY[(SELECT jsonb_object_agg(name, NULL) FROM unnest(own))], rule,
        guards.key, guards.remembers, 'source', idempotent.named_by_source(own), false);
END
$$;
COMMENT ON FUNCTION idempotent.plan_source(regclass, idempotent.source_column[], idempotent.rule) IS 'refuses a source that cannot be inserted or verified';

CREATE FUNCTION idempotent.named_by_source(own idempotent.source_column[]) RETURNS smallint[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT ARRAY(SELECT number FROM unnest(own) WHERE NOT fills));
END
$$;
COMMENT ON FUNCTION idempotent.named_by_source(idempotent.source_column[]) IS 'the columns that a source names';

-- The columns that both sides number or draw by themselves: two rows that are the same event differ in them.
CREATE FUNCTION idempotent.surrogates(target regclass, own idempotent.source_column[], excluded smallint[]) RETURNS smallint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT excluded || ARRAY(SELECT o.number FROM unnest(own) AS o JOIN idempotent.columns_of(target) AS c ON c.number = o.number WHERE o.drawn AND c.drawn));
END
$$;
COMMENT ON FUNCTION idempotent.surrogates(regclass, idempotent.source_column[], smallint[]) IS 'the columns that are not compared because both sides draw them';

CREATE FUNCTION idempotent.insert_batch_options(key text[], compare text[], ignore text[], on_conflict text, on_error text, overriding text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT idempotent.batch_options(key, compare, ignore, jsonb_build_object(
        'on_conflict', nullif(on_conflict, 'error'), 'on_error', nullif(on_error, 'error'), 'overriding', overriding)));
END
$$;
COMMENT ON FUNCTION idempotent.insert_batch_options(text[], text[], text[], text, text, text) IS 'what a retry of a batch of inserts has to ask for, too';
