"""docs/analyses.md: its Python runs, its tables are those of the JSON in results/."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from semantic_trainer.study.figures import FIGURES
from semantic_trainer.study.results import write_result

from ..study.synthetic import a_setting

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "analyses.md").read_text(encoding="utf-8")
BUILTIN = "builtin:smollm2-135m-instruct"


def test_the_python_runs(
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """With a tiny model for the built-in one, and results made up for those of Table 3."""
    monkeypatch.chdir(tmp_path)
    for part in (model, tokenizer):
        part.save_pretrained("model")
    for arm in ("plain", "paper"):
        for result in a_setting(3, 20, 0.3, seed=0):
            write_result(Path(f"results/table3/zsre-lora/{arm}/{result['draw']['run']:04d}.json"), result)
    weights, features, curves = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    assert BUILTIN in weights
    for code in (weights.replace(BUILTIN, "./model"), features, curves):
        exec(compile(code, "analyses.md", "exec"), names)
    spoken, spread = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"self_attn.q_proj of layer 1: amplification \d+\.\d\d", spoken)
    assert names["largest"].layer in (0, 1)
    assert re.search(r"capitals: spread \d+\.\d, \d\.\d directions", spread)
    assert sum(row["n"] for row in names["rows"]) == 2 * 3 * 20
    comment = re.search(r"rows = .*# (.*)", PAGE)[1]
    assert comment.split(", ") == list(names["rows"][0])


def test_the_tables_are_those_of_the_results() -> None:
    spec = importlib.util.spec_from_file_location("spectra_benchmark", ROOT / "benchmarks" / "spectra.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = json.loads((ROOT / "results" / "spectra.json").read_text(encoding="utf-8"))
    assert "\n".join(module.markdown(result)) in PAGE
    ours, *others = result["solvers"]
    assert ours["met"] == ours["matrices"] == 24
    assert all(row["met"] < 24 for row in others)
    assert max(row["cpu_seconds"] for row in result["large"]) < 10


def test_every_figure_has_its_place() -> None:
    assert all(f"[{name}]" in PAGE for name in FIGURES)
    headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\(#([^)]*)\)", PAGE)) == anchors
