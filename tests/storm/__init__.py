"""The storm: clients of all kinds retry at random against one server, which is maltreated meanwhile (scripts/storm).

What may be stored follows from the key alone (tables.py), or from what was acknowledged (ledger.py). So every answer and every
state of the server can be judged, whatever was killed, cancelled or rebuilt at that moment.

tables      what the clients write to, and what must be stored under a key
ledger      what was sent, answered and acknowledged; violations, and the history of a key
gate        where everybody waits while the server is looked at
clients     a client: its session, its retries, and which errors it may be told
rows        payloads that are inserted or verified: by functions, guard, COPY and view, in transactions, prepared ones too
batches     sources that are inserted from, loaded and merged, with tokens and without
leases      attempts with a lease: that a live one is left alone, and one that was taken over changes nothing
requests    requests, in one transaction and with a lease
runs        runs of a job
versions    overwrites and merges, where a later version takes the place of an earlier one
faults      who kills, cancels and stops
masonry     who changes tables, indexes, partitions and guards
checks      the invariants that are looked at in the database
standby     the standby that follows
race        identical payloads from sessions that run abreast, without faults
"""
