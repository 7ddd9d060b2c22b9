-- The options that the functions share: which key decides, and what is compared.

CREATE TYPE idempotent.rule AS (
    -- As it is named, or NULL.
    key         text[],
    -- Only these columns are compared; not these; at most these, by the guard; and not these, unless they are named.
    compare     smallint[],
    ignore      smallint[],
    only_these  smallint[],
    excluded    smallint[],
    overriding  text
);
COMMENT ON TYPE idempotent.rule IS 'how payloads find their stored rows, and what of the two is compared';

-- The rule of a call. The key is canonical already.
CREATE FUNCTION idempotent.rule_of(target regclass, key text[], compare text[], ignore text[], overriding text DEFAULT NULL) RETURNS idempotent.rule
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rule idempotent.rule;
    arbiter idempotent.unique_index;
    identity smallint[];
    named record;
BEGIN
    IF compare IS NOT NULL AND ignore IS NOT NULL THEN
        PERFORM idempotent.fail('22023', 'arguments "compare" and "ignore" cannot be used together',
            hint => 'Name the compared columns with compare, or take columns away from the default with ignore.');
    END IF;
    rule.key := rule_of.key;
    rule.overriding := rule_of.overriding;
    rule.compare := idempotent.numbers_of(target, 'compare', rule_of.compare);
    rule.ignore := idempotent.numbers_of(target, 'ignore', rule_of.ignore);
    rule.excluded := '{}';
    IF overriding IS NOT DISTINCT FROM 'user' THEN
        -- The values of identity columns are ignored: they tell no stored row, and are not compared.
        identity := ARRAY(SELECT number FROM idempotent.columns_of(target, false) AS c WHERE c.identity <> '');
        IF key IS NOT NULL THEN
            arbiter := idempotent.arbiter_for_key(target, key);
        END IF;
        FOR named IN SELECT n AS number, 'key' AS option FROM unnest(arbiter.deciding) AS n UNION ALL SELECT n, 'compare' FROM unnest(rule.compare) AS n LOOP
            IF named.number = ANY (identity) THEN
                PERFORM idempotent.cannot_be_in(target, named.number, 'is an identity column, whose values are ignored,', named.option);
            END IF;
        END LOOP;
        rule.excluded := identity;
    END IF;
    RETURN rule;
END
$$;
COMMENT ON FUNCTION idempotent.rule_of(regclass, text[], text[], text[], text) IS 'the options of a call, checked against its target';

CREATE FUNCTION idempotent.cannot_be_in(target regclass, number smallint, what text, option text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := (SELECT attname FROM pg_attribute WHERE attrelid = target AND attnum = number);
BEGIN
    PERFORM idempotent.fail('22023', format('column "%s" %s and cannot be in "%s"', name, what, option), target => target, "column" => name);
END
$$;
COMMENT ON FUNCTION idempotent.cannot_be_in(regclass, smallint, text, text) IS 'refuses a column that an option must not name';

-- 22023 for a compared or ignored column that is part of the key: it agrees by definition.
CREATE FUNCTION idempotent.check_rule(target regclass, arbiter idempotent.unique_index, rule idempotent.rule) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad record;
BEGIN
    SELECT * INTO bad FROM (SELECT n, 'compare' AS option, place FROM unnest(rule.compare) WITH ORDINALITY AS c (n, place)
                            UNION ALL SELECT n, 'ignore', place + 10000 FROM unnest(rule.ignore) WITH ORDINALITY AS c (n, place)) AS named
     WHERE n = ANY (arbiter.numbers) ORDER BY place LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.cannot_be_in(target, bad.n, 'is part of the key', bad.option);
    END IF;
    SELECT c.name INTO bad FROM idempotent.columns_of(target, false) AS c WHERE c.number = ANY (rule.compare) AND c.generated = 'v' LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.fail('22023', format('column "%s" is virtual and cannot be in "compare"', bad.name),
            hint => 'Compare the columns that it is computed from.', target => target, "column" => bad.name);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_rule(regclass, idempotent.unique_index, idempotent.rule) IS 'refuses compared columns that are in the key';

-- Of the columns that a payload names, those whose values must agree, in the table's order.
CREATE FUNCTION idempotent.compared(target regclass, arbiter idempotent.unique_index, rule idempotent.rule, named smallint[]) RETURNS smallint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT ARRAY(
        SELECT c.number FROM idempotent.columns_of(target, false) AS c
         WHERE c.number = ANY (named) AND c.number <> ALL (arbiter.numbers)
           AND CASE WHEN rule.compare IS NOT NULL THEN c.number = ANY (rule.compare)
                    ELSE c.number <> ALL (coalesce(rule.ignore, '{}')) AND c.number <> ALL (rule.excluded) AND c.generated = ''
                         AND (rule.only_these IS NULL OR c.number = ANY (rule.only_these)) END
         ORDER BY c.number));
