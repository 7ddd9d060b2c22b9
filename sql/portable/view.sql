-- A view whose INSERT inserts or verifies, and returns the stored row. docs/view.md

-- The name of a view, with its schema: that of the table, if none is given.
CREATE FUNCTION idempotent.view_name(target regclass, name text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parts text[];
BEGIN
    PERFORM idempotent.require('name', name IS NOT NULL);
    BEGIN
        parts := parse_ident(name);
    EXCEPTION WHEN invalid_parameter_value THEN
        parts := '{}';
    END;
    IF cardinality(parts) NOT IN (1, 2) THEN
        PERFORM idempotent.fail('42602', format('invalid name of a view: "%s"', idempotent.cut(name)),
            hint => 'Pass a name, or a schema and a name with a dot between them, as in SQL.');
    END IF;
    RETURN CASE cardinality(parts)
        WHEN 1 THEN format('%I.%I', (SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = target), parts[1])
        ELSE format('%I.%I', parts[1], parts[2]) END;
END
$$;
COMMENT ON FUNCTION idempotent.view_name(regclass, text) IS 'the name of a view with its schema';

-- Refuses a view that others have made, and another trigger or rule for INSERT on one of ours.
CREATE FUNCTION idempotent.check_view(view text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own regprocedure := to_regprocedure(format('%I.idempotent_view_trigger()', idempotent.home()));
    other record;
BEGIN
    IF EXISTS (SELECT FROM pg_class AS c WHERE c.oid = to_regclass(view) AND relkind = 'v'
                  AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgname = 'idempotent_view' AND tgfoid = own)) THEN
        PERFORM idempotent.fail('42P07', format('view %s already exists', view),
            format('It has no trigger "idempotent_view" of this extension, and %s would replace its definition.', idempotent.own_function('idempotent_view')),
            format('Choose another name for the view; or, if this one is not needed: DROP VIEW %s;', view));
    END IF;
    -- INSTEAD OF INSERT.
    SELECT 'trigger' AS kind, tgname::text AS name INTO other FROM pg_trigger WHERE tgrelid = to_regclass(view) AND tgtype & 68 = 68 AND tgname <> 'idempotent_view'
    UNION ALL SELECT 'rule', rulename::text FROM pg_rewrite WHERE ev_class = to_regclass(view) AND ev_type = '3' AND is_instead LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.fail('55000', format('view %s has another trigger or rule for INSERT', view), format('It is the %s "%s".', other.kind, other.name),
            format('Choose another name for the view; or, if the %s is not needed: DROP %s %I ON %s;', other.kind, upper(other.kind), other.name, view));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_view(text) IS 'refuses a view that is not ours';

-- Whether a NULL in a row of the view is a value: an INSERT that leaves the column out would store NULL as well, or the
-- view has the default.
CREATE FUNCTION idempotent.null_is_a_value(c idempotent.column_info) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN c.generated = '' AND ((c.filled_by IS NULL AND c.identity = '') OR (NOT c.drawn AND c.kind = 'constant' AND c.may_be_null));
END
$$;
COMMENT ON FUNCTION idempotent.null_is_a_value(idempotent.column_info) IS 'whether a NULL in a row of a view is a value';

CREATE FUNCTION idempotent.check_view_options(options idempotent.guard_options) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF options.remember IS NOT NULL OR options.null_key = 'pass' THEN
        PERFORM idempotent.fail('22023', format('a view has no option "%s"', CASE WHEN options.remember IS NOT NULL THEN 'remember' ELSE 'null_key' END),
            hint => format('Guard the table with %s.', idempotent.own_function('idempotent_guard')));
    ELSIF options.on_conflict = 'report' THEN
        PERFORM idempotent.fail('22023', 'a view cannot report conflicts: an INSERT has nowhere to return them', hint => 'Available values: error, quarantine.');
    ELSIF options.on_conflict = 'observe' THEN
        PERFORM idempotent.fail('22023', 'a view cannot observe: an INSERT into it always inserts or verifies', hint => 'Available values: error, quarantine.');
    END IF;
    PERFORM idempotent.check_option('on_conflict', options.on_conflict, '{error,quarantine}');
END
$$;
COMMENT ON FUNCTION idempotent.check_view_options(idempotent.guard_options) IS 'refuses options that a view does not have';

CREATE FUNCTION idempotent.view_options(key text[], compare text[], ignore text[], on_conflict text) RETURNS idempotent.guard_options
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.check_list('key', key);
    PERFORM idempotent.check_list('compare', compare);
    PERFORM idempotent.check_list('ignore', ignore);
    PERFORM idempotent.require('on_conflict', on_conflict IS NOT NULL);
    PERFORM idempotent.check_view_options(ROW(key, compare, ignore, on_conflict, NULL, 'error'));
    RETURN ROW(key, compare, ignore, on_conflict, NULL, 'error')::idempotent.guard_options;
END
$$;
COMMENT ON FUNCTION idempotent.view_options(text[], text[], text[], text) IS 'checks the options of a view';

CREATE FUNCTION idempotent_view(
    target      regclass,
    name        text,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error'
) RETURNS regclass
LANGUAGE plpgsql
AS $$
DECLARE
    view text;
    options idempotent.guard_options;
BEGIN
    PERFORM idempotent.check_target(target);
    view := idempotent.view_name(target, name);
    options := idempotent.view_options(key, compare, ignore, on_conflict);
    IF key IS NOT NULL THEN
        options.key := idempotent.canonical_key(target, key);
    END IF;
    PERFORM idempotent.make_view(target, view, options);
    RETURN pg_catalog.to_regclass(view);
END
$$;
COMMENT ON FUNCTION idempotent_view(regclass, text, text[], text[], text[], text) IS
    'creates a view of a table whose INSERT inserts or verifies and returns the stored row, or replaces its options';

CREATE FUNCTION idempotent.make_view(target regclass, view text, options idempotent.guard_options) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    config idempotent.guard_config := idempotent.config_of(target, options, NULL);
    c idempotent.column_info;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('idempotent view', target::oid::bigint));
    options.key := config.key;
    PERFORM idempotent.check_view(view);
    EXECUTE format('CREATE OR REPLACE VIEW %s WITH (security_invoker = true) AS SELECT %s FROM %s', view,
        (SELECT string_agg(quote_ident(o.name), ', ' ORDER BY o.number) FROM idempotent.columns_of(target) AS o), idempotent.qualified(target));
    FOR c IN SELECT * FROM idempotent.columns_of(target) LOOP
        EXECUTE format('ALTER VIEW %s ALTER COLUMN %I %s', view, c.name,
            CASE WHEN idempotent.null_is_a_value(c) AND c.filled_by IS NOT NULL THEN 'SET DEFAULT ' || c.filled_by ELSE 'DROP DEFAULT' END);
    END LOOP;
    EXECUTE format('CREATE OR REPLACE TRIGGER idempotent_view INSTEAD OF INSERT ON %s FOR EACH ROW EXECUTE FUNCTION %I.idempotent_view_trigger(%s)',
        view, idempotent.home(), array_to_string(idempotent.trigger_arguments(options), ', '));
