-- How overwrites of slices that overlap take turns. docs/overwrite.md, Concurrency
--
-- All locks last until the transaction ends, but for those of which that is said. They are those of the compiled edition as far
-- as there are such:
--
-- - Slices of one table that name the same columns are a family. Slices of two families may overlap, whatever they say, and so may
--   those of a table and one of its partitions. Only one family is at work on a table and its partitions at a time.
-- - In a family, a slice with two ranges or more works alone: it has the lock on the family's form, which all others share.
-- - Slices of values overlap if they are equal: each has the lock on its values.
-- - Two ranges of one column, or a range and a value in it, overlap only if they have the same values in all other columns. For
--   a column and such values there is a tree: its root stands for all integers of the type's width, each node for a part of
--   them. A range has the nodes that make it up, and shares their ancestors. Values share, for each column that could have a
--   range, the nodes from the root to their leaf. Where two overlap, one has a node that the other has or shares. A type that
--   is no integer, date or timestamp has the root alone.
-- - Ranges of two columns of a family are like two families.
-- - Values are hashed. A column of a type without a hash is in no hash, and more slices take turns.
--
-- An advisory lock can be shared or not; there are no two modes of which each goes with itself and not with the other, as
-- families would need. So who joins a family looks into pg_locks, under a lock that it gives back at once: if another
-- family of the same space is there, it waits for the end of a transaction that is in it, and looks again. For this each
-- transaction that is in a family holds a lock on its process.
--
-- All take what they need in one order: family, form, column, nodes by column, level and position, values. So single calls do not
-- deadlock; a transaction of several calls can.

CREATE FUNCTION idempotent.number_of(subject text) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT hashtextextended('idempotent ' || subject, 0) $$;
COMMENT ON FUNCTION idempotent.number_of(text) IS 'the number of an advisory lock';

CREATE FUNCTION idempotent.small_number_of(subject text) RETURNS int
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT hashtext('idempotent ' || subject) $$;
COMMENT ON FUNCTION idempotent.small_number_of(text) IS 'half of the number of an advisory lock';

-- Waits until nobody else is in another family of the space, and is in this one until the transaction ends.
CREATE FUNCTION idempotent.join_family(space text, family text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    in_the_way record;
BEGIN
    PERFORM pg_advisory_xact_lock(idempotent.small_number_of('process'), pg_backend_pid());
    LOOP
        SELECT * INTO in_the_way FROM idempotent.try_family(space, family);
        EXIT WHEN in_the_way.other IS NULL;
        PERFORM idempotent.wait_for(in_the_way.pid, idempotent.small_number_of('space ' || space), in_the_way.other);
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.join_family(text, text) IS 'waits until a family can be joined';

-- Joins it, or gives a process that is in another one. The lock on the door is the session's, since it has to be given back: also
-- when the call is cancelled.
CREATE FUNCTION idempotent.try_family(space text, family text, OUT pid int, OUT other int)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    door CONSTANT bigint := idempotent.number_of('door of ' || space);
    own CONSTANT int := idempotent.small_number_of('space ' || space);
    name CONSTANT int := idempotent.small_number_of('family ' || family);
BEGIN
    PERFORM pg_advisory_lock(door);
    SELECT l.pid, idempotent.signed(l.objid) INTO pid, other FROM idempotent.advisory_locks() AS l
     WHERE l.classid = idempotent.unsigned(own) AND l.objsubid = 2 AND l.objid <> idempotent.unsigned(name) AND l.pid IS DISTINCT FROM pg_backend_pid() LIMIT 1;
    IF NOT FOUND THEN
        PERFORM pg_advisory_xact_lock_shared(own, name);
    END IF;
    PERFORM pg_advisory_unlock(door);
EXCEPTION WHEN query_canceled OR OTHERS THEN
    PERFORM pg_advisory_unlock(door) FROM idempotent.advisory_locks() AS l
      WHERE l.classid = idempotent.unsigned((door >> 32)::int) AND l.objid = idempotent.unsigned((door << 32 >> 32)::int) AND l.objsubid = 1 AND l.pid = pg_backend_pid();
    RAISE;
END
$$;
COMMENT ON FUNCTION idempotent.try_family(text, text) IS 'joins a family, or says who is in the way';

CREATE FUNCTION idempotent.advisory_locks() RETURNS SETOF pg_locks
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) $$;
COMMENT ON FUNCTION idempotent.advisory_locks() IS 'the advisory locks that are held in the database';

-- The server shows the halves of the number of an advisory lock as oids.
CREATE FUNCTION idempotent.unsigned(half int) RETURNS oid
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT (half::bigint & 4294967295)::oid $$;
COMMENT ON FUNCTION idempotent.unsigned(int) IS 'half of the number of a lock, as pg_locks has it';

