-- A client that retries: it sends one JSON object several times.

\echo
\echo '=== One payload ==='
\echo

CREATE TABLE payments (
    payment_id  text PRIMARY KEY,
    customer    text NOT NULL,
    amount      numeric(12,2) NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);

\set ECHO queries
SELECT outcome, stored FROM idempotent_insert('payments', '{"payment_id": "p-1001", "customer": "Ada", "amount": 10}') \gset
\set ECHO none
\echo '  ' :outcome :stored
SELECT demo.check('first payload', :'outcome'::text, 'inserted'::text) \g /dev/null

\echo
\echo 'The retry writes the amount differently, but the numeric value is equal:'
\echo
\set ECHO queries
SELECT outcome, stored FROM idempotent_insert('payments', '{"payment_id": "p-1001", "customer": "Ada", "amount": 10.00}') \gset
\set ECHO none
\echo '  ' :outcome :stored
SELECT demo.check('second payload', :'outcome'::text, 'duplicate'::text) \g /dev/null

\echo
\echo 'The same key with another amount is not a retry. It raises an error that an application can catch (SQLSTATE 23I01):'
\echo
\set ON_ERROR_STOP off
\set ECHO queries
SELECT outcome FROM idempotent_insert('payments', '{"payment_id": "p-1001", "customer": "Ada", "amount": 12}');
\set ECHO none
\set ON_ERROR_STOP on
SELECT demo.check('SQLSTATE of the altered payload', :'LAST_ERROR_SQLSTATE'::text, '23I01'::text) \g /dev/null
SELECT demo.check('payments', string_agg(format('%s %s %s', payment_id, customer, amount), ','), 'p-1001 Ada 10.00'::text)
  FROM payments \g /dev/null
