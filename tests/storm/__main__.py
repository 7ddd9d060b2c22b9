"""The storm as a command: see scripts/storm for its options. Exits with status 1 if it has found a violation."""

import argparse
import signal
import sys

from storm import race
from storm.storm import Storm, clients_of


def main():
    options = argparse.ArgumentParser(prog="storm")
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=None)
    options.add_argument("--kinds", default="")
    options.add_argument("--faults", default="killer mason janitor")
    options.add_argument("--standby", type=int, default=1)
    options.add_argument("--pause", type=float, default=15, help="seconds between two looks at the server at rest")
    options.add_argument("--violations", type=int, default=1, help="the storm ends after so many")
    options.add_argument("--retries", type=int, default=1_000_000)
    options.add_argument("--leave-out", default="")
    options = options.parse_args()
    # The servers go with who is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    if options.kinds == "race":
        sys.exit(race.run(options))
    clients_of(options.kinds)
    sys.exit(Storm(options).run())


if __name__ == "__main__":
    main()
