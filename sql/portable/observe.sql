-- A guard that only observes: it says in the server's log what it would do, and lets each row in as without a guard.
-- docs/guard.md, Observe first

CREATE FUNCTION idempotent.observes(arguments text[]) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM unnest(arguments) AS argument WHERE argument ~ '^\s*on_conflict\s*=\s*observe\s*$');
END
$$;
COMMENT ON FUNCTION idempotent.observes(text[]) IS 'whether a guard only observes';

-- What the guard would have done with a row; NULL for one that is new.
CREATE FUNCTION idempotent.observation(config idempotent.guard_config, seen idempotent.look) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE
        WHEN seen.has_key AND array_position(seen.key, NULL) IS NOT NULL AND NOT (config.arbiter).nulls_equal THEN
            CASE config.null_key WHEN 'pass' THEN NULL ELSE 'refused 1 row with a null in the key' END
        WHEN NOT seen.found THEN NULL
        WHEN row_security_active(config.target) THEN 'verified 1 row that it does not compare while it observes'
        WHEN cardinality(seen.differing) = 0 THEN 'skipped 1 duplicate'
        ELSE 'refused 1 conflict' END;
END
$$;
COMMENT ON FUNCTION idempotent.observation(idempotent.guard_config, idempotent.look) IS 'what a guard that observes would have done';

CREATE FUNCTION idempotent.tell_observation(config idempotent.guard_config, seen idempotent.look) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deed text := idempotent.observation(config, seen);
    plan idempotent.plan;
BEGIN
    IF deed = 'refused 1 conflict' THEN
        plan.compared_names := ARRAY(SELECT c.name FROM idempotent.columns_of(config.target) AS c WHERE c.number = ANY (config.compared) ORDER BY c.number);
        RAISE LOG 'guard of table "%" would have %', idempotent.name_of(config.target), deed
            USING DETAIL = idempotent.conflict_sentence(config.target, config.arbiter, plan, seen, NULL);
    ELSIF deed IS NOT NULL THEN
        RAISE LOG 'guard of table "%" would have %', idempotent.name_of(config.target), deed;
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.tell_observation(idempotent.guard_config, idempotent.look) IS 'tells what a guard that observes would have done';

-- Nothing of this reaches the statement.
CREATE FUNCTION idempotent.observe(relation oid, guard name, arguments text[], new_row anyelement) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    plan idempotent.guard_plans;
    config idempotent.guard_config;
    seen idempotent.look;
    detail text;
BEGIN
    plan := idempotent.plan_of(relation, guard, arguments);
    EXECUTE plan.look INTO seen USING new_row;
    IF seen.found OR NOT idempotent.has_whole_key(seen) THEN
        config := idempotent.config_of(plan.target, idempotent.options_of(arguments), idempotent.own_trigger(plan.target));
        EXECUTE idempotent.whole_look(config) INTO seen USING new_row;
        seen.differing := idempotent.supplied(relation, config, seen.differing, new_row);
        PERFORM idempotent.tell_observation(config, seen);
    END IF;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RAISE LOG 'guard of table "%" cannot observe: %', idempotent.name_of(idempotent.guarded_table(relation, guard)), pg_catalog.concat_ws('. ', SQLERRM, CASE WHEN pg_catalog.length(detail) OPERATOR(pg_catalog.>) 0 THEN detail END);
END
$$;
COMMENT ON FUNCTION idempotent.observe(oid, name, text[], anyelement) IS 'what a guard that observes does with a row';
