"""What docs/clients.md recommends for asyncpg. A module of its own, for it changes what asyncpg raises everywhere."""

import asyncpg


class IdempotencyConflict(asyncpg.IntegrityConstraintViolationError):
    sqlstate = "23I01"
