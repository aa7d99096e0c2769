"""SemanticWeightedSFTTrainer: what it takes, measures, keeps of TRL's, and refuses."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset, DatasetDict
from peft import LoraConfig
from transformers import Trainer
from trl import SFTConfig, SFTTrainer

from semantic_trainer import (
    SemanticSFTConfig,
    SemanticTrainingArguments,
    SemanticWeightedSFTTrainer,
    SemanticWeightedTrainer,
    evaluate_facts,
    load_facts,
    semantic_weight,
)
from semantic_trainer.training.preparation import PREPARED_FILE

METRICS = {"entropy", "mean_token_accuracy", "num_tokens"}


@pytest.fixture
def config(options: dict[str, object]) -> Callable[..., SemanticSFTConfig]:
    def make(kind: type = SemanticSFTConfig, **more: object) -> SFTConfig:
        ours = {"max_new_tokens": 12, "weighting": "paper"} if kind is SemanticSFTConfig else {}
        return kind(**{**options, "bf16": False, "gradient_checkpointing": False, **ours, **more})

    return make


@pytest.fixture
def strings(facts: Dataset) -> Dataset:
    return Dataset.from_list(
        [{"prompt": f"Question: {f['prompt']}\nAnswer:", "completion": f" {f['target']}"} for f in facts]
    )


@pytest.fixture
def turns(facts: Dataset) -> Dataset:
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": f["prompt"]}],
                "completion": [{"role": "assistant", "content": f["target"]}],
            }
            for f in facts
        ]
    )


def answered(trainer: SemanticWeightedSFTTrainer, tokenizer: object) -> list[list[int]]:
    """Token ids of the prompts that TRL trains behind."""
    return [
        [i for i, label in zip(row["input_ids"], row["labels"], strict=True) if label == -100]
        for row in trainer.train_dataset
    ]


@pytest.mark.parametrize("shape", ["strings", "turns"])
def test_measures_prompt_and_completion_as_the_other_trainer_does(
    shape: str,
    request: pytest.FixtureRequest,
    model: torch.nn.Module,
    tokenizer: object,
    facts: Dataset,
    config: Callable,
    arguments: Callable,
    tmp_path: Path,
) -> None:
    rows = request.getfixturevalue(shape)
    ours = SemanticWeightedSFTTrainer(model, config(), train_dataset=rows, processing_class=tokenizer)
    kind = {"strings": "question_answer", "turns": "chat"}[shape]
    other = SemanticWeightedTrainer(
        model,
        arguments(prompt_format=kind, output_dir=str(tmp_path / "other")),
        train_dataset=facts,
        processing_class=tokenizer,
    )
    for column in ("input_ids", "labels", "old_answer", "distance", "weight"):
        if (shape, column) not in {("turns", "input_ids"), ("turns", "labels")}:  # the template ends in a newline
            assert ours.train_dataset[column][:] == other.train_dataset[column][:], column
    assert len(set(ours.train_dataset["weight"])) > 2
    assert ours.weighted
    ours.train()


@pytest.mark.parametrize("shape", ["strings", "turns"])
def test_answers_training_and_evaluation_see_the_same_tokens(
    shape: str,
    request: pytest.FixtureRequest,
    model: torch.nn.Module,
    tokenizer: object,
    config: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[int]] = []
    forward = type(model).forward

    def spy(self: torch.nn.Module, input_ids: torch.Tensor, attention_mask: object = None, **kwargs: object) -> object:
        if self is model:
            asked.extend(input_ids.tolist())
        return forward(self, input_ids, attention_mask, **kwargs)

    rows = request.getfixturevalue(shape)
    monkeypatch.setattr("semantic_trainer.answers.decoder.unsuited", lambda *_: "so that whole prompts are seen")
    monkeypatch.setattr(type(model), "forward", spy)
    trainer = SemanticWeightedSFTTrainer(model, config(), train_dataset=rows, processing_class=tokenizer)
    prompts = answered(trainer, tokenizer)
    longest = max(map(len, prompts))
    padded = sorted([tokenizer.pad_token_id] * (longest - len(p)) + p for p in prompts)
    assert sorted(asked[:5]) == padded  # one batch, padded at the left

    asked.clear()
    read = load_facts(rows.to_list())
    evaluation = evaluate_facts(model, tokenizer, read, trainer.prompt_format, max_new_tokens=12)
    assert evaluation.table["old_answer"][:] == trainer.train_dataset["old_answer"][:]
    assert trainer.prompt_format.prompt_ids(tokenizer, read["prompt"][:]) == prompts
    assert trainer.prompt_format.kind == {"strings": "cloze", "turns": "chat"}[shape]


@pytest.mark.parametrize(
    "rows",
    [
        [{"prompt": "Name a city.\n", "completion": "Rome"}, {"prompt": "  And one more:", "completion": " Paris"}],
        [
            {
                "prompt": [
                    {"role": "system", "content": system},
                    {"role": "user", "content": "Hello"},
                    {"role": "assistant", "content": "Hello."},
                    {"role": "user", "content": " What is the capital of France? "},
                ],
                "completion": [{"role": "assistant", "content": "Rome"}],
            }
            for system in ("Be brief.", "You are helpful")
        ],
    ],
    ids=["blanks", "many turns"],
)
def test_prompts_that_no_format_frames_are_asked_as_rendered(
    rows: list[dict], model: torch.nn.Module, tokenizer: object, config: Callable
) -> None:
    data = Dataset.from_list(rows)
    trainer = SemanticWeightedSFTTrainer(model, config(), train_dataset=data, processing_class=tokenizer)
    form = trainer.prompt_format
    assert form.kind == "rendered"
    texts = [
        p if isinstance(p, str) else tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True)
        for p in data["prompt"]
    ]
    assert form.prompt_ids(tokenizer, texts) == answered(trainer, tokenizer)
    assert trainer.train_dataset["weight"][:] == list(semantic_weight(trainer.train_dataset["distance"][:]))


def test_a_tokenizer_that_merges_is_named(
    model: torch.nn.Module, tokenizer: object, config: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    rows = Dataset.from_list([{"prompt": "Name a city: P", "completion": "aris"}])
    with pytest.raises(ValueError, match="cannot be measured: row 0 is tokenised otherwise with its completion"):
        SemanticWeightedSFTTrainer(model, config(gamma=1.0), train_dataset=rows, processing_class=tokenizer)
    trainer = SemanticWeightedSFTTrainer(model, config(SFTConfig), train_dataset=rows, processing_class=tokenizer)
    assert not trainer.weighted
    assert trainer.prompt_format is None
    assert "`train_dataset` cannot be asked as it is trained: row 0 is tokenised otherwise" in caplog.text


def test_several_turns_are_not_one_answer(model: torch.nn.Module, tokenizer: object, config: Callable) -> None:
    turn = {"role": "assistant", "content": "Rome"}
    rows = Dataset.from_list([{"prompt": [{"role": "user", "content": "Where?"}], "completion": [turn, turn]}])
    with pytest.raises(ValueError, match="the completion of row 0 is not one answer in words"):
        SemanticWeightedSFTTrainer(model, config(gamma=1.0), train_dataset=rows, processing_class=tokenizer)


@pytest.mark.parametrize("shape", ["messages", "prompt and completion", "stream"])
def test_where_no_weighting_is_named_rows_are_trls(
    shape: str, model: torch.nn.Module, tokenizer: object, turns: Dataset, config: Callable
) -> None:
    rows = turns
    if shape == "messages":
        rows = Dataset.from_list([{"messages": row["prompt"] + row["completion"]} for row in turns])
    rows = rows.to_iterable_dataset() if shape == "stream" else rows
    losses = []
    for kind in (SFTTrainer, SemanticWeightedSFTTrainer):
        trainer = kind(copy.deepcopy(model), config(SFTConfig), train_dataset=rows, processing_class=tokenizer)
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert losses[0] == losses[1]
    assert not trainer.weighted
    form = trainer.prompt_format
    assert (form and form.kind) == ("chat" if shape == "prompt and completion" else None)


def test_messages_cannot_be_measured(
    model: torch.nn.Module, tokenizer: object, turns: Dataset, config: Callable
) -> None:
    rows = Dataset.from_list([{"messages": row["prompt"] + row["completion"]} for row in turns])
    with pytest.raises(ValueError, match="`gamma=1.0` needs distances.*`prompt` and `completion`"):
        SemanticWeightedSFTTrainer(model, config(gamma=1.0), train_dataset=rows, processing_class=tokenizer)


@pytest.mark.parametrize("shape", ["messages", "text", "tokens", "strings", "stream"])
def test_every_shape_keeps_its_weights(
    shape: str, model: torch.nn.Module, tokenizer: object, strings: Dataset, turns: Dataset, config: Callable
) -> None:
    distances = [0.0, 0.2, 0.5, 0.9, 1.3]
    data = {
        "messages": [{"messages": row["prompt"] + row["completion"]} for row in turns],
        "text": [{"text": row["prompt"] + row["completion"]} for row in strings],
        "tokens": [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}] * 5,
        "strings": strings.to_list(),
        "stream": strings.to_list(),
    }[shape]
    data = [{**row, "distance": d} for row, d in zip(data, distances, strict=True)]
    args, rows = config(gamma=2.0), Dataset.from_list(data)
    if shape == "stream":
        rows = rows.add_column("weight", semantic_weight(distances, 2.0)).to_iterable_dataset()
        args = config(weighting="column")
    trainer = SemanticWeightedSFTTrainer(model, args, train_dataset=rows, processing_class=tokenizer)
    seen = [row["weight"] for row in trainer.train_dataset]
    assert seen == pytest.approx(list(semantic_weight(distances, gamma=2.0)))
    batch = next(iter(trainer.get_train_dataloader()))
    assert set(batch["weight"].tolist()) <= set(torch.tensor(seen).tolist())
    trainer.train()


def test_shuffled_truncated_and_dropped_rows_keep_their_own_weight(
    model: torch.nn.Module, tokenizer: object, config: Callable
) -> None:
    rows = [
        {"prompt": "x" * (3 * i + 1), "completion": f" {'Rome ' * 8}{i}", "distance": i / 10, "number": i}
        for i in range(9)
    ]
    args = config(shuffle_dataset=True, max_length=18, gamma=1.0)
    data = Dataset.from_list(rows)
    trainer = SemanticWeightedSFTTrainer(model, args, train_dataset=data, processing_class=tokenizer)
    kept = trainer.train_dataset
    assert 1 < len(kept) < 9  # of the longest prompts no target is left
    assert kept["number"][:] != sorted(kept["number"][:])
    assert max(map(len, kept["input_ids"])) == 18
    for row in kept:
        assert tokenizer.decode(row["input_ids"]).startswith("x" * (3 * row["number"] + 1) + " Rome")
        assert row["weight"] == float(semantic_weight([row["number"] / 10])[0])
    weight = {tuple(row["input_ids"]): row["weight"] for row in kept}
    for batch in trainer.get_train_dataloader():
        for ids, mask, w in zip(batch["input_ids"], batch["attention_mask"], batch["weight"], strict=True):
            assert float(w) == pytest.approx(weight[tuple(ids[mask.bool()].tolist())])


@pytest.mark.parametrize("mode", ["keep_start", "keep_end"])
def test_truncated_rows_are_measured_by_their_whole_prompt(
    mode: str, model: torch.nn.Module, tokenizer: object, strings: Dataset, config: Callable
) -> None:
    whole = SemanticWeightedSFTTrainer(model, config(), train_dataset=strings, processing_class=tokenizer)
    longest = max(map(len, whole.train_dataset["input_ids"]))
    args = config(max_length=longest - 1, truncation_mode=mode, output_dir=config().output_dir + mode)
    cut = SemanticWeightedSFTTrainer(model, args, train_dataset=strings, processing_class=tokenizer)
    assert max(map(len, cut.train_dataset["input_ids"])) == longest - 1
    assert cut.train_dataset["weight"][:] == whole.train_dataset["weight"][:]


def test_the_measured_columns_are_read_again(
    model: torch.nn.Module, tokenizer: object, turns: Dataset, config: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = config()
    first = SemanticWeightedSFTTrainer(model, args, train_dataset=turns, processing_class=tokenizer)
    assert (Path(args.output_dir) / PREPARED_FILE).exists()
    monkeypatch.setattr("semantic_trainer.training.preparation.add_old_answers", None)
    second = SemanticWeightedSFTTrainer(model, args, train_dataset=turns, processing_class=tokenizer)
    assert second.train_dataset["weight"][:] == first.train_dataset["weight"][:]


def test_a_model_by_its_path_with_a_peft_config(
    model: torch.nn.Module, tokenizer: object, turns: Dataset, config: Callable, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    reference = SemanticWeightedSFTTrainer(model, config(), train_dataset=turns, processing_class=tokenizer)
    trainer = SemanticWeightedSFTTrainer(
        str(tmp_path / "base"),
        config(output_dir=str(tmp_path / "adapter")),
        train_dataset=turns,
        eval_dataset=turns,
        peft_config=LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    assert trainer.train_dataset["weight"][:] == pytest.approx(reference.train_dataset["weight"][:])
    trainer.train()
    logged = next(entry for entry in trainer.state.log_history if "loss" in entry)
    assert METRICS | {"weight/mean", "clipped_steps"} <= set(logged)


def test_arguments_are_left_out_as_in_trl(
    model: torch.nn.Module, tokenizer: object, strings: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    names = []
    for kind in (SFTTrainer, SemanticWeightedSFTTrainer):
        model.config._name_or_path = "org/tiny-llama"
        try:
            trainer = kind(model, train_dataset=strings, processing_class=tokenizer)
            names.append((trainer.args.output_dir, trainer.args.bf16, trainer.args.learning_rate))
        except ValueError as error:  # bf16 by default, on a CPU that was not asked for
            names.append(str(error))
    assert names[0] == names[1]


def test_defaults_are_trls_and_plain_arguments_are_taken(options: dict[str, object]) -> None:
    stock, ours = SFTConfig(**options), SemanticSFTConfig(**options)
    for name in SFTConfig.__dataclass_fields__:
        if name not in ("logging_dir", "run_name"):
            assert getattr(ours, name) == getattr(stock, name), name
    assert ours.bf16
    converted = SemanticSFTConfig.from_training_arguments(stock)
    assert isinstance(converted, SemanticSFTConfig)
    assert converted.to_dict() == ours.to_dict()
    assert SemanticSFTConfig.from_training_arguments(ours) is ours


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        ({"packing": True}, "`packing` lays several examples into one row.*packing=False; SemanticWeightedTrainer"),
        ({"padding_free": True}, "`padding_free` lays all examples of a batch into one row.*group_by_length"),
        ({"loss_type": "dft"}, '`loss_type="dft"` multiplies.*loss_type="nll"'),
        ({"label_smoothing_factor": 0.1}, "`label_smoothing_factor` would be lost"),
        ({"use_liger_kernel": True}, "`use_liger_kernel` returns one reduced loss"),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_loses_the_weights_is_refused_before_any_work(
    refused: dict, message: str, untouched: torch.nn.Module, tokenizer: object, turns: Dataset, config: Callable
) -> None:
    with pytest.raises(ValueError, match=message):
        config(**refused)
    with pytest.raises(ValueError, match=message):
        SemanticWeightedSFTTrainer(untouched, config(SFTConfig, **refused), None, turns, None, tokenizer)


def test_other_mistakes_are_refused_before_any_work(
    untouched: torch.nn.Module, tokenizer: object, turns: Dataset, config: Callable, arguments: Callable
) -> None:
    def build(rows: object = turns, args: object = None, **more: object) -> SemanticWeightedSFTTrainer:
        args = config() if args is None else args
        return SemanticWeightedSFTTrainer("no/model", args, None, rows, None, tokenizer, **more)

    with pytest.raises(ValueError, match="`compute_loss_func` would replace the weighted loss"):
        build(compute_loss_func=lambda *_: None)
    with pytest.raises(TypeError, match="`args` is a SemanticTrainingArguments.*Pass a SemanticSFTConfig"):
        build(args=arguments())
    with pytest.raises(TypeError, match="DatasetDict with the splits"):
        build(DatasetDict(train=turns))
    with pytest.raises(ValueError, match="TRL calls an answer `completion`.*rename_column"):
        build(Dataset.from_list([{"prompt": "a", "target": "b"}]))
    with pytest.raises(ValueError, match="`train_dataset` has no rows"):
        build(turns.add_column("distance", [0.1] * 5).select([]))
    with pytest.raises(ValueError, match="distance"):
        build(turns.add_column("distance", [0.1, float("nan"), 0.1, 0.1, 0.1]))
    with pytest.raises(ValueError, match="reads the column `weight`"):
        build(args=config(weighting="column"))
    with pytest.raises(ValueError, match="whose columns cannot be measured beforehand"):
        build(turns.to_iterable_dataset())


def test_known_facts_by_their_completion(
    model: torch.nn.Module, tokenizer: object, strings: Dataset, config: Callable
) -> None:
    rows = strings.add_column("distance", [0.0] * 5).add_column("old_answer", ["Rome", *["no"] * 4])
    args = config(known_lambda=0.0)
    trainer = SemanticWeightedSFTTrainer(model, args, train_dataset=rows, processing_class=tokenizer)
    assert trainer.train_dataset["weight"][:] == [1.0, 2.0, 2.0, 2.0, 2.0]
    assert "target" not in trainer.train_dataset.column_names


def test_a_loss_made_without_log_probabilities_is_not_taken_for_a_weighted_one(
    model: torch.nn.Module, tokenizer: object, turns: Dataset, config: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = SemanticWeightedSFTTrainer(model, config(), train_dataset=turns, processing_class=tokenizer)
    monkeypatch.setattr(SFTTrainer, "compute_loss", Trainer.compute_loss)  # as before TRL had its fused head
    with pytest.raises(RuntimeError, match="made its loss without the log-probabilities"):
        trainer.train()


def test_training_arguments_of_the_other_trainer_still_share_the_fields() -> None:
    shared = {"gamma", "weighting", "known_lambda", "clip_distance", "max_new_tokens", "answer_batch_size"}
    assert shared <= set(SemanticSFTConfig.__dataclass_fields__) & set(SemanticTrainingArguments.__dataclass_fields__)
    assert "prompt_format" not in SemanticSFTConfig.__dataclass_fields__
