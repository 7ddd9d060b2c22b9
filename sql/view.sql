-- A view whose INSERT inserts or verifies, and returns the stored row. See docs/view.md.

CREATE FUNCTION idempotent_view_trigger() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_view_trigger_wrapper';
COMMENT ON FUNCTION idempotent_view_trigger() IS
    'trigger function of the views that idempotent_view creates';

CREATE FUNCTION idempotent_view(
    target      regclass,
    name        text,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error'
) RETURNS regclass
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_view_wrapper';
COMMENT ON FUNCTION idempotent_view(regclass, text, text[], text[], text[], text) IS
    'creates a view of a table whose INSERT inserts or verifies and returns the stored row, or replaces its options';
