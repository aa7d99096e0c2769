"""Whether PEFT knows the method depends on one import, in whatever order; each case in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, mapping
from transformers import PreTrainedModel

from semantic_trainer.tuners.houlsby import register

PEFT_FIRST = """
import sys
import peft
import semantic_trainer
from transformers import AutoModelForCausalLM
folder = sys.argv[1]
for load in (peft.PeftConfig.from_pretrained, peft.AutoPeftModelForCausalLM.from_pretrained):
    try:
        load(folder + "/llama")
    except KeyError as error:
        print(repr(error))
semantic_trainer.HoulsbyConfig  # its first use registers
import semantic_trainer.tuners
"""
TUNERS_FIRST = """
import sys
import semantic_trainer.tuners
import peft
from transformers import AutoModelForCausalLM
folder = sys.argv[1]
"""
COMPARE = """
import torch
torch.set_num_threads(1)
for name in sys.argv[2:]:
    base = AutoModelForCausalLM.from_pretrained(f"{folder}/{name}/base")
    model = peft.PeftModel.from_pretrained(base, f"{folder}/{name}")
    kept = torch.load(f"{folder}/{name}/logits.pt")
    with torch.no_grad():
        print(name, torch.equal(model(kept["ids"]).logits, kept["logits"]))
"""


def python(code: str, *args: str) -> str:
    """What a fresh process prints."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def save(folder: Path, name: str, model: PreTrainedModel, houlsby: Callable, ids: torch.Tensor) -> None:
    """One adapter, its base, and its logits."""
    model.save_pretrained(folder / name / "base")
    tuned = houlsby(model)
    tuned.save_pretrained(folder / name)
    with torch.no_grad():
        torch.save({"ids": ids, "logits": tuned(ids).logits}, folder / name / "logits.pt")


def test_peft_first_and_no_tuners(tiny: Callable, houlsby: Callable, ids: torch.Tensor, tmp_path: Path) -> None:
    save(tmp_path, "llama", tiny("llama"), houlsby, ids)
    printed = python(PEFT_FIRST + COMPARE, str(tmp_path), "llama").splitlines()
    assert printed == ["KeyError('HOULSBY')", "KeyError('HOULSBY')", "llama True"]


def test_tuners_first_and_the_logits_of_another_process(
    architectures: tuple[str, ...], tiny: Callable, houlsby: Callable, ids: torch.Tensor, tmp_path: Path
) -> None:
    for name in architectures:
        save(tmp_path, name, tiny(name), houlsby, ids)
    printed = python(TUNERS_FIRST + COMPARE, str(tmp_path), *architectures).splitlines()
    assert printed == [f"{name} True" for name in architectures]


def test_registering_twice_changes_nothing_and_another_method_of_that_name_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = dict(mapping.PEFT_TYPE_TO_CONFIG_MAPPING)
    register()
    assert before == mapping.PEFT_TYPE_TO_CONFIG_MAPPING
    monkeypatch.setitem(mapping.PEFT_TYPE_TO_CONFIG_MAPPING, "HOULSBY", LoraConfig)
    with pytest.raises(ImportError, match="PEFT has a method HOULSBY already, peft.tuners.lora.config.LoraConfig"):
        register()


def test_importing_the_package_alone_is_light() -> None:
    code = (
        "import sys, semantic_trainer as s; print('HoulsbyConfig' in s.__all__, {'torch', 'peft'} & set(sys.modules))"
    )
    assert python(code).strip() == "True set()"