END
$$;
COMMENT ON FUNCTION idempotent.compared(regclass, idempotent.unique_index, idempotent.rule, smallint[]) IS 'the columns whose values must agree';

-- The arbiter: by the key that is named, else that of the guard if payloads name its columns, else by what they name. A
-- column whose default is the same in every attempt counts as named; where it is part of no primary key, an index whose
-- columns are all named indeed goes before.
CREATE FUNCTION idempotent.find_arbiter(target regclass, rule idempotent.rule, named smallint[], guard_key text[], origin text) RETURNS idempotent.unique_index
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    sent smallint[] := ARRAY(SELECT n FROM unnest(named) AS n WHERE rule.overriding IS DISTINCT FROM 'user' OR n <> ALL (rule.excluded));
    counted smallint[] := sent || ARRAY(SELECT c.number FROM idempotent.columns_of(target) AS c WHERE idempotent.repeats(c) AND c.number <> ALL (sent));
    guards idempotent.unique_index;
BEGIN
    IF rule.key IS NOT NULL THEN
        RETURN idempotent.arbiter_for_key(target, rule.key);
    END IF;
    IF guard_key IS NOT NULL THEN
        guards := idempotent.arbiter_for_key(target, guard_key);
        -- What a condition refers to is NULL where it is left out, and has no default.
        IF NOT EXISTS (SELECT FROM idempotent.columns_of(target) AS c
                        WHERE c.number = ANY (guards.deciding) AND c.number <> ALL (counted)
                          AND (c.number = ANY (guards.numbers) OR c.filled_by IS NOT NULL OR c.identity <> '')) THEN
            RETURN guards;
        END IF;
    END IF;
    IF NOT EXISTS (SELECT FROM idempotent.indexes_of(target) AS i WHERE i.is_primary AND idempotent.can_be_default(i) AND i.deciding <@ counted)
       AND EXISTS (SELECT FROM idempotent.indexes_of(target) AS i WHERE idempotent.can_be_default(i) AND i.deciding <@ sent) THEN
        RETURN idempotent.default_arbiter(target, sent, origin);
    END IF;
    RETURN idempotent.default_arbiter(target, counted, origin);
END
$$;
COMMENT ON FUNCTION idempotent.find_arbiter(regclass, idempotent.rule, smallint[], text[], text) IS 'the index that decides';

-- The rights that INSERT … ON CONFLICT (key) demands: INSERT on the named columns, SELECT on the key. They are demanded
-- before anything is looked up, so that a pure duplicate needs them too.
CREATE FUNCTION idempotent.check_rights(target regclass, named smallint[], read smallint[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c pg_class;
    allowed boolean;
BEGIN
    SELECT * INTO c FROM pg_class WHERE oid = target;
    IF NOT has_schema_privilege(c.relnamespace, 'USAGE') THEN
        PERFORM idempotent.fail('42501', format('permission denied for schema %s', c.relnamespace::regnamespace));
    END IF;
    allowed := (has_table_privilege(target, 'INSERT')
                OR (SELECT coalesce(bool_and(has_column_privilege(target, a.number, 'INSERT')), has_any_column_privilege(target, 'INSERT'))
                      FROM idempotent.columns_of(target, false) AS a WHERE a.number = ANY (named) AND a.generated = ''))
           AND (has_table_privilege(target, 'SELECT')
                OR (SELECT coalesce(bool_and(has_column_privilege(target, n, 'SELECT')), true) FROM unnest(read) AS n));
    IF NOT allowed THEN
        PERFORM idempotent.fail('42501', format('permission denied for table %s', c.relname));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_rights(regclass, smallint[], smallint[]) IS 'demands the rights of INSERT … ON CONFLICT';
