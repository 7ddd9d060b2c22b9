"""Prints the results as a table and writes them to a JSON file."""

import json
import os
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

OURS = "pg_idempotent"

SETTINGS = (
    "server_version fsync synchronous_commit full_page_writes wal_level shared_buffers work_mem max_wal_size"
    " checkpoint_timeout autovacuum jit server_encoding lc_collate"
).split()


def spread(values):
    """Returns the median, the least and the greatest of some figures."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def ratio(ours, rival):
    """Returns the ratio of the medians, and the ratio of each pair with the least and the greatest of them."""
    pairs = [a / b for a, b in zip(ours, rival)]
    return {"of_medians": median(ours) / median(rival), "pairs": pairs, "min": min(pairs), "max": max(pairs)}


def command(*words, default=""):
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return default


def machine(data_directory):
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), "") if Path("/proc/cpuinfo").exists() else ""
    return {
        "processor": cpu,
        "processors": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "file_system": " ".join(command("df", "--output=fstype", data_directory).split()[-1:]),
    }


class Report:
    """Collects the results, and prints each comparison when it is complete."""

    def __init__(self, session, rounds, directory):
        self.session = session
        self.directory = directory
        self.started = time.monotonic()
        self.told = False
        here = str(Path(__file__).resolve().parent)
        self.result = {
            "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "commit": command("git", "-C", here, "describe", "--always", "--dirty"),
            "rounds": rounds,
            "settings": {name: session.value(f"SHOW {name}") for name in self.known_settings()},
            "machine": machine(session.value("SHOW unix_socket_directories")),
            "load_before": os.getloadavg(),
            "contests": {},
        }

    def known_settings(self):
        return [name for name in SETTINGS
                if self.session.value("SELECT current_setting(%s, true) IS NOT NULL", name)]

    def progress(self, words):
        if sys.stdout.isatty():
            print(f"\r\033[K· {words} …", end="", flush=True)
            self.told = True

    def say(self, words=""):
        if self.told:
            print("\r\033[K", end="")
            self.told = False
        print(words, flush=True)

    def begin(self):
        result = self.result
        self.say(" ".join(["pg_idempotent", result["commit"], result["when"]]))
        self.say(", ".join(f"{name} {value}" for name, value in result["settings"].items()))
        self.say(", ".join(f"{name} {value}" for name, value in result["machine"].items()))
        self.say(f"load average before: {result['load_before'][0]:.1f}")
        self.say(
            f"Medians of {result['rounds']} rounds [least..greatest]: thousands of rows per second, and processor time per row in the"
            "\nserver's process. A ratio is the rate of pg_idempotent divided by that of the rival: of the medians [least..greatest of"
            "\nthe rounds]. synchronous_commit is off unless a comparison says that it is on. A checkpoint precedes each round."
        )

    def add(self, contest, figures):
        entry = {
            "what": contest.what,
            "rows": contest.rows,
            "stored": contest.stored,
            "synchronous_commit": "on" if contest.flush else "off",
            "target": contest.target,
            "sides": {name: {kind: {**spread(values), "runs": values} for kind, values in side.items() if values}
                      for name, side in figures.items()},
            "ratios": {name: ratio(figures[OURS]["rate"], figures[name]["rate"]) for name in contest.rivals},
            # Inverted, because less is better.
            "cpu_ratios": {name: ratio(figures[name]["cpu"], figures[OURS]["cpu"])
                           for name in contest.rivals if all(figures[OURS]["cpu"])},
        }
        self.result["contests"][contest.name] = entry
        flushed = ", synchronous_commit on" if contest.flush else ""
        self.say()
        self.say(f"{contest.name}: {contest.what}{flushed}")
        for place, name in enumerate(figures):
            self.say(self.line(contest, entry, name, place))

    def line(self, contest, entry, name, place):
        side = entry["sides"][name]
        rate = side["rate"]
        words = f"  {name:<20}{rate['median'] / 1000:8.2f} [{rate['min'] / 1000:.2f}..{rate['max'] / 1000:.2f}]"
        words = f"{words:<50}{side['cpu']['median'] * 1e6:7.2f} µs"
        if name != OURS:
            r = entry["ratios"][name]
            words += f"  ratio {r['of_medians']:.2f} [{r['min']:.2f}..{r['max']:.2f}]"
            if name in entry["cpu_ratios"]:
                words += f", by processor time {entry['cpu_ratios'][name]['of_medians']:.2f}"
            if contest.target and place == 1:
                reached = "reached" if r["of_medians"] >= contest.target else "MISSED"
                words += f"; target {contest.target}: {reached}"
        if contest.show_wal:
            words = f"{words:<108} WAL per row {side['wal']['median']:.0f}, sent again {side['wal_again']['median']:.0f}"
        return words

    def end(self):
        self.result["load_after"] = os.getloadavg()
        self.result["seconds"] = round(time.monotonic() - self.started)
        self.directory.mkdir(exist_ok=True)
        major = self.result["settings"]["server_version"].split(".")[0]
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        path = self.directory / f"{stamp}-pg{major}.json"
        path.write_text(json.dumps(self.result, indent=1) + "\n")
        missed = [name for name, entry in self.result["contests"].items()
                  if entry["target"] and next(iter(entry["ratios"].values()))["of_medians"] < entry["target"]]
        self.say()
        seconds, load = self.result["seconds"], self.result["load_after"][0]
        self.say(f"{seconds} s, load average after: {load:.1f}. All figures: {path}")
        self.say("Targets missed: " + (", ".join(missed) if missed else "none"))
