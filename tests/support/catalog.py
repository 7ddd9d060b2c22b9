"""What the catalogs say of the extension, object by object: to compare an updated extension with a fresh one.

A catalog row is taken whole, as json, so that what a new server version adds to it is compared as well. Left out are
numbers that differ from database to database (oids, file nodes); what such a number points to is put in by name.
"""

# Rows of a catalog that describe members of the extension: the object, and what is known of it. `member` holds the oids.
PARTS = {
    "extension": """
        SELECT 'extension', to_jsonb(e) - '{oid,extowner,extnamespace,extconfig,extcondition}'::text[] || jsonb_build_object(
                   'owner', e.extowner::regrole, 'schema', e.extnamespace::regnamespace,
                   'dumped', (SELECT jsonb_object_agg(t::regclass, condition) FROM unnest(e.extconfig, e.extcondition) AS c (t, condition)))
          FROM pg_extension e WHERE e.extname = 'pg_idempotent'""",
    "schemas": """
        SELECT 'schema ' || n.nspname, to_jsonb(n) - '{oid,nspowner}'::text[] || jsonb_build_object('owner', n.nspowner::regrole)
          FROM pg_namespace n JOIN member USING (oid) WHERE classid = 'pg_namespace'::regclass""",
    # pg_get_functiondef knows all that CREATE FUNCTION takes, and does not take aggregates.
    "functions": """
        SELECT 'function ' || p.oid::regprocedure, jsonb_build_object(
                   'definition', CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END,
                   'arguments', pg_get_function_arguments(p.oid), 'result', pg_get_function_result(p.oid),
                   'kind', p.prokind, 'volatile', p.provolatile, 'parallel', p.proparallel, 'strict', p.proisstrict,
                   'cost', p.procost, 'rows', p.prorows, 'library', p.probin, 'symbol', p.prosrc,
                   'owner', p.proowner::regrole, 'rights', p.proacl::text)
          FROM pg_proc p JOIN member USING (oid) WHERE classid = 'pg_proc'::regclass""",
    "aggregates": """
        SELECT 'aggregate ' || a.aggfnoid::regprocedure, to_jsonb(a) - '{aggfnoid,aggsortop,aggtranstype,aggmtranstype}'::text[]
                   || jsonb_build_object('sort', a.aggsortop::regoper, 'state', a.aggtranstype::regtype, 'moving', a.aggmtranstype::regtype)
          FROM pg_aggregate a JOIN member ON member.oid = a.aggfnoid WHERE classid = 'pg_proc'::regclass""",
    "types": """
        SELECT 'type ' || t.oid::regtype, to_jsonb(t)
                   - '{oid,typnamespace,typowner,typrelid,typarray,typelem,typbasetype,typcollation,typdefaultbin}'::text[]
                   || jsonb_build_object('owner', t.typowner::regrole, 'base', t.typbasetype::regtype, 'element', t.typelem::regtype)
          FROM pg_type t JOIN member USING (oid) WHERE classid = 'pg_type'::regclass""",
    "operators": """
        SELECT 'operator ' || o.oid::regoperator, to_jsonb(o)
                   - '{oid,oprnamespace,oprowner,oprleft,oprright,oprresult,oprcom,oprnegate}'::text[]
                   || jsonb_build_object('owner', o.oprowner::regrole, 'result', o.oprresult::regtype,
                                         'commutator', o.oprcom::regoperator, 'negator', o.oprnegate::regoperator)
          FROM pg_operator o JOIN member USING (oid) WHERE classid = 'pg_operator'::regclass""",
    "operator classes": """
        SELECT 'operator class ' || c.opcname, jsonb_build_object(
                   'type', c.opcintype::regtype, 'default', c.opcdefault, 'key', c.opckeytype::regtype, 'owner', c.opcowner::regrole,
                   'operators', (SELECT jsonb_agg(o.amopopr::regoperator::text ORDER BY o.amopstrategy) FROM pg_amop o WHERE o.amopfamily = c.opcfamily),
                   'functions', (SELECT jsonb_agg(f.amproc::regprocedure::text ORDER BY f.amprocnum) FROM pg_amproc f WHERE f.amprocfamily = c.opcfamily))
          FROM pg_opclass c JOIN member USING (oid) WHERE classid = 'pg_opclass'::regclass""",
    "casts": """
        SELECT format('cast %s as %s', c.castsource::regtype, c.casttarget::regtype),
               jsonb_build_object('function', c.castfunc::regprocedure, 'context', c.castcontext, 'method', c.castmethod)
          FROM pg_cast c JOIN member USING (oid) WHERE classid = 'pg_cast'::regclass""",
    # All in the schema, members or not: a step must leave nothing behind that is not the extension's.
    "relations": """
        SELECT 'relation ' || c.oid::regclass, jsonb_build_object(
                   'kind', c.relkind, 'persistence', c.relpersistence, 'owner', c.relowner::regrole, 'rights', c.relacl::text,
                   'options', c.reloptions, 'row security', c.relrowsecurity, 'forced', c.relforcerowsecurity,
                   'replica identity', c.relreplident, 'member', member.oid IS NOT NULL,
                   'view', CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END,
                   'index', CASE c.relkind WHEN 'i' THEN pg_get_indexdef(c.oid) END,
                   'sequence', (SELECT to_jsonb(s) - '{seqrelid,seqtypid}'::text[] || jsonb_build_object('type', s.seqtypid::regtype)
                                  FROM pg_sequence s WHERE s.seqrelid = c.oid),
                   'owned by', (SELECT pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) FROM pg_depend d
                                 WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
                                   AND c.relkind = 'S'))
          FROM pg_class c LEFT JOIN member ON member.oid = c.oid AND classid = 'pg_class'::regclass
         WHERE c.relnamespace = 'idempotent'::regnamespace""",
    # In their order, for functions that return a row of a view or table, and INSERTs that name no columns.
    "columns": r"""
        SELECT format('column %s.%I', a.attrelid::regclass, a.attname), jsonb_build_object(
                   'place', row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum), 'type', format_type(a.atttypid, a.atttypmod),
                   'not null', a.attnotnull, 'default', pg_get_expr(d.adbin, d.adrelid), 'identity', a.attidentity, 'generated', a.attgenerated,
                   'collation', a.attcollation::regcollation, 'storage', a.attstorage, 'compression', a.attcompression,
                   'statistics', a.attstattarget, 'rights', a.attacl::text,
                   -- What servers note for themselves is not an option that somebody set.
                   'options', (SELECT jsonb_agg(o) FROM unnest(a.attoptions) AS o WHERE o NOT LIKE 'pg\_%'))
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
         WHERE c.relnamespace = 'idempotent'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND a.attnum > 0 AND NOT a.attisdropped""",
    # But for those that only say NOT NULL, objects of their own from PostgreSQL 18 on: the columns say it.
    "constraints": """
        SELECT format('constraint %s on %s', c.conname, c.conrelid::regclass),
               jsonb_build_object('definition', pg_get_constraintdef(c.oid), 'valid', c.convalidated)
          FROM pg_constraint c WHERE c.connamespace = 'idempotent'::regnamespace AND c.contype <> 'n'""",
    "triggers": """
        SELECT format('trigger %s on %s', t.tgname, t.tgrelid::regclass), jsonb_build_object('definition', pg_get_triggerdef(t.oid), 'enabled', t.tgenabled)
          FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = 'idempotent'::regnamespace AND NOT t.tgisinternal""",
    "rules": """
        SELECT format('rule %s on %s', r.rulename, r.ev_class::regclass), jsonb_build_object('definition', pg_get_ruledef(r.oid), 'enabled', r.ev_enabled)
          FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE c.relnamespace = 'idempotent'::regnamespace""",
    "policies": """
        SELECT format('policy %s on %s.%s', policyname, schemaname, tablename), to_jsonb(p) FROM pg_policies p WHERE schemaname = 'idempotent'""",
    # What dumps leave out, because CREATE EXTENSION grants it.
    "initial rights": """
        SELECT 'initial rights on ' || pg_describe_object(i.classoid, i.objoid, i.objsubid), to_jsonb(i.initprivs::text)
          FROM pg_init_privs i JOIN member ON (member.classid, member.oid) = (i.classoid, i.objoid)""",
    "comments": """
        SELECT 'comment on ' || pg_describe_object(d.classoid, d.objoid, d.objsubid), to_jsonb(d.description) FROM pg_description d
         WHERE EXISTS (SELECT FROM member WHERE (member.classid, member.oid) = (d.classoid, d.objoid))
            OR (d.classoid = 'pg_class'::regclass AND d.objoid IN (SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'idempotent'::regnamespace))
            OR (d.classoid = 'pg_constraint'::regclass AND d.objoid IN (SELECT c.oid FROM pg_constraint c WHERE c.connamespace = 'idempotent'::regnamespace))
            OR (d.classoid = 'pg_extension'::regclass AND d.objoid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'pg_idempotent'))""",
}

