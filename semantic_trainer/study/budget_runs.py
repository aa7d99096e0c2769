"""The runs of a budget search: what they cost, timed before it starts, and their results, made where missing."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..facts.messages import counted
from ..files import write_atomically
from ..training.teaching import DivergedError
from .arms import Arm
from .budget import CONFIRMING, RUNS, Candidate, planned_epochs, reachable
from .results import Unit, differences, read_result, read_study
from .runner import Study, run_study
from .settings import Setting
from .worker import Worker, quietly

logger = logging.getLogger(__name__)
PROBE_FILE = "probe.json"
PROBED = 20  # facts of a timed run
Cost = Mapping[str, float]  # seconds a fact and epoch of `training`, and a fact of `decoding`
Shape = tuple[int, int | None]  # batch size, rank


@dataclass(frozen=True)
class BudgetRuns:
    """A search's study: one setting, an arm for each candidate.

    Args:
        setting: without arms.
        folder: results, one JSON a run; what is there already is not made again.
        data_dir, threads: as of `Study`.
        workers, executor: as of `run_study`.
    """

    setting: Setting
    folder: Path
    data_dir: str | None = None
    threads: int = 1
    workers: int = 1
    executor: str = "processes"

    def study(self, arms: Sequence[Arm] = (), runs: int = 1) -> Study:
        """The study of these arms; a training that diverges is a result."""
        setting = replace(self.setting, arms=tuple(arms), runs=runs)
        return Study((setting,), self.folder, self.data_dir, self.threads, keep_diverged=True)

    def measure(self, arms: Sequence[Arm], runs: int) -> dict[str, list[dict]]:
        """Arm's name -> results of at least its first runs, those made that are not there yet: for `search`."""
        with quietly():  # the search says what there is to say of its facts before it starts
            run_study(self.study(arms, runs), self.workers, executor=self.executor)
        found = read_study(self.folder, self.setting.name)
        return {arm.name: found[arm.name] for arm in arms}

    def made(self, arms: Sequence[Arm]) -> int:
        """How many runs of these arms are there already, made with this search's options."""
        held = [arm for arm in arms if (self.folder / self.setting.name / arm.name).is_dir()]
        units = self.study(held, RUNS + CONFIRMING).units()
        there = [(unit, path) for unit in units if (path := unit.path(self.folder)).exists()]
        return sum(not differences(read_result(path)["config"], unit.config) for unit, path in there)

    def costs(self, rate: float, shapes: Sequence[Shape], alpha: int) -> dict[Shape, Cost]:
        """What a run costs at each shape, from a short one of each; kept for a later try, which then plans alike.

        Args:
            rate: a learning rate; it costs what others do. Where it diverges, 0 is timed instead.
            alpha: any `lora_alpha`, likewise.
        """
        path, names = self.folder / PROBE_FILE, {self._probe_name(shape): shape for shape in shapes}
        held = _read_costs(path)
        if not set(names) <= set(held):
            logger.info("Timing %s, to say how long the search will take", counted(len(names) + 1, "short training"))
            worker = Worker(*self.study().options)
            self._cost(worker, rate, shapes[0], alpha)  # warms up
            held |= {name: self._cost(worker, rate, shape, alpha) for name, shape in names.items()}
            write_atomically(path, json.dumps(held, indent=1).encode())
        return {shape: held[name] for name, shape in names.items()}

    def _cost(self, worker: Worker, rate: float, shape: Shape, alpha: int) -> Cost:
        epochs, (size, rank) = self.setting.training.num_train_epochs, shape
        arm = Candidate(rate, size, epochs, rank, alpha if rank else None).arm()
        setting = self.study([arm]).settings[0]
        facts = setting.per_run if setting.model_of(arm).method == "adalora" else PROBED  # it needs steps to prune in
        try:
            spent = worker.seconds_per_fact(Unit(setting, setting.draws[0], arm, {}), facts)
        except DivergedError:
            if not rate:
                raise
            return self._cost(worker, 0.0, shape, alpha)
        return {"training": spent["training"] / epochs, "decoding": spent["decoding"]}

    def _probe_name(self, shape: Shape) -> str:
        """What a timing depends on, so that another model's or method's is not taken for it."""
        model = self.setting.model
        how = (model.model, model.dtype, model.method, f"{self.threads} threads", "batch {} rank {}".format(*shape))
        return ", ".join(map(str, how))

    def expected(
        self, grid: Sequence[Candidate], costs: Mapping[Shape, Cost], weighting: str | None, curve: Sequence[float]
    ) -> tuple[int, int, float]:
        """Runs of a search that stays within its learning rates, those there already, and seconds for the others."""
        runs, budgets = planned_epochs(len(grid), weighting is not None, curve)
        training = sum(costs[c.batch_size, c.rank]["training"] * c.epochs for c in grid)
        decoding = sum(costs[c.batch_size, c.rank]["decoding"] for c in grid)
        seconds = self.setting.per_run * (budgets * training + runs * decoding) / len(grid) / self.workers
        with quietly():
            made = min(self.made(reachable(grid, weighting, curve)), runs)
        return runs, made, seconds * (1 - made / runs)


def _read_costs(path: Path) -> dict[str, Cost]:
    """What an earlier try has timed; nothing where that cannot be read, since it can be timed again."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return {name: {key: float(cost[key]) for key in ("training", "decoding")} for name, cost in held.items()}
    except (OSError, AttributeError, KeyError, TypeError, ValueError):
        return {}
