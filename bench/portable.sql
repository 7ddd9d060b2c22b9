-- The tables of bench/portable, and what people write by hand: insert, and compare where the key is stored.
CREATE SEQUENCE fresh START 1000000;
CREATE TABLE by_hand (order_id bigint PRIMARY KEY, customer text, amount numeric(10,2), placed timestamptz);
CREATE TABLE orders (LIKE by_hand INCLUDING ALL);
CREATE TABLE guarded (LIKE by_hand INCLUDING ALL);
SELECT idempotent_guard('guarded');

CREATE FUNCTION by_hand(payload jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    sent by_hand := jsonb_populate_record(NULL::by_hand, payload);
    stored by_hand;
BEGIN
    INSERT INTO by_hand SELECT sent.* ON CONFLICT (order_id) DO NOTHING;
    IF FOUND THEN
        RETURN 'inserted';
    END IF;
    SELECT * INTO stored FROM by_hand AS b WHERE b.order_id = sent.order_id;
    IF stored IS DISTINCT FROM sent THEN
        RAISE EXCEPTION 'order % is stored with other values', sent.order_id;
    END IF;
    RETURN 'duplicate';
END
$$;

CREATE FUNCTION by_hand_many(payloads jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    inserted bigint := 0;
    payload jsonb;
BEGIN
    FOR payload IN SELECT * FROM jsonb_array_elements(payloads) LOOP
        IF by_hand(payload) = 'inserted' THEN
            inserted := inserted + 1;
        END IF;
    END LOOP;
    RETURN inserted;
END
$$;

-- What is sent again is there already.
INSERT INTO by_hand SELECT n, 'c', 10, '2024-05-01T12:00Z' FROM generate_series(1, 1000) AS n;
INSERT INTO orders SELECT * FROM by_hand;
INSERT INTO guarded SELECT * FROM by_hand;
ANALYZE;
