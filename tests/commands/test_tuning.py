"""The options that choose a run's method."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from peft import LoraConfig, PeftConfig
from transformers import PreTrainedModel

from semantic_trainer.cli import main
from semantic_trainer.commands.finished import load_run
from semantic_trainer.commands.options import parse
from semantic_trainer.commands.run import RunArguments
from semantic_trainer.training.training_args import SemanticTrainingArguments
from semantic_trainer.tuners.arguments import ModelArguments, adapter_config, check_tuning, parse_method_options

from .test_resume import interrupt_training


def config_of(model: object, **options: object) -> PeftConfig:
    args = ModelArguments(**options)
    check_tuning(args)
    return adapter_config(model, args)


def test_the_defaults_are_lora_on_all_linear_layers(model: object) -> None:
    expected = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    assert config_of(model) == expected
    expected = LoraConfig(
        r=2, lora_alpha=3, lora_dropout=0.1, target_modules=["q_proj", "o_proj"], task_type="CAUSAL_LM"
    )
    options = {"lora_r": 2, "lora_alpha": 3, "lora_dropout": 0.1, "lora_target_modules": ["q_proj", "o_proj"]}
    assert config_of(model, **options) == expected


def test_options_reach_the_config(model: object) -> None:
    houlsby = config_of(
        model, method="houlsby", method_options=["bottleneck_size=3", "dropout=0.1", "activation=relu"]
    )
    assert (houlsby.bottleneck_size, houlsby.dropout, houlsby.activation) == (3, 0.1, "relu")
    assert houlsby.target_modules == {"o_proj", "down_proj"}
    dora = config_of(model, method="dora", lora_r=2, target_modules="attention")
    assert (dora.use_dora, dora.r, dora.target_modules) == (True, 2, {"q_proj", "k_proj", "v_proj", "o_proj"})
    ia3 = config_of(model, method="ia3", target_modules=["k_proj", "down_proj"])
    assert (ia3.target_modules, ia3.feedforward_modules) == ({"k_proj", "down_proj"}, {"down_proj"})
    lora = config_of(model, method_options={"use_rslora": True, "rank_pattern": {"q_proj": 2}})
    assert (lora.use_rslora, lora.rank_pattern) == (True, {"q_proj": 2})
    assert parse_method_options(["a=[x, y]", "b=", "c=d=e"]) == {"a": ["x", "y"], "b": None, "c": "d=e"}


@pytest.mark.parametrize(
    "form", [["bottleneck_size=3", "identity_start=true"], "bottleneck_size=3", {"bottleneck_size": 3}]
)
def test_a_yaml_may_name_them_in_each_way(form: object, tmp_path: Path) -> None:
    config = {
        "method": "houlsby",
        "target_modules": "attention",
        "method_options": form,
        "facts": "x",
        "output_dir": "y",
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    args, _ = parse(["--config", str(tmp_path / "run.yaml")], "run", (RunArguments, SemanticTrainingArguments))
    check_tuning(args)
    assert parse_method_options(args.method_options)["bottleneck_size"] == 3
    assert args.target_modules == ["attention"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "hulsby"}, "`method` 'hulsby' is none of .* Did you mean 'houlsby'"),
        ({"method": "full", "dtype": "bfloat16"}, "`dtype=bfloat16` would train bfloat16 weights.*Use float32"),
        ({"method": "full", "lora_r": 4}, "`lora_r` has no effect on full, which tunes every weight"),
        ({"method": "full", "target_modules": ["q_proj"]}, "`target_modules` has no effect on full"),
        ({"method": "full", "method_options": ["r=4"]}, "names 'r'"),
        ({"method": "adalora", "method_options": ["total_step=9"]}, "names 'total_step', which is .* Leave it out"),
        ({"method": "houlsby", "lora_r": 4}, "`lora_r` has no effect on houlsby.*`method_options`"),
        ({"method": "ia3", "lora_target_modules": ["k_proj"]}, "no effect on ia3.*use `target_modules`"),
        ({"target_modules": ["q_proj"], "lora_target_modules": ["k_proj"]}, "say the same"),
        ({"method_options": ["bottleneck"]}, "look like bottleneck_size=32, but 'bottleneck'"),
        ({"method_options": ["use_rslora=[1"]}, "no YAML"),
        ({"method_options": ["init_lora_weights=pissa_niter_4"]}, "init_lora_weights=pissa_niter_4 takes part of the"),
        ({"method_options": ["bias=all"]}, "bias=all trains biases of the base"),
        ({"method_options": ["modules_to_save=[lm_head]"]}, "modules_to_save changes the base itself"),
        ({"method_options": ["layer_replication=[[0, 1]]"]}, "layer_replication changes the base itself"),
        ({"method_options": ["init_lora_weights=eva"]}, "needs a pass over data"),
        ({"method_options": ["r=3"]}, "names 'r'. Give --lora_r instead"),
        ({"method_options": ["target_modules=[q_proj]"]}, "Give --target_modules instead"),
        ({"method": "houlsby", "method_options": ["bottleneck_sise=3"]}, "Did you mean 'bottleneck_size'"),
    ],
)
def test_wrong_options_are_refused_before_a_model_is_loaded(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_tuning(ModelArguments(**options))


def test_numbers_of_method_options_may_be_written_with_an_exponent(model: PreTrainedModel) -> None:
    config = config_of(model, method="houlsby", method_options=["init_std=1e-3", "bottleneck_size=4"])
    assert (config.init_std, config.bottleneck_size) == (0.001, 4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_train_epochs": 0.1}, "too few steps.*`tinit` = 0 and until step 1, 1 optimizer"),
        ({"method_options": ["tinit=3", "tfinal=3"]}, "too few steps.* = 3 and until step 3, 6 .* Train for 7 steps"),
        ({"method_options": ["tinit=x"]}, "`tinit` must be an integer of at least 0, but is 'x'"),
        ({"method_options": ["init_r=2"]}, "`init_r` must be above .* 2 and 2 were passed"),
    ],
)
def test_what_adalora_cannot_prune_is_refused_before_the_model_is_loaded(
    wrong: dict, message: str, call: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("semantic_trainer.commands.run.load_model", None)
    assert call("run", method="adalora", **wrong) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.slow
def test_a_run_with_adalora_is_pruned_and_goes_on_after_an_interrupt(
    call: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semantic_trainer.commands.output.draw_run", lambda folder, facts, tables: [])
    tables = []
    for name, stop in (("unbroken", None), ("broken", 5)):
        options = {"method": "adalora", "output_dir": tmp_path / name, "method_options": ["init_r=5"]}
        options |= {"save_strategy": "steps", "save_steps": 1}
        if stop:
            with monkeypatch.context() as patch:
                interrupt_training(patch, "weighted", stop)
                assert call("run", **options) == 130
        assert call("run", *(["--resume"] if stop else []), **options) == 0
        tables.append((tmp_path / name / "facts.parquet").read_bytes())
    assert tables[0] == tables[1]
    config = json.loads((tmp_path / "unbroken" / "adapter_config.json").read_text())
    assert (config["init_r"], config["target_r"], config["total_step"], config["tfinal"]) == (5, 2, 6, 3)
    assert sum(map(sum, config["rank_pattern"].values())) == 2 * 14
    run = load_run(tmp_path / "broken", ("plain", "weighted"))
    assert sum(len(p) for name, p in run.model.named_parameters() if "lora_E.plain" in name) == 2 * 14


def test_a_wrong_target_is_refused_before_anything_starts(
    call: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert call("run", lora_r=None, method="houlsby", target_modules=["o_prj"]) == 2
    assert "Did you mean 'o_proj'" in capsys.readouterr().err
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    assert call("run", lora_r=None, method="houlsby", method_options=["bottleneck_size=0"]) == 2
    assert "`bottleneck_size` must be" in capsys.readouterr().err


def test_a_run_with_houlsby_adapters(
    call: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("semantic_trainer.commands.output.draw_run", lambda folder, facts, tables: [])
    out = tmp_path / "out"
    options = {"lora_r": None, "method": "houlsby", "method_options": ["bottleneck_size=4"]}
    assert call("run", **options) == 0
    config = json.loads((out / "semantic_summary.json").read_text())["config"]
    assert (config["method"], config["method_options"], config["target_modules"]) == (
        *("houlsby", ["bottleneck_size=4"], None),
    )
    assert {f.name for f in dataclasses.fields(ModelArguments)} <= set(config)
    card = (out / "README.md").read_text()
    assert "A Houlsby adapter for" in card
    assert "import semantic_trainer.tuners" in card
    assert "\n- houlsby\n" in card
    assert "Houlsby, bottleneck_size=4 on all-linear" in (out / "report.html").read_text()
    for place in (out, out / "plain"):
        assert PeftConfig.from_pretrained(place).bottleneck_size == 4
    run = load_run(out, ("plain", "weighted"))
    assert run.model.active_adapters == ["plain"]
    capsys.readouterr()
    assert main(["ask", str(out), "What is the capital of land 1?"]) == 0
    assert "Berlin" in capsys.readouterr().out  # the target, if nothing else
    assert call("run", "--resume", **options) == 0
    assert call("run", "--resume", **{**options, "method": "lora", "method_options": None}) == 2
    assert "method (was 'houlsby', is 'lora')" in capsys.readouterr().err
