"""Calls of the extension's functions from Python. Options are named as in SQL."""

import json

OPTIONS = {
    "key": "text[]", "compare": "text[]", "ignore": "text[]", "on_conflict": "text", "on_error": "text", "overriding": "text",
    "token": "text", "digest": "text",
}  # fmt: skip


def call(function, source_type, target, source, options):
    """The SQL of a call and its parameters."""
    named = "".join(f", {name} => %({name})s::{OPTIONS[name]}" for name in options)
    if source_type == "jsonb" and not isinstance(source, str):
        source = json.dumps(source)
    sql = f"SELECT * FROM idempotent_{function}(%(_target)s::regclass, %(_source)s::{source_type}{named})"
    return sql, {"_target": target, "_source": source, **options}


def insert(conn, target, payload, **options):
    return conn.execute(*call("insert", "jsonb", target, payload, options)).fetchone()


def insert_many(conn, target, payloads, **options):
    return conn.execute(*call("insert_many", "jsonb", target, payloads, options)).fetchone()


def insert_each(conn, target, payloads, **options):
    return conn.execute(*call("insert_each", "jsonb", target, payloads, options)).fetchall()


def insert_from(conn, target, source, **options):
    return conn.execute(*call("insert_from", "regclass", target, source, options)).fetchone()
