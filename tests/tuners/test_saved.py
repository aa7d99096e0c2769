"""A saved adapter is checked before it is loaded: what PEFT would load in part, or run, is refused."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from semantic_trainer import SemanticTrainingArguments, SemanticWeightedTrainer
from semantic_trainer.tuners.methods import METHODS, method_config
from semantic_trainer.tuners.saved import check_saved_adapter

from .test_adalora import data  # noqa: F401  (rows to prune on)

ADAPTERS = [method for method in METHODS if method != "full"]


def smaller(model: PreTrainedModel, **sizes: int) -> PreTrainedModel:
    config = copy.deepcopy(model.config)
    for name, size in sizes.items():
        setattr(config, name, size)
    config.layer_types = None
    return type(model)(config)


@pytest.fixture
def save(tiny: Callable, tmp_path: Path) -> Callable[..., Path]:
    def make(method: str = "lora", architecture: str = "llama", **options: object) -> Path:
        model = tiny(architecture)
        model.name_or_path = "company/tiny"
        tuned = get_peft_model(model, method_config(model, method, **options))
        tuned.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
        return tmp_path / "adapter"

    return make


@pytest.mark.parametrize("method", ADAPTERS)
def test_the_model_it_was_trained_on_takes_it(method: str, save: Callable, tiny: Callable) -> None:
    folder, model = save(method), tiny("llama")
    for base in (None, model, model.config):
        assert check_saved_adapter(folder, base).peft_type == method_config(model, method).peft_type
    loaded = PeftModel.from_pretrained(model, folder)
    check_saved_adapter(folder, loaded.get_base_model())  # where another adapter is on already


@pytest.mark.parametrize("method", ADAPTERS)
def test_the_model_of_another_size_does_not(method: str, save: Callable, tiny: Callable) -> None:
    folder, model = save(method), tiny("llama")
    trained = "It was trained on 'company/tiny': load that one"
    with pytest.raises(ValueError, match=f"does not fit this base model.* would have to be .*{trained}"):
        check_saved_adapter(folder, smaller(model, hidden_size=32, intermediate_size=48))
    with pytest.raises(ValueError, match="tensors, first .*layers.1.*, have no place in it"):
        check_saved_adapter(folder, smaller(model, num_hidden_layers=1))
    folder = save(method, target_modules=["o_proj", "down_proj"])
    with pytest.raises(ValueError, match="tensors it would need are missing, first .*layers.2"):
        check_saved_adapter(folder, smaller(model, num_hidden_layers=3))


def test_peft_itself_loads_a_part_of_it(save: Callable, tiny: Callable) -> None:
    """Why names are checked: half of the adapter is lost, without an error."""
    shallow = PeftModel.from_pretrained(smaller(tiny("llama"), num_hidden_layers=1), save())
    assert not any("layers.1" in name for name, _ in shallow.named_parameters())


@pytest.mark.parametrize("names", ["all-linear", ["q_proj"]])
def test_the_model_of_another_architecture_does_not(names: object, save: Callable, tiny: Callable) -> None:
    with pytest.raises(ValueError, match="does not fit this base model, 'GPT2Config': .*(no place|not found)"):
        check_saved_adapter(save(target_modules=names), tiny("gpt2").config)


def test_embeddings_and_heads_saved_with_it_are_the_bases(tiny: Callable, tmp_path: Path) -> None:
    model = tiny("llama")
    config = LoraConfig(target_modules=["q_proj", "lm_head"], modules_to_save=["embed_tokens"], task_type="CAUSAL_LM")
    get_peft_model(copy.deepcopy(model), config).save_pretrained(tmp_path, save_embedding_layers=True)
    check_saved_adapter(tmp_path, model)
    with pytest.raises(ValueError, match=r"is \[61, 16\] and would have to be \[70, 16\]|no place"):
        check_saved_adapter(tmp_path, smaller(model, vocab_size=70))


def test_another_initialisation_and_a_pruned_rank_are_taken(
    tiny: Callable,
    tmp_path: Path,
    data: object,  # noqa: F811
) -> None:
    model = tiny("llama")
    config = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights="orthogonal")
    get_peft_model(copy.deepcopy(model), config).save_pretrained(tmp_path / "lora", save_embedding_layers=False)
    check_saved_adapter(tmp_path / "lora", model)

    tuned = get_peft_model(copy.deepcopy(model), method_config(model, "adalora", r=2, init_r=4))
    args = SemanticTrainingArguments(
        str(tmp_path), max_steps=8, save_strategy="no", use_cpu=True, report_to="none", gamma=1.0, disable_tqdm=True
    )
    trainer = SemanticWeightedTrainer(tuned, args, train_dataset=data)
    trainer.train()
    trainer.save_model(str(tmp_path / "pruned"))
    shapes = {
        t.shape[0] for n, t in safetensors.torch.load_file(tmp_path / "pruned/adapter_model.safetensors").items()
    }
    assert min(shapes) < 4
    check_saved_adapter(tmp_path / "pruned", model)
    with pytest.raises(ValueError, match="does not fit"):
        check_saved_adapter(tmp_path / "pruned", smaller(model, hidden_size=32))


def rewrite(folder: Path, **options: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **options}))


def pickled(folder: Path) -> None:
    """Reading it would run code."""

    class Trap:
        def __reduce__(self) -> tuple:
            return pytest.fail, ("the pickle was read",)

    (folder / "adapter_model.safetensors").unlink()
    torch.save(Trap(), folder / "adapter_model.bin")


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (pickled, ValueError, "weights in adapter_model.bin, a pickle, .* save it again"),
        (lambda f: (f / "adapter_model.safetensors").unlink(), FileNotFoundError, "lacks its file .*safetensors"),
        (lambda f: (f / "adapter_config.json").unlink(), FileNotFoundError, "lacks its file .*adapter_config.json"),
        (shutil.rmtree, FileNotFoundError, "lacks its file"),
        (lambda f: (f / "adapter_config.json").write_text("{"), ValueError, "is torn .* Copy the folder again"),
        (lambda f: (f / "adapter_config.json").write_text("[1]"), ValueError, "is torn"),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"\x08"), ValueError, "is torn"),
        (lambda f: rewrite(f, peft_type="HOULSBI"), ValueError, "'HOULSBI', which PEFT .* mean 'HOULSBY'"),
        (lambda f: rewrite(f, peft_type=None), ValueError, "`peft_type` None"),
        (lambda f: rewrite(f, target_modules=["nowhere"]), ValueError, "does not fit .*nowhere"),
    ],
)
def test_what_is_no_adapter(
    spoil: Callable[[Path], None], error: type, words: str, save: Callable, tiny: Callable
) -> None:
    folder = save()
    spoil(folder)
    with pytest.raises(error, match=words):
        check_saved_adapter(folder, tiny("llama"))


def test_an_adapter_loaded_for_use_is_not_trained(
    save: Callable,
    tiny: Callable,
    data: object,  # noqa: F811
) -> None:
    folder = save()
    with pytest.raises(ValueError, match=r"nothing to train: none of its \d+ tensors .*is_trainable=True"):
        SemanticWeightedTrainer(PeftModel.from_pretrained(tiny("llama"), folder), train_dataset=data)
    frozen = tiny("llama").requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train.*put an adapter on it"):
        SemanticWeightedTrainer(frozen, train_dataset=data)
    SemanticWeightedTrainer(frozen, eval_dataset=data)


def test_every_architectures_adapters_are_taken_and_are_no_others(
    architectures: tuple[str, ...], save: Callable, tiny: Callable
) -> None:
    for method in ADAPTERS:
        for architecture in architectures:
            check_saved_adapter(save(method, architecture), tiny(architecture).config)
    with pytest.raises(ValueError, match="does not fit this base model"):
        check_saved_adapter(save("houlsby", "gpt2"), tiny("bloom"))