END
$$;
COMMENT ON FUNCTION idempotent.make_view(regclass, text, idempotent.guard_options) IS 'creates a view and its trigger';

-- The columns of a view, each with the number of the table's column that it shows. Names may have changed on either side.
CREATE FUNCTION idempotent.view_columns(view oid) RETURNS TABLE (shown text, origin oid, number smallint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a.attname::text, part[2]::oid, part[3]::smallint
      FROM pg_rewrite AS r
     CROSS JOIN LATERAL regexp_matches(r.ev_action::text, ':resno (\d+) :resname \S+ :ressortgroupref \d+ :resorigtbl (\d+) :resorigcol (\d+) :resjunk false', 'g') AS part
      JOIN pg_attribute AS a ON a.attrelid = view AND a.attnum = part[1]::smallint
     WHERE r.ev_class = view AND r.ev_type = '1'
$$;
COMMENT ON FUNCTION idempotent.view_columns(oid) IS 'the columns of a view, and those of a table that they show';

-- Whether a view shows the rows of one table as they are: all of them, one by one.
CREATE FUNCTION idempotent.shows_all_rows(view oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT action ~ ':jointree \{FROMEXPR :fromlist \(\{RANGETBLREF :rtindex \d+\}\) :quals <>\}'
           AND action !~ ':(hasAggs|hasWindowFuncs|hasTargetSRFs|hasSubLinks|hasDistinctOn|hasRecursive|hasModifyingCTE|hasForUpdate) true'
           AND action !~ ':(groupClause|groupingSets|havingQual|distinctClause|limitOffset|limitCount|setOperations|tablesample|cteList) [^<]'
      FROM (SELECT ev_action::text AS action FROM pg_rewrite WHERE ev_class = view AND ev_type = '1') AS r
$$;
COMMENT ON FUNCTION idempotent.shows_all_rows(oid) IS 'whether a view shows the rows of a table as they are';

-- The table that a view shows.
CREATE FUNCTION idempotent.table_of_view(view oid) RETURNS regclass
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tables oid[] := ARRAY(SELECT DISTINCT origin FROM idempotent.view_columns(view));
BEGIN
    IF cardinality(tables) <> 1 OR tables[1] = 0 OR NOT idempotent.shows_all_rows(view)
       OR (SELECT count(*) <> count(DISTINCT number) OR min(number) <= 0 FROM idempotent.view_columns(view)) THEN
        PERFORM idempotent.fail('55000', format('view "%s" does not show plain columns of one table', idempotent.name_of(view::regclass)),
            'A row that is inserted through such a view cannot be stored as it is.',
            format('Drop the view, and create it again with %s.', idempotent.own_function('idempotent_view')));
    END IF;
    RETURN tables[1]::regclass;
END
$$;
COMMENT ON FUNCTION idempotent.table_of_view(oid) IS 'the table that a view shows';

-- Refuses options that name a column which the table no longer has.
CREATE FUNCTION idempotent.check_view_names(target regclass, options idempotent.guard_options) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad record;
BEGIN
    SELECT option, name INTO bad
      FROM (SELECT 'key', unnest(options.key) UNION ALL SELECT 'compare', unnest(options.compare) UNION ALL SELECT 'ignore', unnest(options.ignore)) AS u (option, name)
     WHERE idempotent.column_number(target, name) IS NULL AND NOT (option = 'key' AND idempotent.looks_like_expression(name)) LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.fail('42703', format('column "%s" of relation "%s" does not exist', idempotent.cut(bad.name), idempotent.name_of(target)),
            format('It is named in "%s".', bad.option),
            format('If the column was renamed, rename it in the view, too, with ALTER VIEW … RENAME COLUMN. Then call %s again, with columns that the table has.',
                   idempotent.own_function('idempotent_view')), target);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_view_names(regclass, idempotent.guard_options) IS 'refuses options of a view that are out of date';

-- A row of the view as a payload: without what the table fills.
CREATE FUNCTION idempotent.payload_of_view(target regclass, view oid, new_row jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT coalesce(jsonb_object_agg(c.name, new_row -> v.shown), '{}') FROM idempotent.columns_of(target) AS c JOIN idempotent.view_columns(view) AS v ON v.number = c.number
             WHERE new_row -> v.shown <> 'null' OR idempotent.null_is_a_value(c));
END
$$;
COMMENT ON FUNCTION idempotent.payload_of_view(regclass, oid, jsonb) IS 'a row of a view as a payload';

-- A stored row under the names of the view.
CREATE FUNCTION idempotent.stored_in_view(target regclass, view oid, stored jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT coalesce(jsonb_object_agg(v.shown, stored -> a.attname::text), '{}') FROM idempotent.view_columns(view) AS v
              JOIN pg_attribute AS a ON a.attrelid = target AND a.attnum = v.number WHERE stored ? a.attname::text);
END
$$;
COMMENT ON FUNCTION idempotent.stored_in_view(regclass, oid, jsonb) IS 'a stored row under the names of a view';

CREATE FUNCTION idempotent_view_trigger() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    target regclass;
    options idempotent.guard_options;
    rule idempotent.rule;
    result idempotent.outcome;
BEGIN
    PERFORM idempotent.check_view_trigger(TG_WHEN, TG_OP);
    target := idempotent.table_of_view(TG_RELID);
    PERFORM idempotent.check_target(target);
    options := idempotent.options_of(TG_ARGV, 'view');
    PERFORM idempotent.check_view_options(options);
    PERFORM idempotent.check_view_names(target, options);
    rule := idempotent.rule_of(target, options.key, options.compare, options.ignore);
    IF options.compare IS NULL AND options.ignore IS NULL THEN
        rule.only_these := (idempotent.guard_in_force(target)).compared;
    END IF;
    SELECT * INTO result FROM idempotent.write(target, ARRAY[idempotent.payload_of_view(target, TG_RELID, pg_catalog.to_jsonb(NEW))], 'payload', rule, options.on_conflict, 'error');
    IF result.outcome OPERATOR(pg_catalog.=) 'conflict' THEN
        -- It is recorded, and no row went in.
        RETURN NULL;
    END IF;
    IF result.outcome OPERATOR(pg_catalog.=) 'inserted' AND result.stored IS NULL AND idempotent.has_row_trigger(target, before => false) THEN
        -- An AFTER trigger has taken it away.
        RETURN NULL;
    END IF;
    RETURN pg_catalog.jsonb_populate_record(NEW, idempotent.stored_in_view(target, TG_RELID, COALESCE(result.stored, '{}')));
END
$$;
COMMENT ON FUNCTION idempotent_view_trigger() IS
    'trigger function of the views that idempotent_view creates';

CREATE FUNCTION idempotent.check_view_trigger(tg_when text, tg_op text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF tg_when <> 'INSTEAD OF' OR tg_op <> 'INSERT' THEN
        PERFORM idempotent.fail('39P01', 'idempotent_view_trigger can only be called as an INSTEAD OF INSERT trigger', 'It was called for another event.',
            format('Create the trigger with %s.', idempotent.own_function('idempotent_view')));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_view_trigger(text, text) IS 'refuses a trigger that is made wrongly';