CREATE FUNCTION idempotent.signed(half oid) RETURNS int
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT (half::bigint << 32 >> 32)::int $$;
COMMENT ON FUNCTION idempotent.signed(oid) IS 'half of the number of a lock, as its functions take it';

-- Waits for the end of the transaction of a process, which has a lock until then. The lock that the waiting ends with is given back
-- with the subtransaction. Of a transaction that is prepared nobody knows the process: then it is waited for all in its family.
CREATE FUNCTION idempotent.wait_for(pid int, space int, family int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pid IS NULL THEN
        PERFORM pg_advisory_xact_lock(space, family);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(idempotent.small_number_of('process'), pid);
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'ID001', MESSAGE = 'the waiting is over';
EXCEPTION WHEN SQLSTATE 'ID001' THEN
    NULL;
END
$$;
COMMENT ON FUNCTION idempotent.wait_for(int, int, int) IS 'waits for the end of a transaction';

-- The tree of a type: how many children a node has, by how high it is above the leaves, and how high nodes are that have a
-- start. Of microseconds, most that are meant are the first of a day, an hour, a minute or a second: for these the path ends
-- at that node, with a leaf of its own below it, its start.
CREATE FUNCTION idempotent.tree_of(type oid, OUT children int[], OUT starts int[])
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    children := CASE
        WHEN type IN ('timestamp'::regtype, 'timestamptz'::regtype) THEN
            -- A microsecond to a second, a minute, an hour, a day; and days by the quarters.
            ARRAY[4, 4, 4, 5, 5, 5, 5, 5, 5, 4, 3, 5, 4, 3, 5, 4, 6] || array_fill(4, ARRAY[14])
        WHEN type = 'int2'::regtype THEN array_fill(4, ARRAY[8])
        WHEN type IN ('int4'::regtype, 'date'::regtype, 'oid'::regtype) THEN array_fill(4, ARRAY[16])
        WHEN type = 'int8'::regtype THEN array_fill(4, ARRAY[32])
        ELSE '{}' END;
    starts := CASE WHEN cardinality(children) = 31 THEN '{9,12,15,17}' ELSE '{}' END;
END
$$;
COMMENT ON FUNCTION idempotent.tree_of(oid) IS 'the tree of a type';

-- What a slice says of a column: its value, or its bounds, as leaves; and the hash of the values beside it.
CREATE TYPE idempotent.tree AS (number smallint, others bigint, first numeric, past numeric);
COMMENT ON TYPE idempotent.tree IS 'what a slice says of a column';

-- SQL for the leaf of a value, a number from 0.
CREATE FUNCTION idempotent.leaf_of(type oid, value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN format(CASE
        WHEN type = 'int2'::regtype THEN '%s::pg_catalog.numeric OPERATOR(pg_catalog.+) 32768'
        WHEN type = 'int4'::regtype THEN '%s::pg_catalog.numeric OPERATOR(pg_catalog.+) 2147483648'
        WHEN type = 'int8'::regtype THEN '%s::pg_catalog.numeric OPERATOR(pg_catalog.+) 9223372036854775808'
        WHEN type = 'oid'::regtype THEN '%s::pg_catalog.int8::pg_catalog.numeric'
        WHEN type = 'date'::regtype THEN 'idempotent.leaf_of_day(%s)'
        WHEN type = 'timestamp'::regtype THEN 'idempotent.leaf_of_moment(EXTRACT(epoch FROM %s))'
        WHEN type = 'timestamptz'::regtype THEN 'idempotent.leaf_of_moment(EXTRACT(epoch FROM %s))'
        ELSE 'CASE WHEN %s IS DISTINCT FROM NULL THEN 0::pg_catalog.numeric END' END, value);
END
$$;
COMMENT ON FUNCTION idempotent.leaf_of(oid, text) IS 'SQL for the leaf of a value';

CREATE FUNCTION idempotent.leaf_of_day(day date) RETURNS numeric
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE day WHEN 'infinity' THEN 4294967295 WHEN '-infinity' THEN 0 ELSE 2147483648 + (day - date '2000-01-01') END $$;
COMMENT ON FUNCTION idempotent.leaf_of_day(date) IS 'the leaf of a date';

-- Microseconds from the day before the first one, which is that of -infinity.
CREATE FUNCTION idempotent.leaf_of_moment(epoch numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE epoch WHEN 'Infinity' THEN 9500000000000000000 WHEN '-Infinity' THEN 0
                      ELSE trunc(epoch * 1000000) + (2451545 + 1 - 10957)::numeric * 86400000000 END
$$;
COMMENT ON FUNCTION idempotent.leaf_of_moment(numeric) IS 'the leaf of a timestamp';

-- How many leaves a node of this height has.
CREATE FUNCTION idempotent.unit_of(children int[], height int) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    unit numeric := 1;
BEGIN
    FOR i IN 1 .. height LOOP
        unit := unit * children[i];
    END LOOP;
    RETURN unit;
END
$$;
COMMENT ON FUNCTION idempotent.unit_of(int[], int) IS 'how many leaves a node has';

CREATE TYPE idempotent.node AS (level int, place numeric, whole boolean);
COMMENT ON TYPE idempotent.node IS 'a node of a tree: its level, its place there, and whether a range has all of it';

-- A node of this height, and those that it lies in. Starts have levels beyond those of the leaves.
CREATE FUNCTION idempotent.with_ancestors(children int[], height int, place numeric, whole boolean) RETURNS idempotent.node[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    nodes idempotent.node[] := ARRAY[ROW(cardinality(children) - height, place, whole)::idempotent.node];
BEGIN
    FOR above IN height + 1 .. cardinality(children) LOOP
        place := div(place, children[above]);
        nodes := nodes || ROW(cardinality(children) - above, place, false)::idempotent.node;
    END LOOP;
    RETURN nodes;
END
$$;
COMMENT ON FUNCTION idempotent.with_ancestors(int[], int, numeric, boolean) IS 'a node and those that it lies in';

CREATE FUNCTION idempotent.start_of(children int[], height int, leaf numeric, whole boolean) RETURNS idempotent.node
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ROW(2 * cardinality(children) + 1 - height, div(leaf, idempotent.unit_of(children, height)), whole)::idempotent.node $$;
COMMENT ON FUNCTION idempotent.start_of(int[], int, numeric, boolean) IS 'the start of a node';

-- The nodes from the root to the leaf of a value.
CREATE FUNCTION idempotent.path_of(children int[], starts int[], leaf numeric) RETURNS idempotent.node[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    height CONSTANT int := coalesce((SELECT max(s) FROM unnest(starts) AS s WHERE mod(leaf, idempotent.unit_of(children, s)) = 0), 0);
    path CONSTANT idempotent.node[] := idempotent.with_ancestors(children, height, div(leaf, idempotent.unit_of(children, height)), false);
BEGIN
    RETURN CASE height WHEN 0 THEN path ELSE path || idempotent.start_of(children, height, leaf, false) END;
END
$$;
COMMENT ON FUNCTION idempotent.path_of(int[], int[], numeric) IS 'the nodes that a value shares';

-- The nodes that make up the leaves from `low` until before `high`, and their ancestors, which are not whole. From the leaves up,
-- what has no parent inside of the range goes. Of a node whose first leaves alone are in the range, the start is part of it.
CREATE FUNCTION idempotent.cover_of(children int[], starts int[], low numeric, high numeric) RETURNS idempotent.node[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    first CONSTANT numeric := low;
    past CONSTANT numeric := high;
    nodes idempotent.node[] := '{}';
    begun int;
    unit numeric;
BEGIN
    FOR height IN 0 .. cardinality(children) - 1 LOOP
        WHILE low < high AND mod(low, children[height + 1]) <> 0 LOOP
            nodes := nodes || idempotent.with_ancestors(children, height, low, true);
            low := low + 1;
        END LOOP;
        WHILE low < high AND mod(high, children[height + 1]) <> 0 LOOP
            high := high - 1;
            nodes := nodes || idempotent.with_ancestors(children, height, high, true);
        END LOOP;
        low := div(low, children[height + 1]);
        high := div(high, children[height + 1]);
        EXIT WHEN low >= high;
    END LOOP;
    IF low < high THEN
        nodes := nodes || ROW(0, 0, true)::idempotent.node;
    END IF;
    FOREACH begun IN ARRAY starts LOOP
        unit := idempotent.unit_of(children, begun);
        IF mod(past, unit) <> 0 AND past - mod(past, unit) >= first THEN
            nodes := nodes || idempotent.start_of(children, begun, past, true);
        END IF;
    END LOOP;
    RETURN nodes;
END
$$;
COMMENT ON FUNCTION idempotent.cover_of(int[], int[], numeric, numeric) IS 'the nodes that a range has, and those that it shares';

-- Locks nodes in their order: whole ones alone, others shared.
CREATE FUNCTION idempotent.lock_nodes(tree text, nodes idempotent.node[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n record;
BEGIN
    FOR n IN SELECT level, place, bool_or(whole) AS whole FROM unnest(nodes) AS u GROUP BY level, place ORDER BY level, place LOOP
        IF n.whole THEN
            PERFORM pg_advisory_xact_lock(idempotent.number_of(format('%s %s %s', tree, n.level, n.place)));
        ELSE
            PERFORM pg_advisory_xact_lock_shared(idempotent.number_of(format('%s %s %s', tree, n.level, n.place)));
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.lock_nodes(text, idempotent.node[]) IS 'locks nodes of a tree';
