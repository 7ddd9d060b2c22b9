-- The daily job: psql -v day=2013-01-08 [-v force=true] [-v lease='1 hour'] [-v ECHO=queries] <job.sql
\set shown :ECHO
\set ECHO none
SELECT :{?force} AS force_given, :{?lease} AS lease_given \gset
\if :force_given
\else
  \set force false
\endif
\if :lease_given
\else
  \set lease '1 hour'
\endif
SELECT set_config('job.day', :'day', false) \g /dev/null
\set ECHO :shown
SELECT * FROM idempotent_run_begin('flights', :'day', force => :force, lease => :'lease',
    input_version => (SELECT idempotent_digest(inbox_of_day) FROM inbox_of_day)) \gset
\set ECHO none
\echo '  ' :day - :decision (:reason)
SELECT :'decision' = 'skip' AS skip \gset
\if :skip
  \quit
\endif
\set ECHO :shown
CALL idempotent_load('arrivals', 'inbox_of_day', batch_size => 100);
BEGIN;
SELECT * FROM idempotent_merge('flights', 'inbox_of_day', latest_by => '{version}') \gset
SELECT * FROM idempotent_overwrite('delays', 'delays_of_day', jsonb_build_object('day', :'day')) \gset slice_
SELECT count(*) AS rows, idempotent_digest(flights) AS digest FROM flights WHERE day = :'day' \gset
SELECT idempotent_run_publish(:run_id, :rows, :'digest') \g /dev/null
COMMIT;
\set ECHO none
SELECT CASE WHEN :'slice_unchanged' THEN 'unchanged' ELSE 'replaced' END AS slice \gset
\echo '     flights:' :inserted inserted, :updated updated, :unchanged unchanged, :stale stale; delays: :slice; published as run :run_id
