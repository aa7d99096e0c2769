"""AdaLoRA in training: the rank falls to its target, the penalty counts once, and a checkpoint goes on exactly."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import AdaLoraConfig, PeftModel, get_peft_model
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback

from semantic_trainer import SemanticTrainingArguments, SemanticWeightedTrainer
from semantic_trainer.training.checkpoints import STATE_FILE
from semantic_trainer.training.data_collator import FactCollator
from semantic_trainer.training.training_args import optimizer_steps
from semantic_trainer.tuners.adalora import (
    AdaLoraCallback,
    check_schedule,
    default_schedule,
    orthogonality,
    orthogonality_penalty,
)
from semantic_trainer.tuners.methods import method_config

LAYERS = 14  # two blocks of seven linear layers
STEPS = 12


@pytest.fixture
def wrap(tiny: Callable) -> Callable[..., PeftModel]:
    """AdaLoRA from rank 4 down to 2 on a tiny llama; E starts at 0, so A has no gradient in the first step."""

    def make(**options: object) -> PeftModel:
        torch.manual_seed(1)
        model = tiny("llama")
        return get_peft_model(model, method_config(model, "adalora", r=2, **{"init_r": 4, **options}))

    return make


@pytest.fixture
def data() -> Dataset:
    rng = torch.Generator().manual_seed(0)
    rows = [torch.randint(2, 61, (5 + i % 3,), generator=rng).tolist() for i in range(8)]
    return Dataset.from_list(
        [{"input_ids": row, "labels": [-100] * 3 + row[3:], "distance": 0.15 * i} for i, row in enumerate(rows)]
    )


@pytest.fixture
def arguments(tmp_path: Path) -> Callable[..., SemanticTrainingArguments]:
    def make(name: str = "out", **options: object) -> SemanticTrainingArguments:
        fixed = {"max_steps": STEPS, "per_device_train_batch_size": 2, "learning_rate": 0.02, "save_strategy": "no"}
        fixed |= {"use_cpu": True, "disable_tqdm": True, "report_to": "none", "logging_steps": 1}
        return SemanticTrainingArguments(str(tmp_path / name), **{**fixed, **options})

    return make


class Watch(TrainerCallback):
    """Singular values that are not 0, and gradients, of every step; stops after `stop` of them."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.ranks, self.gradients = stop, [], []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs) -> None:
        self.gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})

    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        self.ranks.append(rank(model))
        control.should_training_stop |= state.global_step == self.stop


def rank(model: torch.nn.Module) -> int:
    """Singular values of all layers that are not 0."""
    return sum(int((p != 0).sum()) for name, p in model.named_parameters() if "lora_E" in name)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.arange(2, 12)[None]).logits


def reloaded(folder: Path, tiny: Callable, **how: object) -> PeftModel:
    return PeftModel.from_pretrained(tiny("llama"), folder, **how)


def test_the_rank_falls_to_its_target_and_stock_trainer_never_prunes(
    wrap: Callable, data: Dataset, arguments: Callable
) -> None:
    watch = Watch()
    trainer = SemanticWeightedTrainer(wrap(), arguments(gamma=1.0), train_dataset=data, callbacks=[watch])
    trainer.train()
    schedule = default_schedule(STEPS)
    assert schedule == {"tinit": 1, "tfinal": 6, "deltaT": 1}
    budgets = [trainer.model.base_model.rankallocator.budget_schedule(step)[0] for step in range(1, STEPS + 1)]
    assert watch.ranks == budgets
    assert (watch.ranks[0], watch.ranks[STEPS - schedule["tfinal"] - 1], watch.ranks[-1]) == (
        *(4 * LAYERS, 2 * LAYERS, 2 * LAYERS),
    )
    assert watch.ranks == sorted(watch.ranks, reverse=True)
    assert trainer.model.peft_config["default"].total_step == STEPS

    stock = Watch()
    data = data.remove_columns("distance")
    trainer = Trainer(wrap(), arguments(gamma=0.0), FactCollator(), train_dataset=data, callbacks=[stock])
    trainer.train()
    assert stock.ranks == [4 * LAYERS] * STEPS
    assert trainer.model.peft_config["default"].rank_pattern is None


