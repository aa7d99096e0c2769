"""The results of a study: one JSON a run and arm, written whole or not at all, read again by whoever goes on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..files import write_atomically
from .arms import Arm
from .measures import features_path
from .protocol import Draw
from .settings import Setting, default_options

Results = Mapping[str, Sequence[Mapping[str, object]]]  # arm -> results in the order of their runs
Study = Mapping[str, Results]  # setting -> arms
SCHEMA_VERSION = 1
DIGITS = 8
# Columns of the per-fact table that a result keeps: ids, distances and scores, but no text of the data.
COLUMNS = (
    *("fact_id", "distance", "target_loss", "first_learnt", "new_distance"),
    *("knowledge_accuracy", "generality", "locality", "normalized", "contains"),
    *("token", "portability", "next_token_kl", "locality_noise_floor", "bad_case", "deviation", "relative_deviation"),
    "new_answer_truncated",
)
TEXTS = ("prompt", "target", "old_answer", "new_answer")
PARTS = ("config", "draw", "scores", "environment", "rows")  # what every result has


@dataclass(frozen=True)
class Unit:
    """One run of one arm: what one JSON holds."""

    setting: Setting
    draw: Draw
    arm: Arm
    config: Mapping[str, object]

    def path(self, folder: Path) -> Path:
        """Its file, in the study's folder."""
        return folder / self.setting.name / self.arm.name / f"{self.draw.name}.json"

    @property
    def label(self) -> str:
        """For messages."""
        return f"{self.setting.name}, {self.arm.name}, run {self.draw.name}"


def rounded(value: object) -> object:
    """The same value with 8 decimals, numpy numbers as Python's, and null for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {name: rounded(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [rounded(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, DIGITS) if np.isfinite(value) else None
    return value


def write_result(path: Path, result: Mapping[str, object]) -> None:
    """Write a result, one line a column, whole or not at all."""
    result = {"schema_version": SCHEMA_VERSION, **rounded(result)}
    rows = result.pop("rows")
    columns = ",\n".join(f"  {json.dumps(n)}: {json.dumps(v, ensure_ascii=False)}" for n, v in rows.items())
    text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(path, f'{text[:-2]},\n "rows": {{\n{columns}\n }}\n}}\n'.encode())


def read_result(path: Path) -> dict[str, object]:
    """A result.

    Raises:
        ValueError: the file is no result, or one of another schema.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _no_result(path, str(error)) from error
    if not isinstance(result, dict) or "schema_version" not in result:
        raise _no_result(path, "no schema_version")
    if result["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"{str(path)!r} has schema_version {result['schema_version']!r}; this version reads {SCHEMA_VERSION}. "
            "Choose another `output_dir`."
        )
    missing = [part for part in PARTS if not isinstance(result.get(part), dict)]
    if missing:
        raise _no_result(path, f"without {', '.join(missing)}")
    return result


def _no_result(path: Path, why: str) -> ValueError:
    return ValueError(f"{str(path)!r} is no result of a study ({why}). Delete it, and the run is made again.")


def differences(held: Mapping[str, object], wanted: Mapping[str, object]) -> list[str]:
    """The first five options in which two configs differ, as messages say them; none where they are of one result.

    Example:
        >>> differences({"lora_r": 8}, {"lora_r": 32})
        ['lora_r (was 8, is 32)']
    """
    default = default_options()  # an option that is newer than the result was at its default
    differs = sorted(n for n in {*held, *wanted} if held.get(n, default.get(n)) != wanted.get(n, default.get(n)))
    said = {name: f"{name} (was {held.get(name)!r}, is {wanted.get(name)!r})" for name in differs[:5]}
    if "pool_hash" in said:
        said["pool_hash"] = "the facts themselves"
    return list(said.values())


def is_finished(unit: Unit, folder: Path) -> bool:
    """Whether a unit's result is there, and its features where they are measured.

    Raises:
        ValueError: there is one that was made with other options.
    """
    path = unit.path(folder)
    if not path.exists():
        return False
    _check_options(path, folder, read_result(path)["config"], unit.config)
    return "features" not in unit.setting.measures or features_path(path).exists()


def check_results(folder: Path, settings: Sequence[Setting]) -> None:
    """Refuse results that are not of these settings; the facts, which are not at hand, must be the same in all runs.

    Raises:
        ValueError: there is one that was made with other options, or of other facts than the ones before it.
    """
    for setting in settings:
        facts = None
        for draw in setting.draws:
            for arm in setting.arms:
                path = Unit(setting, draw, arm, {}).path(folder)
                if path.exists():
                    held = read_result(path)["config"]
                    facts = facts or str(held.get("pool_hash"))
                    _check_options(path, folder, held, setting.config(draw, arm, facts, held.get("threads")))


def _check_options(path: Path, folder: Path, held: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    differs = differences(held, wanted)
    if differs:
        raise ValueError(
            f"`output_dir` {str(folder)!r} holds results with other options, first {path.relative_to(folder)}: "
            f"{', '.join(differs)}. Choose another folder, or delete those results."
        )


def read_study(folder: Path, setting: str) -> dict[str, list[dict[str, object]]]:
    """All results of a setting: arm -> results in the order of their runs; none where it was not run yet."""
    found = {
        arm.name: [_read_in_place(path) for path in sorted(arm.glob("*.json"))]
        for arm in sorted((folder / setting).glob("*"))
        if arm.is_dir()
    }
    return {arm: results for arm, results in found.items() if results}


def _read_in_place(path: Path) -> dict[str, object]:
    """A result that is of the arm and the run that its path says: a copied file would count as a run of its own."""
    result = read_result(path)
    try:
        draw, arm = Draw(**result["draw"]).name, result.get("arm", path.parent.name)
    except (TypeError, ValueError) as error:
        raise _no_result(path, f"its draw is {result['draw']!r}") from error
    if (arm, draw) != (path.parent.name, path.stem):
        raise _no_result(path, f"it holds run {draw} of {arm}")
    return result


def read_settings(folder: Path, settings: Mapping[str, Sequence[str]]) -> Study:
    """All results of several settings.

    Args:
        settings: name -> its arms, in their order; results of others are left out, and so are settings whose first
            arm has none yet.

    Raises:
        FileNotFoundError: there are no results.
    """
    study = {}
    for setting, arms in settings.items():
        found = read_study(folder, setting)
        if arms[0] in found:
            study[setting] = {arm: found[arm] for arm in arms if arm in found}
    if not study:
        raise FileNotFoundError(f"{str(folder)!r} holds no result of {', '.join(settings)}: run the study first.")
    return study


def select_columns(table: Mapping[str, Sequence], columns: Sequence[str] = COLUMNS) -> dict[str, Sequence]:
    """Those columns of a per-fact table that there are."""
    return {name: table[name] for name in columns if name in table}
