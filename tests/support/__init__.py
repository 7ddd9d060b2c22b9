"""What the tests of clusters, clients and documentation share, one subject a module.

project     where the project's files are, and the sizes of the longer tests
server      the server under test: its programs, its version, the user that it runs as
cluster     a temporary cluster, and databases in it
citus_nodes three nodes of Citus
mortal      the cluster that tests kill and restart, one after the other
logs        what the server's log may not have in it, and what it has since a moment
queries     a query that returns one value, and what is often asked
functions   calls of the extension's functions from Python
sessions    sessions beside the test's own: one in the background, or many at once
races       sessions that start together, and commits that are retried
waiting     waiting for a condition instead of a time
killing     statements that are cut short by the death of their backend
errors      what an error tells
memory      what a backend has in memory
dumps       dumps and restored databases
replication waiting until a subscription has caught up
pgbench     races driven by pgbench
wait_points where the test build holds sessions
rows        a source of very many rows
generated_values, generated_contrib, generated_tables, generated_calls
            random values and tables, and the model of what calls on them come to
catalog     what the catalogs say of the extension
"""
