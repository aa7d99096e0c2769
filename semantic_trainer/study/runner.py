"""Makes the runs of a study that are not there yet: in this process, in several, on several machines, or with Ray."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from ..files import check_writable, sweep
from .executors import EXECUTORS, check_executor
from .protocol import check_pool, draw_rows, overlap
from .results import Unit, is_finished
from .settings import Setting, pool_hash
from .worker import Worker, libraries_set_apart

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Study:
    """What is to be run, and where its results are.

    Args:
        settings: regimes, each with a name of its own.
        folder: results: one JSON a run and arm.
        data_dir: where bare names of fact files are looked for.
        threads: CPU threads a worker; part of every result's config, since the last bits depend on it.
        keep_diverged: whether a training that diverges is a result, without scores, and not an error.
    """

    settings: tuple[Setting, ...]
    folder: Path
    data_dir: str | None = None
    threads: int = 1
    keep_diverged: bool = False

    @property
    def options(self) -> tuple[Path, str | None, int, bool]:
        """Of its workers."""
        return self.folder, self.data_dir, self.threads, self.keep_diverged

    def units(self) -> list[Unit]:
        """Every run of every arm: run after run, the arms of one beside each other."""
        found = []
        for setting in self.settings:
            pool = setting.read_pool(self.data_dir)
            check_pool(len(pool), setting.per_run)
            facts = pool_hash(pool)
            for draw in setting.draws:
                for arm in setting.arms:
                    found.append(Unit(setting, draw, arm, setting.config(draw, arm, facts, self.threads)))
        return found


def parse_shard(text: str | None) -> tuple[int, int]:
    """`"0/4"` -> `(0, 4)`: the first of four shards; `(0, 1)` without one.

    Raises:
        ValueError: it is not of the form I/N with 0 <= I < N.
    """
    try:
        i, n = map(int, (text or "0/1").split("/"))
    except ValueError:
        i, n = 0, 0
    if not 0 <= i < n:
        raise ValueError(f"`shard` must look like 0/4, counted from 0, but {text!r} was passed")
    return i, n


def shard_of(units: Sequence[Unit], shard: tuple[int, int]) -> list[Unit]:
    """Every n-th run with all of its arms, so that shards take about as long and share no work."""
    i, n = shard
    runs = {key: k for k, key in enumerate(dict.fromkeys((u.setting.name, u.draw) for u in units))}
    return [unit for unit in units if runs[unit.setting.name, unit.draw] % n == i]


def run_study(
    study: Study, workers: int = 1, shard: tuple[int, int] = (0, 1), executor: str = "processes"
) -> dict[str, float]:
    """Make every run that has no result yet; what a result is depends neither on workers, shards nor executor.

    First the base answers the whole pool of every setting. Several processes may work on one folder at a time, on one
    machine or many: nobody waits, and at worst a run is made twice.

    Args:
        workers: processes, each with a base of its own in memory; 1 works in this one.
        shard: `(i, n)`, the part of the runs to make; see `shard_of`.
        executor: `processes`, or `ray` (the extra `ray`), which also reaches other machines of a cluster; they must
            see `study.folder` and the data under the same paths.

    Returns:
        Seconds in `training`, `decoding` and in all, over all workers, and the number of `runs` made.

    Raises:
        ValueError: an option out of its range, a result made with other options, a group with too few facts, or a
            worker that was killed. A script needs `if __name__ == "__main__":` before it asks for several.
    """
    if workers < 1:
        raise ValueError(f"`workers` must be at least 1, but {workers} was passed")
    check_executor(executor)
    check_writable(study.folder, "`output_dir`", "Choose another folder.")
    if study.folder.exists():
        sweep(study.folder, recursive=True)
    start = time.perf_counter()
    units = shard_of(study.units(), shard)
    pending = [unit for unit in units if not is_finished(unit, study.folder)]
    logger.info("%d runs, %d of them finished", len(units), len(units) - len(pending))
    if not pending:
        return {"runs": 0, "total": 0.0}
    alone = workers == 1 and executor == "processes"
    bar = tqdm(total=len(units), initial=len(units) - len(pending), desc="runs", unit="run", smoothing=0.1)
    with bar, libraries_set_apart():
        worker = Worker(*study.options)
        for setting in dict.fromkeys(unit.setting.name for unit in pending):
            _announce(worker, next(s for s in study.settings if s.name == setting))
        spent = _alone(worker, pending, bar) if alone else _together(study, worker, pending, workers, executor, bar)
    elapsed = (time.perf_counter() - start) * (1 if alone else workers)
    return {"runs": len(pending), "total": elapsed, **{name: spent[name] for name in ("training", "decoding")}}


def _announce(worker: Worker, setting: Setting) -> None:
    """Have the pool answered, and say how much the draws overlap."""
    pool = worker.pool(setting)
    for group, rows in pool.rows.items():
        drawn = [
            draw_rows(rows, setting.per_run, d.run, setting.training.seed) for d in setting.draws if d.group == group
        ]
        logger.info(
            "%s, %s: %d facts, %d runs of %d, %.1f %% of them taught in an earlier run too",
            *(setting.name, group, len(rows), len(drawn), setting.per_run, 100 * overlap(drawn)),
        )


def _alone(worker: Worker, pending: Sequence[Unit], bar: tqdm) -> Counter:
    for unit in pending:
        worker.run(unit)
        bar.update()
    return worker.seconds


def _together(
    study: Study, worker: Worker, pending: Sequence[Unit], workers: int, executor: str, bar: tqdm
) -> Counter:
    """The same in several processes; what one of them cannot do ends them all."""
    spent = Counter(worker.seconds)
    worker.forget()  # the workers load a base each
    with EXECUTORS[executor](workers, study.options) as submit:
        waiting = {submit(unit) for unit in pending}
        try:
            while waiting:
                ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in ended:
                    spent.update(future.result())
                    bar.update()
        except BrokenExecutor as error:
            raise ValueError(
                "a worker was killed, perhaps for want of memory; what is finished is kept. Go on with fewer "
                "`workers`. "
                'A script of your own starts them under `if __name__ == "__main__":`'
            ) from error
        finally:
            for future in waiting:  # one has failed
                future.cancel()
    return spent
