"""What an error tells."""

import psycopg
import pytest

# The fields that tell what was refused, and where.
FIELDS = (
    "severity",
    "sqlstate",
    "message_primary",
    "message_detail",
    "message_hint",
    "schema_name",
    "table_name",
    "column_name",
    "datatype_name",
    "constraint_name",
)


def failure(act):
    """The error that `act()` must end in."""
    with pytest.raises(psycopg.Error) as caught:
        act()
    return caught.value


def sqlstate(act):
    """The SQLSTATE of the error that `act()` must end in."""
    return failure(act).sqlstate


def fields(error, names=FIELDS):
    """These fields of an error, by name."""
    return {name: getattr(error.diag, name) for name in names}
