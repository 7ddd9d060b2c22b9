-- What the catalogs say of a target: its columns, its unique indexes, and how values of its columns are compared.

-- What a default gives to the next attempt: another value, if it is of kind clock, transaction, sequence or volatile; the
-- same, if it is constant or depends on the session only (docs/keys.md, Clock and session defaults). `drawn` says whether it
-- is another value at every call.
CREATE FUNCTION idempotent.default_kind(expression pg_node_tree, shown text, OUT kind text, OUT drawn boolean)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    tree text := expression;
    -- The functions that it calls, by their oids in its tree.
    called oid[] := ARRAY(SELECT DISTINCT id[1]::oid FROM regexp_matches(tree, ':(?:funcid|opfuncid) (\d+)', 'g') AS id);
    volatilities "char"[] := ARRAY(SELECT provolatile FROM pg_proc WHERE oid = ANY (called));
    -- Of the server's own functions, all of which have low oids.
    names text[] := ARRAY(SELECT proname::text FROM pg_proc WHERE oid = ANY (called) AND oid < 16384);
BEGIN
    drawn := 'v' = ANY (volatilities);
    kind := CASE
        WHEN names && '{now,transaction_timestamp,statement_timestamp,clock_timestamp,timeofday}'
             OR called && ARRAY['age(timestamp)'::regprocedure, 'age(timestamptz)'::regprocedure]::oid[]
             OR tree ~ '\{SQLVALUEFUNCTION :op [0-8] '
             OR ((tree ~ '\{COERCEVIAIO ' OR names && '{date_in,time_in,timetz_in,timestamp_in,timestamptz_in}')
                 AND shown ~* '''([^'']*[^''.\w])?(now|today|tomorrow|yesterday)\M') THEN 'clock'
        WHEN 'nextval' = ANY (names) THEN 'sequence'
        WHEN drawn THEN 'volatile'
        WHEN names && '{txid_current,txid_current_if_assigned,txid_current_snapshot,pg_current_xact_id,pg_current_xact_id_if_assigned}'
             OR names && '{pg_current_snapshot,pg_backend_pid,inet_client_port,pg_my_temp_schema}'
             OR 'age(xid)'::regprocedure = ANY (called) THEN 'transaction'
        WHEN 's' = ANY (volatilities) OR tree ~ '\{(SQLVALUEFUNCTION|COERCEVIAIO) ' THEN 'session'
        ELSE 'constant'
    END;
END
$$;
COMMENT ON FUNCTION idempotent.default_kind(pg_node_tree, text) IS 'whether a default is another value in the next attempt';

CREATE TYPE idempotent.column_info AS (
    number        smallint,
    name          text,
    -- As SQL declares it, with its modifier and its collation.
    type          text,
    typid         oid,
    -- The type that a domain is over, else the type itself.
    base          oid,
    may_be_null   boolean,
    -- s, v, or empty.
    generated     "char",
    -- a, d, or empty.
    identity      "char",
    -- What fills it where an INSERT does not name it, and its kind; NULL if nothing does.
    filled_by     text,
    kind          text,
    -- Whether that is another value at every call.
    drawn         boolean
);
COMMENT ON TYPE idempotent.column_info IS 'a column of a table';

-- The type that a domain is over, else the type itself; and whether a domain in between refuses NULL.
CREATE FUNCTION idempotent.base_of(type pg_type, OUT base oid, OUT refuses_null boolean)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    refuses_null := false;
    WHILE type.typtype = 'd' LOOP
        refuses_null := refuses_null OR type.typnotnull;
        SELECT * INTO type FROM pg_type WHERE oid = type.typbasetype;
    END LOOP;
    base := type.oid;
END
$$;
COMMENT ON FUNCTION idempotent.base_of(pg_type) IS 'the type that a domain is over';

-- `kinds` says whether kind and drawn are asked for, which takes longer than the rest.
CREATE FUNCTION idempotent.columns_of(target regclass, kinds boolean DEFAULT true) RETURNS SETOF idempotent.column_info
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT a.attnum, a.attname::text,
           format_type(a.atttypid, a.atttypmod) || coalesce(' COLLATE ' || (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.collname)
               FROM pg_collation AS c JOIN pg_namespace AS n ON n.oid = c.collnamespace
              WHERE c.oid = a.attcollation AND t.typcollation IS DISTINCT FROM a.attcollation), ''),
           a.atttypid, coalesce(based.base, a.atttypid), NOT a.attnotnull AND NOT coalesce(based.refuses_null, false),
           a.attgenerated, a.attidentity, shown.sql,
           CASE WHEN a.attidentity <> '' THEN 'sequence' ELSE kind.kind END, a.attidentity <> '' OR coalesce(kind.drawn, false)
      FROM pg_attribute AS a
      -- One by one: a plan for any table would read all types. The functions are strict, and called only where they have something to say.
     CROSS JOIN LATERAL (SELECT type.* FROM pg_type AS type WHERE type.oid = a.atttypid OFFSET 0) AS t
      LEFT JOIN LATERAL idempotent.base_of((SELECT domain FROM pg_type AS domain WHERE domain.oid = a.atttypid AND domain.typtype = 'd')) AS based ON true
      LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     CROSS JOIN LATERAL (SELECT pg_get_expr(coalesce(d.adbin, t.typdefaultbin), CASE WHEN d.adbin IS NULL THEN 0 ELSE target END) AS sql) AS shown
      LEFT JOIN LATERAL idempotent.default_kind(coalesce(d.adbin, t.typdefaultbin), CASE WHEN kinds AND a.attgenerated = '' THEN shown.sql END) AS kind ON true
     WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attnum;
END
$$;
COMMENT ON FUNCTION idempotent.columns_of(regclass, boolean) IS 'the columns of a table';

-- Whether the next attempt fills the column with another value, or with the same one.
CREATE FUNCTION idempotent.changes(c idempotent.column_info) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT c.generated = '' AND (c.drawn OR coalesce(c.kind IN ('clock', 'transaction', 'sequence', 'volatile'), false)));
END
$$;
COMMENT ON FUNCTION idempotent.changes(idempotent.column_info) IS 'whether each attempt that leaves the column out gets another value';

CREATE FUNCTION idempotent.repeats(c idempotent.column_info) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT c.generated = '' AND c.filled_by IS NOT NULL AND NOT idempotent.changes(c));
END
$$;
COMMENT ON FUNCTION idempotent.repeats(idempotent.column_info) IS 'whether each attempt that leaves the column out gets the same value';

CREATE TYPE idempotent.unique_index AS (
    index        oid,
    name         text,
    is_primary   boolean,
    nulls_equal  boolean,
    valid        boolean,
    is_deferrable boolean,
    -- Why it cannot decide, as the end of a sentence; NULL if it can.
    unusable     text,
    -- Its key: for each part the number of the column, or 0; how it is shown; as SQL; how it is compared; and what
    -- ON CONFLICT calls it.
    numbers      smallint[],
    parts        text[],
    expressions  text[],
    equals       text[],
    collates     text[],
    inferred     text[],
    -- The columns that decide under which key a row is.
    deciding     smallint[],
    -- The condition of a partial index, and whether it says no more than that the key is not NULL.
    condition    text,
    only_not_null boolean,
    is_constraint boolean
);
COMMENT ON TYPE idempotent.unique_index IS 'a unique index of a table';

-- The columns of a table that a stored expression refers to; a whole row refers to all.
CREATE FUNCTION idempotent.columns_in(target regclass, expression pg_node_tree) RETURNS SETOF smallint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT a.attnum FROM pg_attribute AS a
     WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped
       AND EXISTS (SELECT FROM regexp_matches(expression::text, ':varattno (\d+)', 'g') AS v (n) WHERE n[1]::int IN (0, a.attnum));
END
$$;
COMMENT ON FUNCTION idempotent.columns_in(regclass, pg_node_tree) IS 'the columns that a stored expression refers to';

CREATE FUNCTION idempotent.without(value text, parts text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    part text;
BEGIN
    FOREACH part IN ARRAY coalesce(parts, '{}') LOOP
        value := replace(value, part, '');
    END LOOP;
    RETURN value;
END
$$;
COMMENT ON FUNCTION idempotent.without(text, text[]) IS 'a text without some parts';

-- The primary key first, then by age, so that messages are stable.
CREATE FUNCTION idempotent.indexes_of(target regclass) RETURNS SETOF idempotent.unique_index
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT i.indexrelid, c.relname::text, i.indisprimary, i.indnullsnotdistinct, i.indisvalid, NOT i.indimmediate,
           CASE
               WHEN i.indisexclusion OR m.amname <> 'btree' THEN 'excludes rows that overlap, not only equal keys'
               WHEN NOT (i.indisvalid AND i.indisready) THEN 'is not valid; rebuild it with REINDEX'
               WHEN NOT i.indimmediate THEN 'is deferrable, so the server does not check it while a row is inserted'
           END,
           parts.numbers, parts.parts, parts.expressions, parts.equals, parts.collates, parts.inferred,
           (SELECT array_agg(number ORDER BY first)
              FROM (SELECT number, min(place) AS first
                      FROM (SELECT number, place FROM unnest(parts.numbers) WITH ORDINALITY AS k (number, place) WHERE number > 0
                            UNION ALL
                            SELECT number, 100 + number FROM idempotent.columns_in(target, i.indexprs) AS number
                            UNION ALL
                            SELECT number, 100000 + number FROM idempotent.columns_in(target, i.indpred) AS number) AS all_of_them
                     GROUP BY number) AS d),
           pg_get_expr(i.indpred, target),
           i.indpred IS NOT NULL AND (
               SELECT regexp_replace(idempotent.without(pg_get_expr(i.indpred, target),
                          (SELECT array_agg(format('(%I IS NOT NULL)', a.attname)) FROM pg_attribute AS a
                            WHERE a.attrelid = target AND (a.attnum = ANY (parts.numbers)
                                  OR a.attnum IN (SELECT idempotent.columns_in(target, i.indexprs))))), '[() ]|AND', '', 'g') = ''),
           EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
      FROM pg_index AS i
      JOIN pg_class AS c ON c.oid = i.indexrelid
      JOIN pg_am AS m ON m.oid = c.relam
     CROSS JOIN LATERAL (
           SELECT array_agg(i.indkey[n - 1] ORDER BY n) AS numbers,
                  array_agg(coalesce(a.attname::text, pg_get_indexdef(i.indexrelid, n, true)) ORDER BY n) AS parts,
                  array_agg(coalesce(quote_ident(a.attname), pg_get_indexdef(i.indexrelid, n, false)) ORDER BY n) AS expressions,
                  array_agg((SELECT format('OPERATOR(%I.%s)', opn.nspname, o.oprname) FROM pg_operator AS o JOIN pg_namespace AS opn ON opn.oid = o.oprnamespace
                              WHERE o.oid = (SELECT op.amopopr FROM pg_amop AS op WHERE op.amopfamily = oc.opcfamily AND op.amoplefttype = oc.opcintype
                                                AND op.amoprighttype = oc.opcintype AND op.amopstrategy = 3)) ORDER BY n) AS equals,
                  array_agg(coalesce(collation_of.sql, '') ORDER BY n) AS collates,
                  array_agg(format('%s%s %I.%I', coalesce(quote_ident(a.attname), '(' || pg_get_indexdef(i.indexrelid, n, false) || ')'), collation_of.sql,
                                   (SELECT nspname FROM pg_namespace WHERE oid = oc.opcnamespace), oc.opcname) ORDER BY n) AS inferred
             FROM generate_series(1, i.indnkeyatts::int) AS n
             -- One by one: a plan for any table would read the catalogs whole.
            CROSS JOIN LATERAL (SELECT (SELECT attname FROM pg_attribute WHERE attrelid = target AND attnum = i.indkey[n - 1] AND attnum > 0) AS attname OFFSET 0) AS a
            CROSS JOIN LATERAL (SELECT class.* FROM pg_opclass AS class WHERE class.oid = i.indclass[n - 1] OFFSET 0) AS oc
            CROSS JOIN LATERAL (SELECT (SELECT ' COLLATE ' || quote_ident(cn.nspname) || '.' || quote_ident(cl.collname) FROM pg_collation AS cl
                                          JOIN pg_namespace AS cn ON cn.oid = cl.collnamespace WHERE cl.oid = i.indcollation[n - 1]) AS sql OFFSET 0) AS collation_of) AS parts
     WHERE i.indrelid = target AND i.indisunique AND i.indislive
     ORDER BY NOT i.indisprimary, i.indexrelid;
END
$$;
COMMENT ON FUNCTION idempotent.indexes_of(regclass) IS 'the unique indexes of a table, usable as the key or not';

-- The operator of a type's default order, by its strategy in btree (1 is <, 3 is =, 5 is >), of its own operator class, of
-- the type that it is the same bytes as, or of its kind; for equality that of hash will do. NULL: none, or one that fails
-- for what the type is made of.
CREATE FUNCTION idempotent.operator_of(type oid, strategy int) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    t pg_type;
    class pg_opclass;
    members oid[];
    candidates oid[];
    btree CONSTANT oid := 403;
    hash CONSTANT oid := 405;
BEGIN
    SELECT * INTO t FROM pg_type WHERE oid = type;
    IF t.typtype = 'd' THEN
        RETURN idempotent.operator_of(t.typbasetype, strategy);
    END IF;
    members := CASE
        WHEN t.typtype = 'c' THEN (SELECT array_agg(atttypid) FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped)
        WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN ARRAY[t.typelem]
        ELSE '{}' END;
    IF NOT EXISTS (SELECT FROM pg_opclass WHERE opcdefault AND opcmethod = btree AND opcintype = type)
       AND EXISTS (SELECT FROM unnest(members) AS m (member) WHERE idempotent.operator_of(member, strategy) IS NULL) THEN
        RETURN NULL;
    END IF;
    candidates := ARRAY[type, CASE WHEN t.typtype = 'e' THEN 'anyenum'::regtype WHEN t.typtype = 'r' THEN 'anyrange'::regtype
                                   WHEN t.typtype = 'm' THEN 'anymultirange'::regtype WHEN t.typtype = 'c' THEN 'record'::regtype
                                   WHEN cardinality(members) > 0 THEN 'anyarray'::regtype END]
                  || ARRAY(SELECT casttarget FROM pg_cast WHERE castsource = type AND castmethod = 'b' AND castcontext = 'i');
    SELECT * INTO class FROM pg_opclass AS c
     WHERE c.opcdefault AND (c.opcmethod = btree OR c.opcmethod = hash AND strategy = 3) AND c.opcintype = ANY (candidates)
     ORDER BY array_position(candidates, c.opcintype), c.opcmethod <> btree LIMIT 1;
    RETURN (
        SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
          FROM pg_amop AS op JOIN pg_operator AS o ON o.oid = op.amopopr JOIN pg_namespace AS n ON n.oid = o.oprnamespace
         WHERE op.amopfamily = class.opcfamily AND op.amoplefttype = class.opcintype AND op.amoprighttype = class.opcintype
           AND op.amopstrategy = CASE class.opcmethod WHEN btree THEN strategy ELSE 1 END);
END
$$;
COMMENT ON FUNCTION idempotent.operator_of(oid, int) IS 'an operator of the default order of a type; NULL if it has none';

CREATE FUNCTION idempotent.equality(type oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN idempotent.operator_of(type, 3);
END
$$;
COMMENT ON FUNCTION idempotent.equality(oid) IS 'the operator of the default equality of a type; NULL if it has none';

-- SQL that says whether two values of a column agree. NULL equals NULL; IS NOT DISTINCT FROM NULL says so of a value
-- itself, where IS NULL would also say it of a composite whose members are NULL.
CREATE FUNCTION idempotent.agreement(c idempotent.column_info, l text, r text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    IF c.typid <> c.base THEN
        -- Not every operator of a type takes a domain over it.
        l := format('(%s)::%s', l, format_type(c.base, NULL));
        r := format('(%s)::%s', r, format_type(c.base, NULL));
    END IF;
    RETURN (
    SELECT CASE
        WHEN c.base = 'json'::regtype THEN
            format('COALESCE(%1$s::pg_catalog.jsonb OPERATOR(pg_catalog.=) %2$s::pg_catalog.jsonb, %1$s IS NOT DISTINCT FROM NULL AND %2$s IS NOT DISTINCT FROM NULL)', l, r)
        WHEN idempotent.equality(c.typid) IS NULL THEN
            format('ROW(%s)::pg_catalog.record OPERATOR(pg_catalog.*=) ROW(%s)::pg_catalog.record', l, r)
        ELSE
            format('COALESCE(%1$s %3$s %2$s, %1$s IS NOT DISTINCT FROM NULL AND %2$s IS NOT DISTINCT FROM NULL)', l, r, idempotent.equality(c.typid))
    END);
END
$$;
COMMENT ON FUNCTION idempotent.agreement(idempotent.column_info, text, text) IS 'SQL that says whether two values of a column agree';

-- SQL that says whether a value of a column comes after another one. NULL comes before every value; values of a type
-- without an order go by their bytes.
CREATE FUNCTION idempotent.is_after(c idempotent.column_info, l text, r text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    greater text := idempotent.operator_of(c.typid, 5);
BEGIN
    IF c.typid <> c.base THEN
        l := format('(%s)::%s', l, format_type(c.base, NULL));
        r := format('(%s)::%s', r, format_type(c.base, NULL));
    END IF;
    IF c.base = 'json'::regtype THEN
        RETURN format('COALESCE(%1$s::pg_catalog.jsonb OPERATOR(pg_catalog.>) %2$s::pg_catalog.jsonb, %1$s IS DISTINCT FROM NULL AND %2$s IS NOT DISTINCT FROM NULL)', l, r);
    ELSIF greater IS NULL THEN
        RETURN format('(%1$s IS DISTINCT FROM NULL AND (%2$s IS NOT DISTINCT FROM NULL OR ROW(%1$s)::pg_catalog.record OPERATOR(pg_catalog.*>) ROW(%2$s)::pg_catalog.record))', l, r);
    END IF;
    RETURN format('COALESCE(%1$s %3$s %2$s, %1$s IS DISTINCT FROM NULL AND %2$s IS NOT DISTINCT FROM NULL)', l, r, greater);
END
$$;
COMMENT ON FUNCTION idempotent.is_after(idempotent.column_info, text, text) IS 'SQL that says whether a value of a column comes after another one';

-- The same as a list for ORDER BY, the last first.
CREATE FUNCTION idempotent.descending(c idempotent.column_info, value text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF c.base = 'json'::regtype THEN
        RETURN format('%s::pg_catalog.jsonb DESC NULLS LAST', value);
    ELSIF idempotent.operator_of(c.typid, 5) IS NULL THEN
        RETURN format('(%1$s IS DISTINCT FROM NULL) DESC, ROW(%1$s)::pg_catalog.record USING OPERATOR(pg_catalog.*>)', value);
    END IF;
    RETURN format('%s DESC NULLS LAST', value);
END
$$;
COMMENT ON FUNCTION idempotent.descending(idempotent.column_info, text) IS 'how values of a column are sorted, the last first';

-- SQL for a value as people see it: by the output function of its type.
CREATE FUNCTION idempotent.shown(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT format('CASE WHEN %1$s IS DISTINCT FROM NULL THEN pg_catalog.format(''%%s'', %1$s) END', value));
END
$$;
COMMENT ON FUNCTION idempotent.shown(text) IS 'SQL for the text of a value';

CREATE FUNCTION idempotent.qualified(target regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = target);
END
$$;
COMMENT ON FUNCTION idempotent.qualified(regclass) IS 'the name of a table with its schema';

CREATE FUNCTION idempotent.name_of(target regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT relname::text FROM pg_class WHERE oid = target);
END
$$;
COMMENT ON FUNCTION idempotent.name_of(regclass) IS 'the name of a table';

-- True of what does not exist.
CREATE FUNCTION idempotent.has_any_right(target regclass) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce(has_table_privilege(target, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                    OR has_any_column_privilege(target, 'SELECT, INSERT, UPDATE, REFERENCES'), true);
END
$$;
COMMENT ON FUNCTION idempotent.has_any_right(regclass) IS 'whether the caller has any right on a table';

-- Refuses what is no table, or one in which no row can be verified.
CREATE FUNCTION idempotent.check_target(target regclass, verifies boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c pg_class;
BEGIN
    PERFORM idempotent.require('target', target IS NOT NULL);
    SELECT * INTO c FROM pg_class WHERE oid = target;
    IF NOT FOUND THEN
        PERFORM idempotent.fail('42P01', format('relation with OID %s does not exist', target::oid));
    ELSIF c.relkind NOT IN ('r', 'p') THEN
        PERFORM idempotent.fail('42809', format('"%s" is not a table', c.relname),
            format('This operation is not supported for %s.', CASE c.relkind
                WHEN 'v' THEN 'views' WHEN 'm' THEN 'materialized views' WHEN 'f' THEN 'foreign tables' WHEN 'S' THEN 'sequences'
                WHEN 'i' THEN 'indexes' WHEN 'I' THEN 'partitioned indexes' WHEN 'c' THEN 'composite types' ELSE 'relations of this kind' END),
            target => target);
    ELSIF c.relpersistence = 't' AND c.relnamespace <> pg_my_temp_schema() THEN
        PERFORM idempotent.fail('0A000', 'cannot access temporary tables of other sessions');
    ELSIF c.relnamespace = 'pg_catalog'::regnamespace AND NOT current_setting('allow_system_table_mods')::boolean THEN
        PERFORM idempotent.fail('42501', format('permission denied: "%s" is a system catalog', c.relname), target => target);
    ELSIF verifies AND EXISTS (SELECT FROM pg_rewrite WHERE ev_class = target AND ev_type IN ('2', '3') AND ev_enabled <> 'D') THEN
        PERFORM idempotent.fail('0A000', format('cannot insert or verify rows in table "%s"', c.relname),
            'The table has a rule on INSERT or UPDATE.', 'Replace the rule with a trigger.', target);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_target(regclass, boolean) IS 'refuses what is no table in which rows can be verified';
