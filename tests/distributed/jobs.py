"""What one process and two processes must do alike; run in this process and, by `worker.py`, under torchrun."""

import copy
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from semantic_trainer import (
    PromptFormat,
    SemanticSFTConfig,
    SemanticTrainingArguments,
    SemanticWeightedSFTTrainer,
    SemanticWeightedTrainer,
    add_old_answers,
    evaluate_facts,
    load_facts,
)
from semantic_trainer.batching.positions import predicting_positions
from semantic_trainer.training.data_collator import FactCollator

from ..conftest import byte_level_tokenizer

GEOMETRIES = [(n, steps) for n in (7, 8) for steps in (1, 2, 4)]
TOKENIZER = byte_level_tokenizer()
CITIES = ["Rome", "Berlin", "Paris", "Lisbon", "Madrid"]


def tiny_llama(scale: float = 1.0) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 512}
    ids = {"bos_token_id": None, "eos_token_id": TOKENIZER.eos_token_id, "pad_token_id": TOKENIZER.pad_token_id}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=len(TOKENIZER), initializer_range=0.2 * scale, **sizes, **heads, **ids)
    )


def with_lora(model: torch.nn.Module, initialised: bool = True) -> PeftModel:
    """`initialised=False` starts B away from zero, so that every adapter weight has a gradient."""
    torch.manual_seed(1)
    modules = ["q_proj", "v_proj", "down_proj"]
    return get_peft_model(
        model, LoraConfig(r=4, target_modules=modules, task_type="CAUSAL_LM", init_lora_weights=initialised)
    )


def rows(n: int) -> Dataset:
    """Ragged tokenised rows with distances over [0, 1.2]."""
    rng = torch.Generator().manual_seed(7)
    out = []
    for i in range(n):
        prompt, target = (int(torch.randint(low, high, (1,), generator=rng)) for low, high in ((3, 9), (1, 5)))
        ids = torch.randint(3, 250, (prompt + target,), generator=rng).tolist()
        out.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:], "distance": 1.2 * i / (n - 1)})
    return Dataset.from_list(out)


def facts() -> Dataset:
    return load_facts(
        [
            {
                "prompt": f"What is the capital of land {i}{'!' * (i % 4)}?",
                "target": CITIES[i % 5],
                "paraphrases": [f"Which city is the seat of land {i}?"],
                "locality_prompts": [f"How many legs has spider {i}?"],
            }
            for i in range(11)
        ]
    )


class Recorder(TrainerCallback):
    """Gradients of every optimizer step before clipping; stops after `stop` steps."""

    def __init__(self, stop: int | None = None) -> None:
        self.steps, self.stop = [], stop

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs) -> None:
        self.steps.append({n: p.grad.detach().clone() for n, p in model.named_parameters() if p.grad is not None})

    def on_step_end(self, args, state, control, **kwargs) -> None:
        control.should_training_stop |= state.global_step == self.stop


def arguments(out: Path, world_size: int, kind: type = SemanticTrainingArguments, **options: object) -> object:
    """Two rows a micro-batch over all processes, whatever their number."""
    fixed = {
        "per_device_train_batch_size": 2 // world_size,
        "learning_rate": 1e-2,
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "report_to": "none",
        "max_new_tokens": 8,
        "answer_batch_size": 3,
        "weighting": "paper",
    }
    if kind is SemanticSFTConfig:
        fixed |= {"bf16": False}  # TRL's default
    return kind(str(out), **{**fixed, **options})


def gradients(
    out: Path,
    world_size: int,
    n: int,
    accumulation: int,
    collator: object = None,
    batching: str | None = None,
    weighting: str = "paper",
) -> dict:
    """Two shuffled epochs, of tokenised rows or, where a batching is named, of facts."""
    recorder, data = Recorder(), rows(n)
    options = {"gradient_accumulation_steps": accumulation, "num_train_epochs": 2, "weighting": weighting}
    options |= {"gamma": 2.0} if weighting == "paper" else {"learning_history": True}
    if batching:
        data = facts().select(range(n)).add_column("distance", [0.1 * i for i in range(n)])
        options |= {"batching": batching, "prompt_format": "question_answer", "per_device_train_batch_size": 4}
        options["per_device_train_batch_size"] //= world_size
    args = arguments(out, world_size, **options)
    model = with_lora(tiny_llama(0.1), initialised=False)
    trainer = SemanticWeightedTrainer(
        model,
        args,
        collator,
        train_dataset=data,
        processing_class=TOKENIZER if batching else None,
        callbacks=[recorder],
    )
    shared = "segment_ids" in next(iter(trainer.get_train_dataloader()))
    assert shared == (batching == "shared_prefix")
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    wrapped = trainer.model_wrapped
    history = trainer.history and [trainer.history.losses.tolist(), trainer.history.worst.tolist()]
    return {
        "history": history,
        "steps": recorder.steps,
        "losses": losses,
        "searches": getattr(wrapped, "find_unused_parameters", None),
    }


