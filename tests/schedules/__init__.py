"""Schedules: sessions of the test build are stepped from wait point to wait point, and what they were told is judged.

server      a cluster whose functions are those of the test build
sessions    sessions that are held at wait points, and the driver that lets them go one at a time
history     what is committed under each key, and what each transaction has done to it
rows        programs of the guard and of the set path, and what they may be told
requests    the same of requests
runs        the same of runs
programs    what a session does: transactions, savepoints, cancels; random programs, and those that are explored whole
schedule    one schedule: a program a session, and in which order they take their steps
explore     all schedules of a program up to a bound, or random ones by seed
"""
