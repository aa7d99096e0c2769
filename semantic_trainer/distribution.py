"""Several processes on one job: who is first, who writes, and how what one of them has reaches the others.

Everything here is a no-op in a single process. In a job started by `torchrun` or `accelerate launch` each call is
collective: every process must make it, as with `Trainer.evaluate`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class FirstProcessError(RuntimeError):
    """What the other processes raise where the first one failed, which raises its own error."""


def world_size() -> int:
    """How many processes the launcher started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def without_accelerator() -> bool:
    """Whether there is no GPU or the like; accelerate joins processes on the CPU only if it is told so."""
    import torch

    return not torch.accelerator.is_available()


def _state() -> object | None:
    """accelerate's view of the job, or `None` in a single process; light until there is a job."""
    if world_size() < 2:
        return None
    from accelerate import PartialState

    state = PartialState(cpu=without_accelerator())
    return state if state.num_processes > 1 else None


def world() -> tuple[int, int]:
    """`(rank, number of processes)`; `(0, 1)` in a single process."""
    state = _state()
    return (state.process_index, state.num_processes) if state else (0, 1)


def is_first() -> bool:
    """Whether this is the process that writes, downloads and prints."""
    return world()[0] == 0


@contextmanager
def local_main_first() -> Iterator[None]:
    """A node's first process goes through the block before its others: it downloads, they read the cache.

    An error in the first process lets the others go on, so that they fail by themselves rather than wait.

    Example:
        >>> with local_main_first():
        ...     tokenizer = AutoTokenizer.from_pretrained("ORG/NAME")
    """
    state = _state()
    if state and not state.is_local_main_process:
        state.wait_for_everyone()
    try:
        yield
    finally:
        if state and state.is_local_main_process:
            state.wait_for_everyone()


def on_first(function: Callable[..., T], *args: object) -> T:
    """`function(*args)`, called in the first process alone; every process gets its result.

    Raises:
        FirstProcessError: in the other processes, where the first one's call failed with an error of its own.

    Example:
        >>> on_first(max, 3, 5)
        5
    """
    state = _state()
    if state is None:
        return function(*args)
    from accelerate.utils import broadcast_object_list

    error, box = None, [None]
    if state.is_main_process:
        try:
            box = [(True, function(*args))]
        except Exception as raised:  # handed on below, to this process as it is
            error, box = raised, [(False, f"{type(raised).__name__}: {raised}")]
    succeeded, value = broadcast_object_list(box)[0]
    if error is not None:
        raise error
    if not succeeded:
        raise FirstProcessError(value)
    return value


def gather(items: list[T]) -> list[T]:
    """The lists of all processes one behind the other, in the order of their ranks, in every process.

    Example:
        >>> gather([1, 2])
        [1, 2]
    """
    if _state() is None:
        return items
    from accelerate.utils import gather_object

    return gather_object(items)
