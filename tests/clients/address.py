"""Where a client finds the database."""

import dataclasses
import os


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a client finds the database."""

    port: int
    dbname: str
    user: str
    password: str
    host: str = "127.0.0.1"

    def url(self, scheme):
        return f"{scheme}://{self.user}:{self.password}@{self.host}:{self.port}/{self.dbname}"

    @property
    def keywords(self):
        return dataclasses.asdict(self)

    def environment(self, **more):
        """For a program: only what it needs, and nothing that changes its behaviour from outside."""
        kept = ("PATH", "HOME", "NODE_PATH", "JAVA_HOME", "LD_LIBRARY_PATH")
        found = {name: os.environ[name] for name in kept if name in os.environ}
        return found | {
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGDATABASE": self.dbname,
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            **more,
        }
