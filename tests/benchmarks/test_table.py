"""The page shows every row, ratio, bar and check of the JSON."""

import json
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace


def test_the_page_has_every_row_of_the_json(bench: SimpleNamespace, args: Namespace, tmp_path: Path) -> None:
    shared = bench.side_by_side
    args.output, args.source = tmp_path / "bench.json", "facts.json"
    fast = shared.scenario(
        "training", {"a": [1.0, 2.0], "b": [5.0, 10.0]}, ("b", "a"), at_least=4.0, checks={"same": True, "off": [0.25]}
    )
    profile = [{"name": "aten::mm", "self_seconds": 1.5, "calls": 1200}]
    heavy = shared.scenario(
        "memory", {"a": [1200.0]}, ("a", "a"), at_most=0.6, unit="MB", note="above", profile=profile
    )
    shared.report("train_step", args, [fast, heavy])
    distances = tmp_path / "distances.json"
    run = {"rows": 1_000_000, "seconds": 9.5, "megabytes": 40.2, "megabytes_as_lists": 900.0}
    distances.write_text(json.dumps({"runs": [run], "reference": {"ratio_median": 8.0, "ratio_range": [7.5, 8.5]}}))
    page = tmp_path / "page.md"
    bench.table.main([str(args.output), str(page), "--distances", str(distances)])
    text = page.read_text()
    assert "5 facts of facts.json, 2 repeats, float32" in text
    assert (
        "| training | a: 1.5 s (1.25 to 1.75)<br>b: 7.5 s (6.25 to 8.75) | b / a: 5.00 [5.00, 5.00] | at least 4 |"
        in text
    )
    assert "| memory<br>*above* | a: 1,200 MB | a / a: 1.00 | at most 0.6 **missed** |" in text
    assert "- training: same: yes; off: 0.25" in text
    assert "`aten::mm` 1.50 s in 1,200 calls" in text
    assert "- 1,000,000 pairs: 9.5 s, 40 MB; as Python lists 900 MB" in text
