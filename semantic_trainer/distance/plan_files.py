"""A FilterPlan on disk: JSON to be looked at, Parquet where it is long."""

import io
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ..files import write_atomically
from .filter_plan import FilterPlan

INTEGERS, SWAPS = ("removed", "added"), ("removed", "added", "added_distances")
TRACE = ("objective", "mean", "spread")
FORMAT = 1
_KEY = b"semantic_filter_plan"


def _check_ending(path: Path) -> str:
    ending = path.suffix.lower()
    if ending not in (".json", ".parquet"):
        raise ValueError(f"a plan is saved as .json or .parquet, but {str(path)!r} was passed")
    return ending


def write_plan(plan: FilterPlan, path: Path) -> Path:
    """Write a plan as JSON or Parquet by the ending."""
    ending = _check_ending(path)
    arrays = {name: getattr(plan, name) for name in (*SWAPS, *TRACE)}
    rest = {f.name: getattr(plan, f.name) for f in fields(plan) if f.name not in arrays} | {"format": FORMAT}
    rest["reached_share"], rest["binding_bound"] = plan.reached_share, plan.binding_bound
    if ending == ".json":
        lists = {name: values.tolist() for name, values in arrays.items()}
        write_atomically(path, (json.dumps({**rest, **lists}, indent=1, allow_nan=False) + "\n").encode())
        return path
    rest["start"] = {name: float(arrays[name][0]) for name in TRACE}
    columns = {name: values[1:] if name in TRACE else values for name, values in arrays.items()}
    table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(rest).encode()})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    write_atomically(path, buffer.getvalue())
    return path


def read_plan(path: Path) -> FilterPlan:
    """Read a plan from JSON or Parquet, and check that it is one."""
    ending = _check_ending(path)
    if not path.is_file():
        raise FileNotFoundError(f"the plan {str(path)!r} does not exist")
    try:
        data = json.loads(path.read_text(encoding="utf-8")) if ending == ".json" else _read_parquet(path)
        if data["format"] != FORMAT:
            raise ValueError(f"it has format {data['format']}, and this version reads {FORMAT}")
        for name in (*SWAPS, *TRACE):
            data[name] = np.array(data[name], np.int64 if name in INTEGERS else np.float64)
        plan = FilterPlan(**{f.name: data[f.name] for f in fields(FilterPlan)})
        _check(plan)
    except (pa.ArrowException, ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{str(path)!r} holds no whole plan of a filter ({error}). Make it again.") from error
    return plan


def _read_parquet(path: Path) -> dict[str, object]:
    table = pyarrow.parquet.read_table(path)
    rest = json.loads((table.schema.metadata or {})[_KEY])
    columns = {name: table[name].to_numpy() for name in (*SWAPS, *TRACE)}
    return {**rest, **columns, **{name: np.concatenate([[rest["start"][name]], columns[name]]) for name in TRACE}}


def _check(plan: FilterPlan) -> None:
    lengths = {name: len(getattr(plan, name)) - (name in TRACE) for name in (*SWAPS, *TRACE)}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"its columns differ in length: {lengths}")
    for name, of in (("removed", "train"), ("added", "pool")):
        rows = getattr(plan, name)
        if len(np.unique(rows)) != len(rows) or (len(rows) and not 0 <= rows.min() <= rows.max() < plan.sizes[of]):
            raise ValueError(f"{name!r} has rows twice, or rows that `{of}` does not have")