def test_the_callback_prunes_under_stock_trainer_too(wrap: Callable, data: Dataset, arguments: Callable) -> None:
    watch, data = Watch(), data.remove_columns("distance")
    Trainer(wrap(), arguments(), FactCollator(), train_dataset=data, callbacks=[AdaLoraCallback(), watch]).train()
    assert watch.ranks[-1] == 2 * LAYERS
    own = Watch()
    SemanticWeightedTrainer(wrap(), arguments(gamma=0.0), train_dataset=data, callbacks=[own]).train()
    assert own.ranks == watch.ranks


def test_a_schedule_that_was_given_is_kept(wrap: Callable, data: Dataset, arguments: Callable, caplog) -> None:
    watch = Watch()
    model = wrap(tinit=3, tfinal=2, deltaT=4, total_step=50)
    SemanticWeightedTrainer(model, arguments(gamma=1.0), train_dataset=data, callbacks=[watch]).train()
    assert "`total_step` is 12, the number of steps, and not 50" in caplog.text
    allocator = model.base_model.rankallocator
    pruned = [allocator.budget_schedule(step)[0] for step in (4, 8)]
    assert [watch.ranks[i] for i in (2, 3, 7, 9, 10, 11)] == [4 * LAYERS, *pruned, *[2 * LAYERS] * 3]
    assert watch.ranks[4] == 4 * LAYERS  # between two prunings they grow again


def test_orthogonality_is_what_peft_adds_to_its_loss(wrap: Callable) -> None:
    model, ids = wrap(orth_reg_weight=0.7), torch.arange(2, 12)[None]
    with torch.no_grad():
        theirs = model(ids, labels=ids).loss - model.get_base_model()(ids, labels=ids).loss
    total, n = 0.0, 0
    for name, p in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            rows = (p if "lora_A" in name else p.T).tolist()
            gram = [[sum(a * b for a, b in zip(x, y, strict=True)) - (x is y) for y in rows] for x in rows]
            total, n = total + sum(v * v for row in gram for v in row) ** 0.5, n + 1
    assert float(orthogonality(model)) == pytest.approx(total / n, rel=1e-6)
    assert float(theirs) == pytest.approx(0.7 * total / n, rel=1e-5)
    assert float(orthogonality_penalty(model)) == pytest.approx(0.7 * total / n, rel=1e-6)
    assert orthogonality_penalty(model.get_base_model()) == 0.0


def first_gradients(kind: type, model: PeftModel, arguments: Callable, data: Dataset, **options: object) -> dict:
    """Of one step of eight facts."""
    watch, loss = Watch(), options.pop("compute_loss_func", None)
    fixed = {"max_steps": 2, "max_grad_norm": 0.0, "train_sampling_strategy": "sequential"}
    data = data.remove_columns("distance") if kind is Trainer else data
    args = arguments(**{**fixed, **options})
    kind(model, args, FactCollator(), train_dataset=data, callbacks=[watch], compute_loss_func=loss).train()
    return watch.gradients[0]


