"""Where runs are made besides this process: in processes of this machine, or wherever Ray has room."""

import gc
import logging
import multiprocessing
import os
import queue
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import datasets
from transformers.utils.logging import disable_progress_bar

from ..facts.messages import suggest
from .results import Unit
from .worker import Worker

Options = tuple[Path, str | None, int, bool]  # of a Worker
Submit = Callable[[Unit], Future]
PASSED_ON = ("SEMANTIC_TRAINER_CACHE", "HF_HOME", "HF_HUB_OFFLINE", "PYTHONPATH")  # to workers of Ray
_worker: Worker | None = None  # of a process that `process_pool` started


def make(worker: Worker, unit: Unit) -> Counter:
    """Have a worker make one run; the seconds that it took, by what they were spent on."""
    before = Counter(worker.seconds)
    worker.run(unit)
    return worker.seconds - before


def _start(options: Options, filters: list[tuple]) -> None:
    """Begin a worker's process, which ends with the one that started it, however that ends, and warns as that does."""
    global _worker
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    warnings.filters[:] = filters
    _say_nothing_twice()
    gc.freeze()  # see `libraries_set_apart`
    _worker = Worker(*options)


def _say_nothing_twice() -> None:
    """One bar is enough, and what there is to say of facts and libraries, the process that started this one says."""
    os.environ["TQDM_DISABLE"] = "1"
    datasets.disable_progress_bars()
    disable_progress_bar()
    logging.getLogger("semantic_trainer").setLevel(logging.ERROR)


def _make(unit: Unit) -> Counter:
    return make(_worker, unit)


@contextmanager
def process_pool(workers: int, options: Options) -> Iterator[Submit]:
    """`submit(unit) -> Future` of the seconds spent, in so many fresh processes."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit threads and their locks
    with ProcessPoolExecutor(workers, context, _start, (options, warnings.filters)) as pool:
        yield lambda unit: pool.submit(_make, unit)


class RayWorker:
    """A `Worker` that Ray starts where it has room."""

    def __init__(self, *options: object) -> None:
        gc.freeze()
        self.worker = Worker(*options)

    def make(self, unit: Unit) -> Counter:
        """As `make`."""
        return make(self.worker, unit)


@contextmanager
def ray_pool(workers: int, options: Options) -> Iterator[Submit]:
    """`submit(unit) -> Future`, on so many actors of the cluster at `$RAY_ADDRESS`, or of one on this machine.

    Raises:
        ModuleNotFoundError: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ModuleNotFoundError("`executor=ray` needs Ray: pip install 'semantic-trainer[ray]'") from error
    threads, own = options[2], not ray.is_initialized()
    if own:
        local = {"num_cpus": max(os.cpu_count() or 1, workers * threads), "include_dashboard": False}
        ray.init(log_to_driver=False, **({} if os.environ.get("RAY_ADDRESS") else local))
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"TQDM_DISABLE": "1"}
    actor = ray.remote(RayWorker).options(num_cpus=threads, runtime_env={"env_vars": passed})
    free: queue.SimpleQueue = queue.SimpleQueue()
    for _ in range(workers):
        free.put(actor.remote(*options))

    def run(unit: Unit) -> Counter:
        worker = free.get()
        try:
            return ray.get(worker.make.remote(unit))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        finally:
            free.put(worker)

    try:
        with ThreadPoolExecutor(workers) as pool:  # each thread waits for one actor
            yield lambda unit: pool.submit(run, unit)
    finally:
        if own:
            ray.shutdown()


EXECUTORS = {"processes": process_pool, "ray": ray_pool}


def check_executor(name: str) -> None:
    """Raise a `ValueError` where there is no such executor."""
    if name not in EXECUTORS:
        raise ValueError(f"`executor` {name!r} is unknown.{suggest(name, EXECUTORS)} Use {' or '.join(EXECUTORS)}.")
