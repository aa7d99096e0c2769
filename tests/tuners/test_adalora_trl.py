"""AdaLoRA in TRL's trainer: what holds in ours holds there, and stock SFTTrainer beside it."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import PeftModel, get_peft_model
from transformers import EarlyStoppingCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from semantic_trainer import SemanticSFTConfig, SemanticWeightedSFTTrainer
from semantic_trainer.training.checkpoints import STATE_FILE
from semantic_trainer.tuners.adalora import default_schedule, orthogonality
from semantic_trainer.tuners.methods import method_config

from .test_adalora import LAYERS, STEPS, Watch, rank, weights


@pytest.fixture
def wrap(model: torch.nn.Module) -> Callable[..., PeftModel]:
    def make(**options: object) -> PeftModel:
        torch.manual_seed(1)
        fresh = copy.deepcopy(model)
        return get_peft_model(fresh, method_config(fresh, "adalora", r=2, **{"init_r": 4, **options}))

    return make


@pytest.fixture
def data() -> Dataset:
    rng = torch.Generator().manual_seed(0)
    rows = [torch.randint(3, 250, (5 + i % 3,), generator=rng).tolist() for i in range(8)]
    return Dataset.from_list(
        [{"input_ids": row, "labels": [-100] * 3 + row[3:], "distance": 0.15 * i} for i, row in enumerate(rows)]
    )


@pytest.fixture
def trainer(tokenizer: object, data: Dataset, tmp_path: Path) -> Callable[..., SFTTrainer]:
    def make(
        model: torch.nn.Module, callbacks: list, kind: type = SemanticWeightedSFTTrainer, **options: object
    ) -> SFTTrainer:
        defaults = {
            "output_dir": str(tmp_path / "out"),
            "max_steps": STEPS,
            "per_device_train_batch_size": 2,
            "learning_rate": 0.02,
            "save_strategy": "no",
            "logging_steps": 1,
            "use_cpu": True,
            "bf16": False,
            "disable_tqdm": True,
        }
        more = {
            name: options.pop(name) for name in ("eval_dataset", "train_dataset", "peft_config") if name in options
        }
        config = SFTConfig if kind is SFTTrainer else SemanticSFTConfig
        return kind(
            model,
            config(**{**defaults, **options}),
            processing_class=tokenizer,
            callbacks=callbacks,
            **{"train_dataset": data, **more},
        )

    return make


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_the_rank_falls_to_its_target_and_stock_trl_never_prunes(
    gamma: float, model: torch.nn.Module, trainer: Callable
) -> None:
    config = method_config(model, "adalora", r=2, init_r=4)
    watch, stock = Watch(), Watch()
    ours = trainer(copy.deepcopy(model), [watch], gamma=gamma, peft_config=copy.deepcopy(config))
    ours.train()
    allocator = ours.model.base_model.rankallocator
    assert watch.ranks == [allocator.budget_schedule(step)[0] for step in range(1, STEPS + 1)]
    assert watch.ranks[-1] == 2 * LAYERS
    assert default_schedule(STEPS).items() <= ours.model.peft_config["default"].to_dict().items()

    trainer(copy.deepcopy(model), [stock], SFTTrainer, peft_config=config).train()
    assert stock.ranks == [4 * LAYERS] * STEPS


def test_the_penalty_counts_once_a_step_and_stock_trl_has_none(
    wrap: Callable, trainer: Callable, data: Dataset, relative_error: Callable
) -> None:
    def first(accumulation: int, kind: type = SemanticWeightedSFTTrainer, weight: float = 0.5, **more: object) -> dict:
        watch, size = Watch(), 8 // accumulation
        options = {"gradient_accumulation_steps": accumulation, "per_device_train_batch_size": size}
        options |= {"max_steps": 2, "max_grad_norm": 0.0, "train_sampling_strategy": "sequential", **more}
        trainer(wrap(orth_reg_weight=weight), [watch], kind, **options).train()
        return watch.gradients[0]

    model = wrap()
    (0.5 * orthogonality(model)).backward()
    penalty = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    for gamma in (0.0, 1.0):
        whole = first(1, gamma=gamma)
        assert relative_error(whole, first(4, gamma=gamma)) <= 1e-6
        found = {name: whole[name] for name in penalty}  # E is 0: what moves A and B is the penalty alone
        assert relative_error(penalty, found) <= 1e-6
    stock = first(4, SFTTrainer)
    assert not any(stock[name].any() for name in penalty)
    assert all(torch.equal(stock[name], g) for name, g in first(4, gamma=0.0, weight=0.0).items())


@pytest.mark.parametrize("stop", [3, 9])
def test_resumed_after_pruning_has_begun_equals_unbroken(
    stop: int, wrap: Callable, trainer: Callable, tmp_path: Path
) -> None:
    def run(name: str, callbacks: list, resume: bool = False) -> SFTTrainer:
        options = {"gamma": 1.0, "gradient_accumulation_steps": 2, "save_strategy": "steps", "save_steps": 3}
        options |= {"warmup_steps": 2, "output_dir": str(tmp_path / name)}
        current = trainer(wrap(lora_dropout=0.2), callbacks, **options)
        current.train(resume_from_checkpoint=resume)
        return current

    unbroken = run("unbroken", [])
    run("resumed", [Watch(stop)])
    torch.manual_seed(99)  # another process starts from another state
    resumed = run("resumed", [], resume=True)
    expected, found = weights(unbroken.model), weights(resumed.model)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert rank(resumed.model) == 2 * LAYERS
    for name in ("loss", "mean_token_accuracy"):
        logs = [[entry[name] for entry in t.state.log_history if name in entry] for t in (unbroken, resumed)]
        assert logs[0] == logs[1]


def test_the_best_model_is_the_one_that_was_best(
    wrap: Callable, trainer: Callable, data: Dataset, model: torch.nn.Module, tmp_path: Path
) -> None:
    class Choose(TrainerCallback):
        """Makes step 5, in the midst of the pruning, the best; it reads the weights that are there then."""

        weights: dict = {}

        def on_evaluate(self, args, state, control, model=None, metrics=None, **kwargs) -> None:
            metrics["eval_chosen"] = -abs(state.global_step - 5)
            if state.global_step == 5:
                self.weights = weights(model)

    choose, each = Choose(), {"eval_steps": 1, "save_steps": 1, "eval_strategy": "steps", "save_strategy": "steps"}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "chosen", "greater_is_better": True}
    callbacks = [choose, EarlyStoppingCallback(early_stopping_patience=2)]
    ours = trainer(wrap(), callbacks, gamma=1.0, eval_dataset=data, **each, **best)
    ours.train()
    assert ours.state.global_step == 7
    found = weights(ours.model)
    assert all(torch.equal(found[name], p) for name, p in choose.weights.items())
    ours.save_model(str(tmp_path / "best"))
    assert not (tmp_path / "best" / STATE_FILE).exists()
    again = PeftModel.from_pretrained(copy.deepcopy(model), tmp_path / "best").eval()
    ids = torch.arange(3, 13)[None]
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, ours.model.eval()(ids).logits)


def test_too_few_steps_are_refused_before_the_base_is_asked(
    wrap: Callable, trainer: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = Dataset.from_list([{"prompt": "Question: Where?\nAnswer:", "completion": " Rome"}])
    monkeypatch.setattr("semantic_trainer.training.preparation.add_old_answers", pytest.fail)
    with pytest.raises(ValueError, match="AdaLoRA has too few steps"):
        trainer(wrap(), [], max_steps=1, gamma=1.0, train_dataset=facts)
