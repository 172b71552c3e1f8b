"""What `run` measured."""

import json
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[3] / "benches" / "results" / "replicas.json"
SHARING = {"none": "not shared", "polls": "polled every 2 s", "pushes": "pushed"}
ROUND_ROBIN = {"part": "refusals", "limits": "windows", "selection": "round-robin"}
IN_ORDER = {"part": "refusals", "limits": "windows", "selection": "in-order"}
BUCKETS = {"part": "refusals", "limits": "buckets", "selection": "round-robin"}


class Series:
    def __init__(self):
        self.rounds = json.loads(RESULTS.read_text())

    def values(self, figure, **asked):
        """One of each round."""
        return [one[figure] for one in self.rounds if asked.items() <= one.items()]

    def all(self, name, **asked):
        """All different values of what was asked for."""
        return sorted(set(self.values(name, **asked)))
