-- The way to the compiled extension: idempotent_adopt() replaces the portable edition by it, in one transaction. Guards, views
-- and the rows of state are taken over. docs/managed.md

-- Views and rules of others would be dropped together with what they show.
CREATE FUNCTION idempotent.check_adoption() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    dependent text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_idempotent') THEN
        PERFORM idempotent.fail('0A000', 'extension "pg_idempotent" is not available', 'It is to take the place of the portable edition.',
            'Install the extension on the server first.');
    ELSIF EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND classid = 'pg_namespace'::regclass AND objid = 'idempotent'::regnamespace)
          OR EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_idempotent') THEN
        PERFORM idempotent.fail('55000', 'the portable edition is part of an extension', hint => 'Take it out of the extension with ALTER EXTENSION … DROP, and drop the extension.');
    END IF;
    SELECT r.ev_class::regclass::text INTO dependent
      FROM pg_depend AS d JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid JOIN pg_class AS c ON c.oid = r.ev_class
     WHERE c.relnamespace <> 'idempotent'::regnamespace
       AND (d.refobjid IN (SELECT oid FROM pg_class WHERE relnamespace = 'idempotent'::regnamespace)
            OR d.refobjid IN (SELECT oid FROM pg_proc WHERE pronamespace = 'idempotent'::regnamespace OR oid IN (SELECT idempotent.own_routines()))) LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.fail('2BP01', format('view %s depends on the portable edition', dependent), hint => 'Drop the view, and create it again when the extension is there.');
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_adoption() IS 'refuses an adoption that would drop what is not ours, or has nothing to adopt it';

-- The functions that people call.
CREATE FUNCTION idempotent.own_routines() RETURNS SETOF oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT p.oid FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
     WHERE n.nspname = idempotent.home() AND p.proname LIKE 'idempotent\_%' AND p.proowner = (SELECT nspowner FROM pg_namespace WHERE nspname = 'idempotent');
END
$$;
COMMENT ON FUNCTION idempotent.own_routines() IS 'the functions that people call';

-- The statements that remove guards and the triggers of views, and those that make them again.
CREATE FUNCTION idempotent.triggers_to_adopt(OUT remove text[], OUT make text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pg_trigger;
    is_guard boolean;
BEGIN
    remove := '{}';
    make := '{}';
    FOR t IN SELECT * FROM pg_trigger AS own
              WHERE own.tgparentid = 0 AND own.tgfoid IN (to_regprocedure(format('%I.idempotent_guard_trigger()', idempotent.home())), to_regprocedure(format('%I.idempotent_view_trigger()', idempotent.home())))
              ORDER BY own.oid LOOP
        is_guard := t.tgfoid = to_regprocedure(format('%I.idempotent_guard_trigger()', idempotent.home()));
        remove := remove || format('DROP TRIGGER %I ON %s', t.tgname, idempotent.qualified(t.tgrelid));
        make := make || CASE WHEN is_guard THEN idempotent.guard_call(t.tgrelid, idempotent.options_of(idempotent.arguments_of(t.oid))) ELSE pg_get_triggerdef(t.oid) END;
        IF is_guard AND t.tgenabled <> 'O' THEN
            make := make || format('ALTER TABLE %s %s TRIGGER zz_idempotent_guard', idempotent.qualified(t.tgrelid),
                CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE REPLICA' END);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.triggers_to_adopt() IS 'what removes guards and views, and makes them again';

-- Of this function nothing that it calls is left when it has dropped the portable edition; so it knows everything before.
CREATE FUNCTION idempotent_adopt() RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning
AS $$
DECLARE
    home text := idempotent.home();
    state CONSTANT text[] := '{conflict_records,rejection_records,batch_records,request_records,pipeline_run_records,load_records}';
    triggers record;
    next_attempt bigint := nextval('idempotent.request_attempts');
    one text;
    columns record;
BEGIN
    PERFORM idempotent.check_adoption();
    SELECT * INTO triggers FROM idempotent.triggers_to_adopt();
    FOREACH one IN ARRAY state LOOP
        EXECUTE format('LOCK TABLE idempotent.%I', one);
        EXECUTE format('CREATE TEMP TABLE %I ON COMMIT DROP AS TABLE idempotent.%I', 'adopted_' || one, one);
    END LOOP;
    FOREACH one IN ARRAY triggers.remove LOOP
        EXECUTE one;
    END LOOP;
    FOR one IN SELECT format('DROP ROUTINE %s', r::regprocedure) FROM idempotent.own_routines() AS r LOOP
        EXECUTE one;
    END LOOP;
    DROP SCHEMA idempotent CASCADE;
    EXECUTE format('CREATE EXTENSION pg_idempotent SCHEMA %I', home);
    FOREACH one IN ARRAY state LOOP
        SELECT string_agg(quote_ident(new.attname), ', ') AS names, string_agg(format('CAST(own.%I::text AS %s)', new.attname, format_type(new.atttypid, new.atttypmod)), ', ') AS values,
               max(new.attname) FILTER (WHERE new.attidentity <> '') AS number INTO columns
          FROM pg_attribute AS new JOIN pg_attribute AS old ON old.attrelid = to_regclass('pg_temp.adopted_' || one) AND old.attname = new.attname
         WHERE new.attrelid = to_regclass('idempotent.' || one) AND new.attnum > 0 AND NOT new.attisdropped;
        EXECUTE format('INSERT INTO idempotent.%I (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM pg_temp.%I AS own', one, columns.names, columns.values, 'adopted_' || one);
        IF columns.number IS NOT NULL THEN
            EXECUTE format('SELECT setval(pg_get_serial_sequence(%L, %L), max(%I)) FROM idempotent.%I HAVING count(*) > 0', 'idempotent.' || one, columns.number, columns.number, one);
        END IF;
    END LOOP;
    PERFORM setval('idempotent.request_attempts', next_attempt);
    PERFORM set_config('search_path', quote_ident(home) || ', pg_catalog, pg_temp', true);
    FOREACH one IN ARRAY triggers.make LOOP
        EXECUTE one;
        RETURN NEXT one;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent_adopt() IS 'replaces the portable edition by the extension, which takes guards, views and the rows of state over';
