"""Timings alternate, ratios are of pairs, memory is the function's own, and sections of one JSON stay apart."""

import json
import math
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

seconds = st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=1, max_size=8)


def test_sides_alternate_and_prepare_before_each_run(bench: SimpleNamespace) -> None:
    events = []

    def side(name: str) -> object:
        def prepare() -> object:
            events.append(f"prepare {name}")
            return lambda: events.append(name) or len(events)

        return prepare

    times, results = bench.side_by_side.alternate({"a": side("a"), "b": side("b")}, repeats=2, warm_up=1)
    assert [event for event in events if " " not in event] == ["a", "b", "b", "a", "a", "b"]
    assert events[::2] == [f"prepare {event}" for event in events[1::2]]
    assert {name: len(values) for name, values in times.items()} == {"a": 2, "b": 2}
    assert results == {"a": 10, "b": 12}


@given(pairs=seconds)
def test_a_paired_ratio_lies_in_its_interval(pairs: list[tuple[float, float]], bench: SimpleNamespace) -> None:
    upper, lower = zip(*pairs, strict=True)
    found = bench.side_by_side.paired_ratio(upper, lower)
    ratios = sorted(a / b for a, b in pairs)
    assert found["value"] == pytest.approx(np.median(ratios))
    if len(pairs) == 1:
        assert found["ci95"] is None
    else:
        low, high = found["ci95"]
        assert ratios[0] - 1e-9 <= low <= found["value"] + 1e-9 <= high + 2e-9 <= ratios[-1] + 3e-9


def test_what_drifts_for_both_sides_leaves_the_ratio_alone(bench: SimpleNamespace) -> None:
    drift = np.linspace(1, 3, 12)
    assert bench.side_by_side.paired_ratio(4 * drift, 2 * drift)["ci95"] == [2.0, 2.0]


def test_at_most_is_for_the_upper_end_and_at_least_for_the_median(bench: SimpleNamespace) -> None:
    measured = {"a": [1.0, 1.0, 1.0, 1.2], "b": [1.0, 1.0, 1.0, 1.0]}
    assert not bench.side_by_side.scenario("", measured, ("a", "b"), at_most=1.05)["ratio"]["holds"]
    assert bench.side_by_side.scenario("", measured, ("a", "b"), at_least=1.0)["ratio"]["holds"]
    assert not bench.side_by_side.scenario("", measured, ("a", "b"), at_least=1.1)["ratio"]["holds"]


def test_a_child_returns_what_the_function_does(bench: SimpleNamespace) -> None:
    assert bench.side_by_side.in_child(math.factorial, 5) == 120


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be set back on Linux alone")
def test_the_peak_is_what_the_function_held_itself(bench: SimpleNamespace) -> None:
    np.ones(400 * 2**17).sum()  # an earlier peak of 400 MB
    megabytes = bench.side_by_side.peak_above(lambda: np.ones(100 * 2**17).sum())
    assert megabytes == pytest.approx(100, abs=10)


def test_sections_of_one_file_stay_apart_and_hold_no_folders(
    bench: SimpleNamespace, args: Namespace, tmp_path: Path
) -> None:
    shared = bench.side_by_side
    args.output, args.source = tmp_path / "bench.json", str(tmp_path)
    rows = [shared.scenario("row", {"a": [1.0, 2.0], "b": [2.0, 4.0]}, ("b", "a"), at_least=1.5)]
    shared.report("first", args, rows)
    shared.report("second", args, rows, extra=1)
    found = json.loads(args.output.read_text())
    assert list(found) == ["first", "second"]
    assert found["first"]["scenarios"][0]["measured"]["a"] == {"median": 1.5, "quartiles": [1.25, 1.75], "all": [1, 2]}
    assert found["second"]["extra"] == 1
    assert found["first"]["config"]["source"] == tmp_path.name
    assert str(tmp_path) not in args.output.read_text()
