"""RunSummary: everything a run found, as semantic_summary.json holds it."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path

import numpy as np
from datasets import Dataset

from .. import __version__
from ..answers.known import LABELS
from ..distance.weighting import known_facts
from ..evaluation.evaluator import METRICS
from ..files import write_atomically

SCHEMA_VERSION = 1
SUMMARY_FILE = "semantic_summary.json"
LIBRARIES = ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "numpy", "scipy")
CODE = ("semantic_trainer", "examples")  # what decides a run, of a checkout
DIRTY = "-dirty"  # as `git describe` marks a commit that the files differ from
LONG_ANSWER_WORDS = 6
LONG_ANSWER_SHARE = 0.2
HISTOGRAM_BINS = 24
RUNS = ("before", "plain", "weighted")


@dataclass
class RunSummary:
    """A run's summary, read from and written to `semantic_summary.json`.

    Attributes:
        config: every option of the run.
        environment: versions, machine, threads, seconds.
        facts: how many facts there were, and how many had which fault.
        distances: `describe_distances` of the training facts.
        runs: `before`, `plain`, `weighted` -> metric -> `{value, ci95, n, protocol}`.

    Example:
        >>> summary = RunSummary.load("runs/demo")
        >>> summary.runs["weighted"]["knowledge_accuracy"]["value"]
        1.0
    """

    config: dict[str, object]
    environment: dict[str, object]
    facts: dict[str, object]
    distances: dict[str, object]
    runs: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        for run, metrics in self.runs.items():
            missing = [name for name in METRICS if name not in metrics]
            if missing:
                raise ValueError(
                    f"`runs[{run!r}]` lacks {missing}; every metric is present, with value null if undefined"
                )

    def to_json(self) -> str:
        """Strict JSON: undefined numbers are null, never NaN."""
        plain = asdict(self)
        ordered = {"schema_version": plain.pop("schema_version"), **plain}
        return json.dumps(_finite(ordered), indent=2, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"

    def save(self, folder: str | Path) -> Path:
        """Write `semantic_summary.json` into a run's folder, whole or not at all."""
        path = Path(folder) / SUMMARY_FILE
        write_atomically(path, self.to_json().encode())
        return path

    @classmethod
    def load(cls, folder: str | Path) -> "RunSummary":
        """Read a run's summary.

        Raises:
            FileNotFoundError: the folder holds no summary.
            ValueError: it is torn, or of another schema version.
        """
        path = Path(folder) / SUMMARY_FILE
        if not path.exists():
            raise FileNotFoundError(f"{str(folder)!r} holds no {SUMMARY_FILE}: no run has ended there.")
        try:
            data = dict(json.loads(path.read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is torn ({error}). Copy the run again, whole.") from error
        if data.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"{path} has schema_version {data.get('schema_version')}; this version reads {SCHEMA_VERSION}"
            )
        known = {f.name for f in fields(cls)}
        if set(data) != known:
            raise ValueError(f"{path} does not have the keys of a run's summary: {sorted(known ^ set(data))}")
        return cls(**data)


def _finite(value: object) -> object:
    """The same value with `None` for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, (float, np.floating)) and not np.isfinite(value) else value


def _plain(value: object) -> object:
    """A numpy number as Python's, anything else JSON does not know as text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def describe_environment() -> dict[str, object]:
    """Versions of the libraries, the machine and its threads; no names of users, hosts or folders."""
    import torch

    return {
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in LIBRARIES} | {"semantic-trainer": __version__},
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "processor": _processor(),
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "commit": commit_of(Path(__file__).parents[2]),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def commit_of(root: Path) -> str | None:
    """Commit of the checkout in `root`, with `-dirty` behind it where the code was changed; else `None`."""
    if not (root / ".git").exists():  # installed; git would answer with whatever repository is around
        return None

    def git(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10)

    try:
        head, changed = git("rev-parse", "HEAD"), git("diff", "--quiet", "HEAD", "--", *CODE)
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + DIRTY * (changed.returncode == 1) if head.returncode == 0 else None


def describe_distances(facts: Dataset) -> dict[str, object]:
    """What can be said before training, from `old_answer`, `old_answer_truncated`, `distance` and `target`.

    Returns:
        n; mean, std and quantiles of the raw distances; shares, each in [0, 1]: the base model's answer is right
        already (`known`), `empty`, `truncated`, `long` (more than 6 words); the distance is `above_1`, or 0 without
        being equal (`permuted`). Where there is a column `known_label`, also `known_labels`: label ->
        `{n, mean_distance}`, the least known first.
    """
    distance = np.asarray(facts["distance"][:], dtype=float)
    answers = facts["old_answer"][:]
    words = np.array([len(answer.split()) for answer in answers])
    known = known_facts(facts)
    shares = {
        "known": known,
        "empty": words == 0,
        "truncated": np.asarray(facts["old_answer_truncated"][:], dtype=bool),
        "long": words > LONG_ANSWER_WORDS,
        "above_1": distance > 1.0,
        "permuted": (distance <= 1e-6) & ~known & (words > 0),
    }
    quantiles = np.quantile(distance, (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1))
    return {
        "n": len(distance),
        "mean": float(distance.mean()),
        "std": float(distance.std()),
        "quantiles": dict(zip(("0", "0.1", "0.25", "0.5", "0.75", "0.9", "1"), map(float, quantiles), strict=True)),
        "shares": {name: float(values.mean()) for name, values in shares.items()},
        "histogram": _histogram(distance, known),
        **({"known_labels": _by_label(facts["known_label"][:], distance)} if "known_label" in facts.features else {}),
    }


def _histogram(distance: np.ndarray, known: np.ndarray) -> dict[str, list]:
    """Edges from 0 to at least 1.2, and how many known and other facts lie between them."""
    edges = np.linspace(0.0, max(1.2, float(distance.max()) + 1e-9), HISTOGRAM_BINS + 1)
    counts = {"known": distance[known], "unknown": distance[~known]}
    return {"edges": edges.tolist()} | {name: np.histogram(of, edges)[0].tolist() for name, of in counts.items()}


def _by_label(labels: Sequence[str], distance: np.ndarray) -> dict[str, dict[str, object]]:
    """Label -> `{n, mean_distance}`, the least known first."""
    labels = np.asarray(labels)
    return {
        name: {"n": int((labels == name).sum()), "mean_distance": float(distance[labels == name].mean())}
        for name in LABELS
        if (labels == name).any()
    }


def distance_warnings(described: dict[str, object]) -> list[str]:
    """What a user should change before training, judged by `describe_distances`."""
    shares, warnings = described["shares"], []
    if shares["long"] > LONG_ANSWER_SHARE:
        warnings.append(
            f"{shares['long']:.0%} of the old answers have more than {LONG_ANSWER_WORDS} words: the model answers in "
            "sentences, whose distances to a name say little. Give it examples with `shots`."
        )
    if shares["truncated"] > 0.05:
        warnings.append(f"{shares['truncated']:.0%} of the old answers were cut off by max_new_tokens: raise it.")
    return warnings
