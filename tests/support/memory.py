"""What a backend has in memory, in bytes."""

from support.queries import value

MEGABYTE = 1024 * 1024


def contexts(conn):
    """What the server accounts for in all memory contexts of this session."""
    return value(conn, "SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts")


def resident(pid):
    """What the kernel says is private to this process."""
    return _status(pid, "RssAnon:")


def peak(pid):
    """The most that this process has ever had; shared buffers that it touched count."""
    return _status(pid, "VmHWM:")


def memory(conn):
    """Both measures of this session: (contexts, resident)."""
    return contexts(conn), resident(conn.info.backend_pid)


def grows(conn, act, rounds=10, warm=3):
    """How much both measures grow over `rounds` of `act(round)` once the caches are warm."""
    for n in range(warm):
        act(n)
    before = memory(conn)
    for n in range(warm, warm + rounds):
        act(n)
    after = memory(conn)
    return after[0] - before[0], after[1] - before[1]


def _status(pid, name):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))
