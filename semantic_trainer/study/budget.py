"""Which setting makes the most facts stick within a budget: successive halving over paired runs of a study."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from ..evaluation.comparison import Difference, paired_runs
from .arms import PLAIN, Arm, parse_arm
from .averages import over_runs, pair

Results = Sequence[Mapping[str, object]]
Measure = Callable[[Sequence[Arm], int], Mapping[str, Results]]
RUNS, CONFIRMING, MOST_STEPS = 4, 3, 4  # of each candidate of the last round; of the best, fresh; past the ends
CURVE = (0.5, 1, 2)  # times the budget
METRICS = ("knowledge_accuracy", "generality")
# Where the search begins; it goes on past either end while the best one lies there.
LEARNING_RATES = {
    "lora": (2e-3, 4e-3),
    "dora": (2e-3, 4e-3),
    "adalora": (1e-2, 2e-2),
    "ia3": (1e-2, 2e-2),
    "houlsby": (5e-4, 1e-3),
    "full": (1e-4, 2e-4),
}


@dataclass(frozen=True)
class Candidate:
    """One setting of the search.

    Attributes:
        learning_rate: of the optimizer.
        batch_size: facts a step and device.
        rank, alpha: of a low-rank adapter; `None` for other methods.
        epochs: as many as the budget allows at this batch size and rank.
    """

    learning_rate: float
    batch_size: int
    epochs: float
    rank: int | None = None
    alpha: int | None = None

    @property
    def options(self) -> dict[str, object]:
        """As `run` takes them."""
        found = {
            "learning_rate": self.learning_rate,
            "per_device_train_batch_size": self.batch_size,
            "num_train_epochs": self.epochs,
        }
        return found if self.rank is None else found | {"lora_r": self.rank, "lora_alpha": self.alpha}

    def arm(self, base: str = PLAIN) -> Arm:
        """The arm of a study with this setting and that weighting.

        Example:
            >>> Candidate(0.004, 10, 4, 8, 16).arm().name
            'plain-lr0.004-batch10-epochs4-r8'
        """
        rank = "" if self.rank is None else f"-r{self.rank}"
        name = f"{base}-lr{self.learning_rate:g}-batch{self.batch_size}-epochs{self.epochs:g}{rank}"
        return parse_arm(f"{name}: {base} {' '.join(f'{key}={value!r}' for key, value in self.options.items())}")


@dataclass
class Budget:
    """What a search has found.

    Attributes:
        best: the setting at which plain training makes the most facts stick.
        weighted_best: the weighted arm's own, of the settings in the last round that had several; `None` without it.
        trials: one row a setting and arm: `arm`, the candidate's fields, `runs`, `seconds` of training a run, and a
            score a metric (mean over runs with its t interval), the best first; `loss` is training's mean, in nats a
            token.
        expected: arm -> scores on draws that had no part in choosing.
        difference: metric -> weighted minus plain, each at its own best setting, on the same draws.
        curve: the same as `trials`, of the best settings with half and twice the epochs.
    """

    best: Candidate
    weighted_best: Candidate | None = None
    trials: list[dict] = field(default_factory=list)
    expected: dict[str, dict] = field(default_factory=dict)
    difference: dict[str, Difference] = field(default_factory=dict)
    curve: list[dict] = field(default_factory=list)


def candidates(
    learning_rates: Sequence[float],
    batch_sizes: Sequence[int],
    ranks: Sequence[int | None],
    epochs: Mapping[tuple[int, int | None], float],
    alpha_to_rank: float = 2.0,
) -> list[Candidate]:
    """Every combination.

    Args:
        epochs: (batch size, rank) -> as many as the budget allows.
        alpha_to_rank: `lora_alpha / lora_r`, which stays the same for all ranks, as the size of a step does then.
    """
    return [
        Candidate(rate, size, epochs[size, rank], rank, None if rank is None else max(1, round(alpha_to_rank * rank)))
        for rate, size, rank in product(learning_rates, batch_sizes, ranks)
    ]


def reachable(grid: Sequence[Candidate], weighting: str | None, curve: Sequence[float] = CURVE) -> list[Arm]:
    """Every arm that a search may come to: the grid's, past the ends of its learning rates, and at other budgets."""
    rates = {c.learning_rate * 2.0**k for c in grid for k in range(-MOST_STEPS, MOST_STEPS + 1)}
    others = {replace(c, learning_rate=rate, epochs=c.epochs * f) for c in grid for rate in rates for f in {1, *curve}}
    arms = [c.arm(base) for base in (PLAIN, weighting) if base for c in others]
    return list({arm.name: arm for arm in arms}.values())