def sft(out: Path, world_size: int) -> dict:
    """TRL's trainer: gradients of two shuffled epochs, and the weights it has measured itself."""
    recorder, model = Recorder(), with_lora(tiny_llama(0.1), initialised=False)
    options = {"gamma": 2.0, "gradient_accumulation_steps": 2, "num_train_epochs": 2, "kind": SemanticSFTConfig}
    data = Dataset.from_list(
        [{"prompt": f"Question: {f['prompt']}\nAnswer:", "completion": f" {f['target']}"} for f in facts()]
    )
    args = arguments(out / "sft", world_size, **options)
    trainer = SemanticWeightedSFTTrainer(
        model, args, train_dataset=data, processing_class=TOKENIZER, callbacks=[recorder]
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    metrics = [[entry[name] for name in ("entropy", "mean_token_accuracy")] for entry in logged]
    losses, weights = [entry["loss"] for entry in logged], trainer.train_dataset["weight"][:]
    return {"steps": recorder.steps, "losses": losses, "weights": weights, "metrics": metrics}


class LabelsFromIds(FactCollator):
    """A user's collator that makes every label itself, so that a filler's labels come out of it like any row's."""

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
        return super().__call__([{**feature, "labels": list(feature["input_ids"])} for feature in features])


def evaluation(out: Path, world_size: int) -> dict:
    model = with_lora(tiny_llama(), initialised=False)
    form = PromptFormat.question_answer()
    old = add_old_answers(facts(), model, TOKENIZER, form, max_new_tokens=8, batch_size=3)
    found = evaluate_facts(model, TOKENIZER, facts(), form, max_new_tokens=8, batch_size=3)
    return {"old": old.to_list(), "table": found.table.to_list(), "summary": found.summary}


def preparation(out: Path, world_size: int) -> dict:
    """The trainer answers, measures and weighs by itself, twice: the second time from its file."""
    out = out / "prepared"
    columns = []
    for _ in range(2):
        args = arguments(out, world_size, prompt_format="question_answer")
        trainer = SemanticWeightedTrainer(
            with_lora(tiny_llama()), args, train_dataset=facts(), processing_class=TOKENIZER
        )
        columns.append(trainer.train_dataset.select_columns(["old_answer", "distance", "weight"]).to_list())
    return {"first": columns[0], "second": columns[1]}


def resumed(out: Path, world_size: int, stop: int | None) -> dict[str, torch.Tensor]:
    """The adapter after eight steps, in one go or in two."""
    options = {"gradient_accumulation_steps": 2, "max_steps": 8, "save_strategy": "steps", "save_steps": 3}
    options |= {"optim": "adamw_torch", "max_grad_norm": 1.0, "lr_scheduler_type": "cosine"}

    def trainer(callbacks: list) -> SemanticWeightedTrainer:
        args = arguments(out / f"resumed-{stop}", world_size, gamma=1.0, **options)
        return SemanticWeightedTrainer(with_lora(tiny_llama()), args, train_dataset=rows(7), callbacks=callbacks)

    current = trainer([Recorder(stop)])
    current.train()
    if stop:
        torch.manual_seed(99)  # another process starts from another state
        current = trainer([])
        current.train(resume_from_checkpoint=True)
    return {name: p.detach().clone() for name, p in current.model.named_parameters() if p.requires_grad}


def sharded(out: Path, world_size: int, rank: int) -> dict:
    """Gradients of one weighted batch; with two processes from parameters that `fully_shard` has split."""
    model = with_lora(tiny_llama(0.1), initialised=False)
    trainer = SemanticWeightedTrainer(model, arguments(out, 1, gamma=2.0), train_dataset=rows(8))
    features = trainer.train_dataset.select_columns(["input_ids", "labels", "weight"]).to_list()
    whole = trainer.training_collator()(copy.deepcopy(features))
    tokens = predicting_positions(whole["labels"]).sum()
    kinds = set()
    if world_size > 1:
        from torch.distributed.fsdp import fully_shard

        for layer in model.get_base_model().model.layers:
            fully_shard(layer)
        fully_shard(model)
        kinds = {type(p).__name__ for p in model.parameters()}
    model.train()
    trainer.model = trainer.model_wrapped = model
    batch = trainer.training_collator()(features[rank::world_size])
    loss = trainer.compute_loss(model, batch, num_items_in_batch=tokens)
    loss.backward()
    named = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
    grads = {name: getattr(grad, "full_tensor", lambda grad=grad: grad)().clone() for name, grad in named}
    return {"kinds": kinds, "gradients": grads, "loss": loss.detach()}


def one_fact(out: Path, world_size: int) -> dict[str, object]:
    """Why one fact cannot be trained on; it can be asked and evaluated."""
    said = []
    one = facts().select([0])
    data = Dataset.from_list([{"prompt": "Where? ", "completion": "Rome", "distance": 0.5}])
    for kind, args, train in (
        (SemanticWeightedTrainer, SemanticTrainingArguments, one),
        (SemanticWeightedSFTTrainer, SemanticSFTConfig, data),
    ):
        try:
            kind(tiny_llama(), arguments(out, world_size, args), train_dataset=train, processing_class=TOKENIZER)
        except ValueError as error:
            said.append(str(error))
    model = with_lora(tiny_llama(), initialised=False)
    form = PromptFormat.question_answer()
    return {"said": said, "summary": evaluate_facts(model, TOKENIZER, one, form, max_new_tokens=8).summary}


def run_all(out: Path, rank: int, world_size: int) -> dict:
    results = {f"gradients-{n}-{steps}": gradients(out, world_size, n, steps) for n, steps in GEOMETRIES}
    results["own collator"] = gradients(out, world_size, 7, 2, LabelsFromIds())
    results["shared"] = gradients(out, world_size, 9, 2, batching="shared_prefix")
    results["paced"] = gradients(out, world_size, 9, 2, batching="shared_prefix", weighting="self_paced")
    results["sft"] = sft(out, world_size)
    results["evaluation"] = evaluation(out, world_size)
    results["preparation"] = preparation(out, world_size)
    results["unbroken"] = resumed(out, world_size, None)
    results["resumed"] = resumed(out, world_size, 3)
    results["one fact"] = one_fact(out, world_size)
    results["sharded"] = sharded(out, world_size, rank)
    return results