def test_the_penalty_counts_once_a_step_and_stock_trainer_counts_it_for_each_micro_batch(
    wrap: Callable, data: Dataset, arguments: Callable, relative_error: Callable
) -> None:
    def ours(accumulation: int, weight: float = 0.5) -> dict:
        options = {"gradient_accumulation_steps": accumulation, "per_device_train_batch_size": 8 // accumulation}
        return first_gradients(
            SemanticWeightedTrainer, wrap(orth_reg_weight=weight), arguments, data, gamma=1.0, **options
        )

    whole, parts = ours(1), ours(4)
    assert relative_error(whole, parts) <= 1e-6
    b = next(name for name in whole if "lora_B" in name)  # E is 0: what moves B is the penalty alone
    assert not ours(1, 0.0)[b].any()

    def stock(accumulation: int, **more: object) -> torch.Tensor:
        options = {"gradient_accumulation_steps": accumulation, "per_device_train_batch_size": 8 // accumulation}
        return first_gradients(Trainer, wrap(), arguments, data, **options, **more)[b]

    torch.testing.assert_close(stock(1), whole[b])
    torch.testing.assert_close(stock(4), 4 * whole[b])  # over-counted

    def from_logits(outputs, labels, num_items_in_batch=None):
        return torch.nn.functional.cross_entropy(outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())

    assert not stock(1, compute_loss_func=from_logits).any()  # lost


def test_gamma_0_is_stocks_loss_but_for_the_penalty_that_stock_counts_for_each_micro_batch(
    wrap: Callable, data: Dataset, arguments: Callable, relative_error: Callable
) -> None:
    def first(kind: type, accumulation: int) -> dict:
        options = {"gradient_accumulation_steps": accumulation, "per_device_train_batch_size": 8 // accumulation}
        return first_gradients(kind, wrap(), arguments, data, gamma=0.0, **options)

    ours, stock = (first(kind, 1) for kind in (SemanticWeightedTrainer, Trainer))
    assert all(torch.equal(ours[name], stock[name]) for name in stock)
    ours, stock = (first(kind, 4) for kind in (SemanticWeightedTrainer, Trainer))
    for part, times in (("lora_A", 4), ("lora_B", 4), ("lora_E", 1)):  # E is 0: only E is moved by the task's loss
        found = {name: times * g for name, g in ours.items() if part in name}
        assert relative_error({name: stock[name] for name in found}, found) <= 1e-6


@pytest.fixture
def train(wrap: Callable, data: Dataset, arguments: Callable) -> Callable:
    """A training with dropout, in one go or in two, with checkpoints after every third step."""

    def run(name: str, stop: int | None = None, **options: object) -> SemanticWeightedTrainer:
        def trainer(callbacks: list) -> SemanticWeightedTrainer:
            args = arguments(
                name, gamma=1.0, gradient_accumulation_steps=2, save_strategy="steps", save_steps=3, warmup_steps=2
            )
            return SemanticWeightedTrainer(
                wrap(lora_dropout=0.2, **options), args, train_dataset=data, callbacks=callbacks
            )

        current = trainer([Watch(stop)])
        current.train()
        if stop:
            torch.manual_seed(99)  # another process starts from another state
            current = trainer([])
            current.train(resume_from_checkpoint=True)
        return current

    return run


@pytest.mark.parametrize("options", [{}, {"tinit": 1, "tfinal": 2, "deltaT": 4, "total_step": STEPS}])
@pytest.mark.parametrize("stop", [3, 9])
def test_resumed_after_pruning_has_begun_equals_unbroken(stop: int, options: dict, train: Callable) -> None:
    unbroken, resumed = train("unbroken", **options), train("resumed", stop, **options)
    expected, found = weights(unbroken.model), weights(resumed.model)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert rank(resumed.model) == 2 * LAYERS
    patterns = [trainer.model.peft_config["default"].rank_pattern for trainer in (unbroken, resumed)]
    assert patterns[0] == patterns[1]
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in (unbroken, resumed)]
    assert losses[0] == losses[1]


def test_stock_trainer_cannot_go_on_after_pruning(
    wrap: Callable, data: Dataset, arguments: Callable, tmp_path: Path
) -> None:
    def trainer() -> Trainer:
        args = arguments(save_strategy="steps", save_steps=6)
        return Trainer(wrap(), args, FactCollator(), train_dataset=data, callbacks=[AdaLoraCallback()])

    trainer().train()
    with pytest.raises(RuntimeError, match="size mismatch"):
        trainer().train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-6"))


def test_what_is_saved_is_what_is_in_memory_also_between_two_prunings(
    wrap: Callable, data: Dataset, arguments: Callable, tmp_path: Path, tiny: Callable
) -> None:
    class Keep(TrainerCallback):
        said: dict[int, torch.Tensor] = {}

        def on_save(self, args, state, control, model=None, **kwargs) -> None:
            self.said[state.global_step] = logits(model)
            model.train()

    args = arguments(gamma=1.0, save_strategy="steps", save_steps=1)
    model = wrap(tinit=1, tfinal=2, deltaT=4, total_step=STEPS)
    SemanticWeightedTrainer(model, args, train_dataset=data, callbacks=[Keep()]).train()
    sizes = set()
    for step, said in Keep.said.items():
        saved = reloaded(tmp_path / "out" / f"checkpoint-{step}", tiny)
        sizes.add(sum(len(p) for name, p in saved.named_parameters() if "lora_E" in name))
        torch.testing.assert_close(logits(saved), said)
    assert (min(sizes), max(sizes)) == (2 * LAYERS, 4 * LAYERS)
    model.save_pretrained(tmp_path / "end", save_embedding_layers=False)
    torch.testing.assert_close(logits(reloaded(tmp_path / "end", tiny)), logits(model))


@pytest.mark.parametrize("best", [2, 5, 9])
def test_the_best_model_is_the_one_that_was_best(
    best: int, wrap: Callable, data: Dataset, arguments: Callable, tmp_path: Path, tiny: Callable
) -> None:
    class Choose(TrainerCallback):
        """Makes one step the best; it reads the weights that are there then."""

        weights: dict = {}

        def on_evaluate(self, args, state, control, model=None, metrics=None, **kwargs) -> None:
            metrics["eval_chosen"] = -abs(state.global_step - best)
            if state.global_step == best:
                self.weights = weights(model)

    choose = Choose()
    args = arguments(
        gamma=1.0,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="chosen",
        greater_is_better=True,
    )
    model = wrap(tinit=1, tfinal=2, deltaT=4, total_step=STEPS)
    patience = EarlyStoppingCallback(early_stopping_patience=2)
    trainer = SemanticWeightedTrainer(model, args, train_dataset=data, eval_dataset=data, callbacks=[choose, patience])
    trainer.train()
    assert trainer.state.global_step == min(best + 2, STEPS)
    found = weights(trainer.model)
    assert all(torch.equal(found[name], p) for name, p in choose.weights.items())
    trainer.save_model(str(tmp_path / "best"))
    assert not (tmp_path / "best" / STATE_FILE).exists()
    torch.testing.assert_close(logits(reloaded(tmp_path / "best", tiny)), logits(trainer.model))


def test_a_checkpoint_that_cannot_be_gone_on_with_is_refused(
    train: Callable, wrap: Callable, data: Dataset, arguments: Callable, tmp_path: Path
) -> None:
    train("out")
    checkpoint = tmp_path / "out" / "checkpoint-9"
    state = (checkpoint / STATE_FILE).read_bytes()

    def resume(**options: object) -> None:
        args = arguments("out", gamma=1.0, gradient_accumulation_steps=2)
        SemanticWeightedTrainer(wrap(**options), args, train_dataset=data).train(
            resume_from_checkpoint=str(checkpoint)
        )

    with pytest.raises(ValueError, match="another adapter's: 42 tensors, first .*lora_A.* of another shape"):
        resume(init_r=5)
    (checkpoint / STATE_FILE).write_bytes(state[:1000])
    with pytest.raises(ValueError, match="is torn .* earlier checkpoint"):
        resume()
    (checkpoint / STATE_FILE).unlink()
    with pytest.raises(ValueError, match=f"checkpoint-9' has no {STATE_FILE}, without which"):
        resume()


def test_what_cannot_be_pruned_is_refused_before_any_work(
    wrap: Callable, tiny: Callable, data: Dataset, arguments: Callable
) -> None:
    with pytest.raises(ValueError, match=r"too few steps.*`tinit` = 5 and until step 2, 12 .* less `tfinal` = 10"):
        SemanticWeightedTrainer(wrap(tinit=5, tfinal=10), arguments(gamma=1.0), train_dataset=data)
    with pytest.raises(ValueError, match="AdaLoRA has too few steps"):
        SemanticWeightedTrainer(wrap(), arguments(gamma=1.0, max_steps=1), train_dataset=data)
    args, callbacks = arguments(max_steps=1), [AdaLoraCallback()]
    trainer = Trainer(wrap(), args, FactCollator(), train_dataset=data, callbacks=callbacks)
    with pytest.raises(ValueError, match="AdaLoRA has too few steps"):
        trainer.train()
    even = AdaLoraConfig(init_r=3, target_r=3, total_step=9, target_modules=["q_proj"], task_type="CAUSAL_LM")
    with pytest.raises(ValueError, match="`init_r` must be above .* 3 and 3 were passed"):
        SemanticWeightedTrainer(get_peft_model(tiny("llama"), even), arguments(gamma=1.0), train_dataset=data)


def test_a_pruned_adapter_trains_on_and_one_in_the_midst_of_it_does_not(
    wrap: Callable, data: Dataset, arguments: Callable, tmp_path: Path, tiny: Callable, caplog
) -> None:
    trainer = SemanticWeightedTrainer(wrap(), arguments(gamma=1.0), train_dataset=data)
    trainer.train()
    trainer.save_model(str(tmp_path / "pruned"))
    model = reloaded(tmp_path / "pruned", tiny, is_trainable=True)
    before = weights(model)
    again = SemanticWeightedTrainer(model, arguments("again", gamma=1.0), train_dataset=data)
    again.train()
    after = weights(model)
    assert {n: p.shape for n, p in before.items()} == {n: p.shape for n, p in after.items()}
    assert any(not torch.equal(before[name], after[name]) for name in before)
    again.save_model(str(tmp_path / "again"))
    torch.testing.assert_close(logits(reloaded(tmp_path / "again", tiny)), logits(model))

    args = arguments("early", gamma=1.0)
    early = SemanticWeightedTrainer(wrap(), args, train_dataset=data, callbacks=[Watch(stop=4)])
    early.train()
    assert "training ended in step 4, before its pruning did" in caplog.text
    early.save_model(str(tmp_path / "early"))
    torch.testing.assert_close(logits(reloaded(tmp_path / "early", tiny)), logits(early.model))
    with pytest.raises(ValueError, match=r"in the midst of its pruning, at \d+ of 56 .*, 28 being its target"):
        SemanticWeightedTrainer(reloaded(tmp_path / "early", tiny, is_trainable=True), args, train_dataset=data)


@given(st.integers(2, 10**6))
def test_every_number_of_steps_has_a_schedule(steps: int) -> None:
    found = default_schedule(steps)
    check_schedule(steps, **found)
    with pytest.raises(ValueError, match="too few steps"):
        check_schedule(steps, steps - found["tfinal"], found["tfinal"])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 4), st.floats(0.1, 3), st.booleans())
def test_the_number_of_steps_is_trainers(rows: int, batch: int, accumulation: int, epochs: float, drop: bool) -> None:
    args = SemanticTrainingArguments(
        "out",
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=epochs,
        dataloader_drop_last=drop and rows >= batch,
        use_cpu=True,
        report_to="none",
    )
    data = Dataset.from_dict({"input": [[1.0]] * rows})
    trainer = Trainer(torch.nn.Linear(1, 1), args, train_dataset=data)
    *_, expected = trainer.set_initial_training_values(args, trainer.get_train_dataloader())
    assert optimizer_steps(args, data) == expected


def test_the_state_is_beside_every_checkpoint(train: Callable, tmp_path: Path) -> None:
    train("out")
    for checkpoint in (tmp_path / "out").glob("checkpoint-*"):
        assert (checkpoint / STATE_FILE).exists()
        config = json.loads((checkpoint / "adapter_config.json").read_text())
        assert config["total_step"] == STEPS
        assert len(config["rank_pattern"]) == LAYERS