def schedule(n: int, runs: int = RUNS) -> list[tuple[int, int]]:
    """`(candidates, runs of each so far)` of every round: a third of them stay for twice the runs.

    Example:
        >>> schedule(12)
        [(12, 1), (4, 2), (2, 4)]
    """
    rounds = [(n, 1)]
    while rounds[-1][1] < runs and rounds[-1][0] > 1:
        n, made = rounds[-1]
        rounds.append((-(-n // 3), min(2 * made, runs)))
    return rounds


def finalists(n: int, runs: int = RUNS) -> tuple[int, int]:
    """Candidates that the weighted arm is tried at, and runs of each: the last round of `schedule` that has several.

    Example:
        >>> finalists(8)
        (3, 2)
    """
    rounds = schedule(n, runs)
    return next((found for found in reversed(rounds) if found[0] > 1), rounds[-1])


def planned_epochs(n: int, weighted: bool, curve: Sequence[float] = CURVE, runs: int = RUNS) -> tuple[int, float]:
    """`(runs, budgets spent on them)` of a search over n candidates that does not go past its learning rates' ends.

    A run of the curve at twice the epochs spends two budgets.
    """
    rounds = schedule(n, runs)
    halving = sum(k * (made - before) for (k, made), (_, before) in zip(rounds, [(0, 0), *rounds], strict=False))
    tried, shared = finalists(n, runs)
    others = (tried - 1) * shared + runs + CONFIRMING if weighted else 0
    around = [factor for factor in curve if factor != 1] * (4 if weighted else 2)
    single = halving + runs + CONFIRMING - rounds[-1][1] + others
    return single + len(around), single + sum(around)


def search(
    grid: Sequence[Candidate],
    measure: Measure,
    weighting: str | None = None,
    curve: Sequence[float] = CURVE,
    runs: int = RUNS,
) -> Budget:
    """Successive halving (Jamieson and Talwalkar, 2016), with paired runs as what is spent on a candidate.

    Epochs are no such resource here: the best learning rate depends on how many there are. Every round gives those
    left the same draws and seeds; the best third stays. Where the best learning rate is the largest or smallest
    tried, the next one beyond is tried too. What is expected of the best comes from fresh draws.

    Args:
        grid: candidates to begin with.
        measure: `(arms, n)` -> arm's name -> results of its first n runs.
        weighting: the arm compared with plain, at its own best of the `finalists`.
        curve: by what the epochs of the best are multiplied, to show what another budget would buy.
        runs: of each candidate in the last round.

    Example:
        >>> search([Candidate(1e-3, 10, 4, 8, 16), Candidate(4e-3, 10, 4, 8, 16)], measure).best.learning_rate
        0.004
    """
    tried: dict[str, dict] = {}

    def ranked(among: Sequence[Candidate], n: int, base: str = PLAIN) -> list[Candidate]:
        found = measure([c.arm(base) for c in among], n)
        for c in among:
            name = c.arm(base).name
            tried[name] = trial(c, base, found[name][:n])
        return sorted(among, key=lambda c: order(tried[c.arm(base).name]))

    left = list(grid)
    for k, (number, made) in enumerate(schedule(len(left), runs)):
        left = ranked(left[:number], made)
        if k == 0:
            left = _past_the_ends(left, lambda more: ranked(more, 1), tried)
        if (number, made) == finalists(len(grid), runs):
            last = left[:number], made
    best = left[0]
    total = runs + CONFIRMING
    plain = measure([best.arm()], total)[best.arm().name]
    out = Budget(best)
    out.expected["plain"] = scores(fresh(plain, runs))
    if weighting:
        own = out.weighted_best = ranked(*last, weighting)[0]
        weighted = measure([own.arm(weighting)], total)[own.arm(weighting).name]
        out.expected[weighting] = scores(fresh(weighted, runs))
        both = pair(fresh(plain, runs), fresh(weighted, runs))
        out.difference = {metric: _difference(*both, metric) for metric in METRICS}
    for base, c in [(PLAIN, best), *([(weighting, out.weighted_best)] if weighting else [])]:
        around = [replace(c, epochs=c.epochs * factor) for factor in curve]
        found = measure([other.arm(base) for other in around], 2)
        out.curve += [trial(other, base, found[other.arm(base).name][:2]) for other in around]
    out.trials = sorted(tried.values(), key=order)
    return out


def _past_the_ends(left: list[Candidate], try_out: Callable, tried: Mapping[str, dict]) -> list[Candidate]:
    """The candidates of the first round, and those of further learning rates while the best one lies at an end."""
    for _ in range(MOST_STEPS):
        rates = sorted({c.learning_rate for c in left})
        best = left[0].learning_rate
        if rates[0] < best < rates[-1]:
            break
        beyond = best * 2 if best == rates[-1] else best / 2
        others = {(c.batch_size, c.rank): replace(c, learning_rate=beyond) for c in left}
        new = try_out(list(others.values()))
        left = sorted([*left, *new], key=lambda c: order(tried[c.arm().name]))
    return left


def trial(candidate: Candidate, base: str, results: Results) -> dict[str, object]:
    """One row of what was tried."""
    seconds = [result["environment"]["seconds"]["training"] for result in results]
    losses = [result["training"]["loss"] for result in results if not result.get("diverged")]
    loss = sum(losses) / len(losses) if len(losses) == len(results) and None not in losses else None
    row = {"arm": base, **vars(candidate), "runs": len(results), "loss": loss, "seconds": sum(seconds) / len(seconds)}
    return row | scores(results)


def scores(results: Results) -> dict[str, dict]:
    """Metric -> mean over runs with its interval; a run that diverged has taught nothing."""
    if any(result.get("diverged") for result in results):
        nothing = {"value": 0.0, "ci95": None, "n": len(results), "protocol": "diverged"}
        return {metric: dict(nothing) for metric in METRICS}
    return {metric: over_runs(results, metric) for metric in METRICS}


def order(row: Mapping[str, object]) -> tuple[float, ...]:
    """The better, the smaller: by accuracy in whole points, then by generality, then by the loss of training.

    The loss tells settings apart that teach nothing yet: without it the search would not know which way to go.
    """
    accuracy, generality = ((row[name]["value"] or 0.0) for name in ("knowledge_accuracy", "generality"))
    return -round(100 * accuracy), -generality, math.inf if row["loss"] is None else row["loss"]


def fresh(results: Results, chosen_by: int) -> Results:
    """Results of the draws after those that settings were chosen by."""
    return [result for result in results if result["draw"]["run"] >= chosen_by]


def _difference(plain: Results, weighted: Results, metric: str) -> Difference | None:
    sides = [[result["scores"].get(metric) for result in side] for side in (plain, weighted)]
    if len(sides[0]) < 2 or any(s is None or s["value"] is None for side in sides for s in side):
        return None
    return paired_runs(*sides)
