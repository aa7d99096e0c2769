"""The examples in the docstrings of studies are run, and give what they say."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import get_peft_model

from semantic_trainer import study
from semantic_trainer.commands import study as command
from semantic_trainer.study.results import read_settings, write_result
from semantic_trainer.study.spectra import spectrum
from semantic_trainer.tuners.methods import method_config

from ..architectures import tiny
from .synthetic import a_result

MODULES = [importlib.import_module(f"{study.__name__}.{found.name}") for found in pkgutil.iter_modules(study.__path__)]
ELSEWHERE = {"semantic_trainer.study.budget.search"}  # needs facts and a model of its own: docs/budget.md


@pytest.fixture
def names(tmp_path: Path) -> dict[str, object]:
    """What examples take as given: a model with an adapter, its weights before and after, a folder of results."""
    base = tiny("Llama", 61)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    model = get_peft_model(base, method_config(base, "lora", r=8, alpha=16))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    near = a_result(0, np.full(96, 0.05), np.arange(96) < 10)
    write_result(tmp_path / "zsre-lora" / "plain" / "0000.json", near)
    for i, arm in enumerate(("plain", "soft-0.5", "soft-2")):
        for run in range(2):
            one = a_result(run, np.full(10, 0.5), np.arange(10) < 3 + i + run)
            write_result(tmp_path / "tries" / arm / f"{run:04d}.json", one)
    given = {"model": model, "before": before, "after": before, "folder": tmp_path}
    return {**given, "spectrum": spectrum, "read_settings": read_settings}


@pytest.mark.parametrize("module", [*MODULES, command], ids=lambda module: module.__name__.rpartition(".")[2])
def test_examples_give_what_they_say(module: object, names: dict[str, object]) -> None:
    for example in doctest.DocTestFinder().find(module, extraglobs=names):
        if example.name in ELSEWHERE:
            continue
        said: list[str] = []
        failed = doctest.DocTestRunner(verbose=False).run(example, out=said.append).failed
        assert not failed, "".join(said)
