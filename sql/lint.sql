-- What of a table makes retries unsafe. See docs/lint.md.

CREATE FUNCTION idempotent_lint(target regclass)
RETURNS TABLE (target regclass, rule text, severity text, message text, hint text)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'idempotent_lint_wrapper';
COMMENT ON FUNCTION idempotent_lint(regclass) IS
    'what of a table makes retries unsafe, and what to do about it; nothing of a good one';
