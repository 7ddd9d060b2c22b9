"""Three nodes of Citus, for tests and measurements. The server must have it."""

import os
import re

from support.cluster import Cluster


class Nodes:
    """A coordinator and two workers, which listen on loopback addresses of their own."""

    def __init__(self):
        self.nodes = []
        try:
            for number in range(1, 4):
                address = f"127.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250}.{number}"
                node = Cluster(
                    settings={
                        "listen_addresses": address,
                        "shared_preload_libraries": "citus",
                        "citus.shard_count": "8",
                        "citus.enable_statistics_collection": "off",
                        "citus.node_connection_timeout": "10s",
                        "citus.recover_2pc_interval": "-1",
                        "citus.local_hostname": address,
                    }
                )
                node.address = address
                self.nodes.append(node)
                with node.connect("template1") as conn:
                    conn.execute("CREATE EXTENSION citus")
                with node.connect() as conn:
                    conn.execute("CREATE DATABASE app")
            with self.connect() as conn:
                first, *workers = self.nodes
                conn.execute("SELECT citus_set_coordinator_host(%s, 5432)", [first.address])
                for worker in workers:
                    conn.execute("SELECT citus_add_node(%s, 5432)", [worker.address])
        except BaseException:
            self.destroy()
            raise

    def connect(self, **options):
        return self.nodes[0].connect("app", **options)

    def forbidden_log_lines(self):
        return [line for node in self.nodes for line in node.forbidden_log_lines()]

    def destroy(self):
        lines = [line for node in self.nodes for line in node.destroy()]
        # Citus warns so of connections to a node that is gone.
        return [line for line in lines if not re.search("XX000 (WARNING|CONTEXT)", line)]
