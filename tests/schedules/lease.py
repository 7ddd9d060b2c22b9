"""What requests and runs have in common: an attempt holds the key as long as its lease lasts."""

# A short one has run out whenever anybody looks.
LONG, SHORT = "1 hour", "1 microsecond"


class Step:
    """What is done under one key."""

    may_write = True

    # What the number is called under which the server knows the attempt.
    number: str

    def __init__(self, key):
        self.key = key
        self.keys = [key]

    def name(self, session):
        """Under what the session's attempt is noted."""
        return (self.number, session.number, self.key)

    def mine(self, session):
        """The number of the session's latest attempt under the key, if it has one."""
        transaction, mine = session.transaction, self.name(session)
        if transaction and transaction.has(mine):
            return transaction.own(mine)
        return session.history.now(mine) if mine in session.history.values else None
