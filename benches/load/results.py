"""What was kept of a run, and how its many rounds become one figure."""

import json
import math
import statistics
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "results"


def quantile(values, part):
    """The value that this part of all does not exceed."""
    values = sorted(values)
    return values[min(int(len(values) * part), len(values) - 1)]


def spread(values):
    """The median, the least and the most."""
    return statistics.median(values), min(values), max(values)


def interval(values):
    """The median with its 95 % confidence interval, however the values are distributed: so many of
    them must lie on the wrong side of the true median, for it to be outside, that it is not likely."""
    values = sorted(values)
    chances = [math.comb(len(values), n) / 2 ** len(values) for n in range(len(values))]
    cut = next(n for n in range(len(values)) if sum(chances[: n + 2]) > 0.025)
    return statistics.median(values), values[cut], values[-1 - cut]


class Load:
    """The series of a run. Of what was asked of a proxy, as much is named as tells it from others."""

    def __init__(self, file=RESULTS / "load.json"):
        kept = json.loads(Path(file).read_text())
        self.seconds, self.series = kept["length"]["seconds"], kept["series"]

    def pick(self, **asked):
        return [one for one in self.series if asked.items() <= one.items()]

    def rounds(self, part):
        return len(self.values("p50_us", part=part, variant="layer"))

    def values(self, measure, **asked):
        """One of each round."""
        return self.pick(**asked)[0][measure]

    def spread(self, measure, **asked):
        return spread(self.values(measure, **asked))

    def ratio(self, measure, one, other):
        """The ratio of the two, each round's taken by itself."""
        pairs = zip(self.values(measure, **one), self.values(measure, **other), strict=True)
        return interval([one / other for one, other in pairs])
