-- Rights on state. There is no SECURITY DEFINER: the functions write with the rights of their callers, and row-level
-- security says which rows these are. ALTER DEFAULT PRIVILEGES may have granted more, or revoked EXECUTE.
REVOKE ALL ON ALL TABLES IN SCHEMA idempotent FROM PUBLIC;
GRANT USAGE ON SCHEMA idempotent TO PUBLIC;
GRANT SELECT ON idempotent.conflicts, idempotent.rejections, idempotent.batches, idempotent.guards, idempotent.requests, idempotent.pipeline_runs, idempotent.loads TO PUBLIC;
GRANT INSERT, SELECT ON idempotent.conflict_records, idempotent.rejection_records, idempotent.batch_records TO PUBLIC;
GRANT UPDATE (resolution, resolved_at) ON idempotent.conflict_records TO PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotent.request_records TO PUBLIC;
GRANT SELECT, INSERT, UPDATE ON idempotent.pipeline_run_records, idempotent.load_records TO PUBLIC;
GRANT USAGE, SELECT, UPDATE ON SEQUENCE idempotent.request_attempts TO PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotent.guard_plans TO PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA idempotent TO PUBLIC;
