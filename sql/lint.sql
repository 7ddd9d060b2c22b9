-- What makes retries on a table unsafe. See docs/lint.md.

CREATE FUNCTION idempotent_lint(target regclass)
RETURNS TABLE (target regclass, rule text, severity text, message text, hint text)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'idempotent_lint_wrapper';
COMMENT ON FUNCTION idempotent_lint(regclass) IS
    'what makes retries on a table unsafe, and what to do about it; no rows for a table that is safe';