MEMBERS = """
    WITH member AS (
        SELECT d.classid, d.objid AS oid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
         WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'pg_idempotent')
"""


def described(conn):
    """Every object of the extension in this database: its name, and what the catalogs say of it."""
    objects = {}
    conn.execute("SET search_path = pg_catalog")
    for part, select in PARTS.items():
        rows = conn.execute(f"{MEMBERS} SELECT * FROM ({select}) AS part (object, says)").fetchall()
        for row in rows:
            assert row["object"] not in objects, f"two objects of the {part} are called {row['object']}"
            objects[row["object"]] = row["says"]
    conn.execute("RESET search_path")
    return objects


def differences(updated, fresh):
    """A line for everything in which two descriptions differ; none if they are equal."""
    lines = [f"only in the updated one: {name}" for name in sorted(updated.keys() - fresh.keys())]
    lines += [f"only in the fresh one: {name}" for name in sorted(fresh.keys() - updated.keys())]
    for name in sorted(updated.keys() & fresh.keys()):
        one, other = ({"": says} if not isinstance(says, dict) else says for says in (updated[name], fresh[name]))
        for what in sorted(one.keys() | other.keys()):
            if one.get(what) != other.get(what):
                lines.append(f"{name}: {what}\n    updated: {one.get(what)}\n    fresh:   {other.get(what)}")
    return lines
