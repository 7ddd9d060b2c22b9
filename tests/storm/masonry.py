"""Who changes tables, indexes, partitions and guards, and vacuums."""

import re

from storm.faults import Tormentor
from storm.rows import wait_for_prepared
from storm.tables import STORED_IN

# Tables whose unique index is replaced by another one: it belongs to no constraint.
REPLACED = ("plain", "guarded")
COLUMNS = ("plain", "guarded", "viewed", "parted")
REINDEXED = (
    *(table for tables in STORED_IN.values() for table in tables),
    "merged", "idempotent.request_records", "idempotent.pipeline_run_records", "idempotent.batch_records",
)
VACUUMED = (*REINDEXED, "slices", "effects", "work", "published", "idempotent.load_records")
# So many columns may a table have had.
MOST_COLUMNS = 1200


class Mason(Tormentor):
    name = "mason"
    faults = (
        (5, "add_a_column"),
        (5, "drop_a_column"),
        (8, "reindex_concurrently"),
        (8, "replace_the_unique_index"),
        (5, "detach_a_partition"),
        (8, "attach_partitions"),
        (4, "guard_again"),
        (6, "vacuum"),
        (1, "vacuum_full"),
        (1, "checkpoint"),
    )

    def may_fail(self, name, error):
        """What it may be told beside what everybody may: a detach that was cut short is in the way of the next."""
        return name in ("detach_a_partition", "attach_partitions") and error.sqlstate in ("55000", "42809")

    def rows(self, sql, *parameters):
        return self.session().execute(sql, parameters or None).fetchall()

    def table_for_columns(self):
        """Not the one of a detach that was cut short: its partition would keep the column, and rows could not be routed there."""
        return self.dice.choice([table for table in COLUMNS if table != "parted" or not any(self.attached().values())])

    def add_a_column(self):
        table = self.table_for_columns()
        last = self.rows("SELECT max(attnum) AS last FROM pg_attribute WHERE attrelid = %s::regclass", table)[0]["last"]
        if last > MOST_COLUMNS:
            return False
        # A partition that comes back has the column without its default.
        default = self.dice.choice(("", " DEFAULT 7", " DEFAULT now()")) if table != "parted" else ""
        kind = "timestamptz" if "now" in default else "int"
        self.do(f"ALTER TABLE {table} ADD COLUMN extra_{last} {kind}{default}")

    def drop_a_column(self):
        table = self.table_for_columns()
        sql = r"SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attname LIKE 'extra\_%%' AND NOT attisdropped"
        extra = sorted(row["attname"] for row in self.rows(sql, table))
        if not extra:
            return False
        self.do(f"ALTER TABLE {table} DROP COLUMN {self.dice.choice(extra)}")

    def reindex_concurrently(self):
        table = self.dice.choice(REINDEXED)
        self.drop_leftovers()
        self.do(f"REINDEX TABLE CONCURRENTLY {table}")

    def replace_the_unique_index(self):
        """Another unique index on the key, and then the old one goes."""
        table = self.dice.choice(REPLACED)
        self.drop_leftovers()
        sql = "SELECT indexrelid::regclass::text AS name FROM pg_index WHERE indrelid = %s::regclass AND indisunique ORDER BY 1"
        old = [row["name"] for row in self.rows(sql, table)]
        new = f"{table}_key_{self.dice.randrange(1_000_000)}"
        self.do(f"CREATE UNIQUE INDEX CONCURRENTLY {new} ON {table} (k)")
        for name in old:
            self.do(f"DROP INDEX CONCURRENTLY {name}")

    def drop_leftovers(self):
        """What a build that was cut short has left behind."""
        sql = "SELECT indexrelid::regclass::text AS name FROM pg_index WHERE NOT indisvalid AND indexrelid >= 16384 AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = indexrelid)"
        for row in self.rows(sql):
            self.do(f"DROP INDEX CONCURRENTLY IF EXISTS {row['name']}")

    def attached(self):
        """The partitions, and whether a detach of one was cut short."""
        sql = "SELECT inhrelid::regclass::text AS name, inhdetachpending AS pending FROM pg_inherits WHERE inhparent = 'parted'::regclass"
        return {row["name"]: row["pending"] for row in self.rows(sql)}

    def detach_a_partition(self):
        attached = self.attached()
        for name in [name for name, pending in attached.items() if pending]:
            self.do(f"ALTER TABLE parted DETACH PARTITION {name} FINALIZE")
            return
        if len(attached) < 3:
            return False
        concurrently = self.dice.choice(("", " CONCURRENTLY"))
        self.do(f"ALTER TABLE parted DETACH PARTITION {self.dice.choice(sorted(attached))}{concurrently}")

    def attach_partitions(self):
        """All of them again. The columns that the table has got or lost meanwhile are those of the partition then, too."""
        attached = self.attached()
        for name in [name for name, pending in attached.items() if pending]:
            self.do(f"ALTER TABLE parted DETACH PARTITION {name} FINALIZE")
            del attached[name]
        missing = [name for name in STORED_IN["parted"] if name not in attached]
        for name in missing:
            self.attach(name)
        return bool(missing) or False

    def attach(self, name):
        columns = (
            r"SELECT attname, format_type(atttypid, NULL) AS type FROM pg_attribute"
            r" WHERE attrelid = %s::regclass AND attname LIKE 'extra\_%%' AND NOT attisdropped"
        )
        with self.session().transaction():
            self.do("LOCK TABLE parted IN SHARE UPDATE EXCLUSIVE MODE")
            wanted = {row["attname"]: row["type"] for row in self.rows(columns, "parted")}
            own = {row["attname"] for row in self.rows(columns, name)}
            changes = [f"DROP COLUMN {column}" for column in sorted(own - set(wanted))]
            changes += [f"ADD COLUMN {column} {wanted[column]}" for column in sorted(set(wanted) - own)]
            if changes:
                self.do(f"ALTER TABLE {name} {', '.join(changes)}")
            remainder = re.search(r"\d+", name).group()
            self.do(f"ALTER TABLE parted ATTACH PARTITION {name} FOR VALUES WITH (MODULUS 4, REMAINDER {remainder})")

    def guard_again(self):
        """The guard is replaced, or removed and made again in one transaction: at no moment is there none."""
        table = self.dice.choice(("guarded", "parted"))
        guard = f"SELECT idempotent_guard('{table}', ignore => '{{touched}}')"
        if self.dice.random() < 0.5:
            self.do(guard)
            return
        with self.session().transaction():
            self.do(f"SELECT idempotent_unguard('{table}')")
            self.do(guard)

    def vacuum(self):
        table = self.dice.choice(VACUUMED)
        options = self.dice.choice(("", "(ANALYZE)", "(FREEZE)", "(INDEX_CLEANUP ON)"))
        self.do(f"VACUUM {options} {table}")

    def vacuum_full(self):
        self.do(f"VACUUM FULL {self.dice.choice(('plain', 'guarded', 'merged', 'slices'))}")

    def checkpoint(self):
        self.do("CHECKPOINT")


class Janitor(Tormentor):
    """Ends the prepared transactions that their clients have left."""

    name = "janitor"
    faults = ((1, "end_prepared"),)

    def end_prepared(self):
        return bool(wait_for_prepared(self.session(), self.dice))
