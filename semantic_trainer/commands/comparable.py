"""Two arms of finished runs, read for a comparison: their scores of the facts that both were taught."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..evaluation.comparison import Difference, paired_facts
from ..evaluation.statistics import same_protocol, score, undefined
from .finished import AGAIN, read_summary

logger = logging.getLogger(__name__)
FACTS_FILE = "facts.parquet"
COMPARED = ("knowledge_accuracy", "generality", "locality", "deviation")
ASKED = {"generality": "paraphrases", "locality": "locality_prompts"}  # the questions behind a metric, but the prompt


@dataclass(frozen=True)
class Arm:
    """One arm of a finished run.

    Attributes:
        label: what to call it.
        config: the run's options.
        protocols: metric -> protocol.
        rows: fact_id -> column -> value; a metric's column has its name.
    """

    label: str
    config: Mapping[str, object]
    protocols: Mapping[str, str]
    rows: Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Comparison:
    """One metric of two arms, on the same facts; `difference` is `None` where no fact has the metric."""

    metric: str
    a: dict[str, object]
    b: dict[str, object]
    difference: Difference | None


def read_arm(folder: Path, name: str, option: str, label: str) -> Arm:
    """Read one arm.

    Raises:
        FileNotFoundError: facts.parquet is missing.
        ValueError: an unknown arm, a torn file, a missing column, a fact that stands there twice.
    """
    summary = read_summary(folder)
    arms = [arm for arm in summary.runs if arm != "before"]
    if name not in arms:
        raise ValueError(f"`{option}` {name!r}: RUN {str(folder)!r} holds the arms {', '.join(arms)}.")
    columns = {metric: f"{name}_{metric}" for metric in COMPARED} | {column: column for column in ASKED.values()}
    table = read_columns(folder / FACTS_FILE, ["fact_id", *columns.values()])
    rows = {row["fact_id"]: {key: row[column] for key, column in columns.items()} for row in table}
    if len(rows) < len(table):
        raise ValueError(f"{str(folder / FACTS_FILE)!r} holds {len(table)} rows but {len(rows)} fact_ids. {AGAIN}")
    return Arm(label, summary.config, {m: summary.runs[name][m]["protocol"] for m in COMPARED}, rows)


def read_columns(path: Path, columns: list[str]) -> list[dict]:
    """Rows of a Parquet file; a missing or torn file and missing columns are named."""
    import pyarrow.parquet

    if not path.is_file():
        raise FileNotFoundError(f"the run lacks its file {str(path)!r}. {AGAIN}")
    try:
        found = pyarrow.parquet.read_schema(path).names
        missing = [column for column in columns if column not in found]
        rows = [] if missing else pyarrow.parquet.read_table(path, columns=columns).to_pylist()
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is torn ({error}). {AGAIN}") from error
    if missing:
        raise ValueError(f"{str(path)!r} lacks the columns {missing}: it is not as `run` wrote it. {AGAIN}")
    return rows


def compare_arms(a: Arm, b: Arm) -> list[Comparison]:
    """Every metric on the facts that both arms were taught; what makes the comparison smaller or uneven is logged.

    Raises:
        ValueError: two protocols, or no fact in common.
    """
    for metric in COMPARED:
        try:
            same_protocol(a.protocols[metric], b.protocols[metric])
        except ValueError as error:
            raise ValueError(f"{metric.replace('_', ' ')} of {a.label} and {b.label}: {error}") from error
    shared = [fact for fact in a.rows if fact in b.rows]
    if not shared:
        raise ValueError(
            f"{a.label} ({len(a.rows)} facts) and {b.label} ({len(b.rows)} facts) have no fact in common: none has "
            "the same prompt and target in both. Compare runs on the same facts."
        )
    if len(shared) < max(len(a.rows), len(b.rows)):
        logger.warning(
            "%d facts are shared, of %d in %s and %d in %s; only these are compared",
            *(len(shared), len(a.rows), a.label, len(b.rows), b.label),
        )
    for option in ("model", "prompt_text"):
        if a.config[option] != b.config[option]:
            logger.warning("the runs differ in `%s`: %r and %r", option, a.config[option], b.config[option])
    return [compare_metric(metric, a, b, shared) for metric in COMPARED]


def compare_metric(metric: str, a: Arm, b: Arm, facts: list[str]) -> Comparison:
    """One metric on the facts for which both runs asked the same questions."""
    asked, protocol = ASKED.get(metric), a.protocols[metric]
    alike = [fact for fact in facts if not asked or (a.rows[fact][asked] or []) == (b.rows[fact][asked] or [])]
    if len(alike) < len(facts):
        logger.warning(
            "%s: %d of %d facts have other %s in either run and are left out",
            *(metric, len(facts) - len(alike), len(facts), asked),
        )
    first, second = ([as_scores(arm, metric, fact) for fact in alike] for arm in (a, b))
    if not any(first):
        return Comparison(metric, undefined(protocol), undefined(protocol), None)
    try:
        found = paired_facts(first, second, protocol, b.protocols[metric])
    except ValueError as error:
        raise ValueError(f"{metric} of {a.label} (`a`) and {b.label} (`b`): {error}. {AGAIN}") from error
    return Comparison(metric, score(first, protocol), score(second, protocol), found)


def as_scores(arm: Arm, metric: str, fact: str) -> list[float]:
    """A cell as its list of scores: one answer's, several answers', or none."""
    value = arm.rows[fact][metric]
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(v, (bool, int, float)) for v in values):
        raise ValueError(f"{metric} of {arm.label}, fact {fact}: {value!r} is no score. {AGAIN}")
    return [float(v) for v in values]
