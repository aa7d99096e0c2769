"""QLoRA: quantized bases from loading to answering, and what must stay as it is in the checkpoint."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.integrations import dequantize_bnb_weight
from transformers import BitsAndBytesConfig, LlamaForCausalLM

from semantic_trainer import EmbeddingTable, SemanticTrainingArguments, SemanticWeightedTrainer, load_facts
from semantic_trainer.answers.decoding import GenerationSettings, answering, greedy_answers
from semantic_trainer.answers.store import model_key
from semantic_trainer.batching.shared_prefix import model_inputs, shared_prefix_rows
from semantic_trainer.facts.prompts import PromptFormat
from semantic_trainer.models import load_model, place
from semantic_trainer.quantization import check_load_in, is_packed, loaded_in

pytest.importorskip("bitsandbytes")
BITS = ("4bit", "8bit")
FORM = PromptFormat.question_answer()


@pytest.fixture
def checkpoint(model: LlamaForCausalLM, tokenizer: object, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def quantized(checkpoint: Path) -> Callable[..., torch.nn.Module]:
    def load(bits: str, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
        return load_model(str(checkpoint), dtype, load_in=bits)[0]

    return load


def lora(model: torch.nn.Module) -> PeftModel:
    torch.manual_seed(0)
    return get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))


def codes(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if tensor.itemsize == 1}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bits", BITS)
def test_linear_layers_are_quantized_and_embeddings_are_the_checkpoints(
    bits: str, dtype: torch.dtype, quantized: Callable, checkpoint: Path
) -> None:
    model = quantized(bits, dtype)
    assert loaded_in(model) == loaded_in(lora(model)) == bits
    packed = [name for name, p in model.named_parameters() if is_packed(p)]
    assert len(packed) == 14
    assert not any("embed" in name or "lm_head" in name for name in packed)
    assert not any(p.requires_grad for p in quantized(bits).parameters())
    table = EmbeddingTable.from_pretrained(checkpoint)
    assert torch.equal(EmbeddingTable.from_model(model).weight, table.weight)
    assert place(model, torch.device("cpu")) is model
    with pytest.raises(ValueError, match="`use_cpu` does not go with `load_in`"):
        place(model, torch.device("meta"))


def test_quantized_embeddings_are_refused() -> None:
    import bitsandbytes as bnb

    layer = bnb.nn.Embedding4bit(64, 64).to("cpu")
    with pytest.raises(ValueError, match="the input embeddings are quantized"):
        EmbeddingTable(layer.weight)
    with pytest.raises(ValueError, match="the input embeddings are quantized"):
        EmbeddingTable(torch.zeros(4, 4, dtype=torch.int8))


@pytest.mark.parametrize("bits", BITS)
def test_answering_leaves_quantized_weights_alone(
    bits: str, quantized: Callable, tokenizer: object, facts: Dataset
) -> None:
    model = lora(quantized(bits, torch.bfloat16))
    before, key = codes(model), model_key(model, adapter_on=True)
    dtypes = {name: p.dtype for name, p in model.named_parameters()}
    layers = [m for m in model.modules() if hasattr(m, "compute_dtype")]
    assert {m.compute_dtype for m in layers} == ({torch.bfloat16} if bits == "4bit" else set())
    with answering(model, "float32"):
        assert {m.compute_dtype for m in layers} <= {torch.float32}
        list(greedy_answers(model, tokenizer, facts["prompt"][:], FORM, GenerationSettings(8)))
    assert {m.compute_dtype for m in layers} <= {torch.bfloat16}
    assert {name: p.dtype for name, p in model.named_parameters()} == dtypes
    assert all(torch.equal(before[name], tensor) for name, tensor in codes(model).items())
    assert model_key(model, adapter_on=True) == key


def test_half_precision_storage_of_codes_is_not_upcast(checkpoint: Path) -> None:
    """As FSDP wants it: 4-bit codes whose tensors say they are bfloat16."""
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_storage=torch.bfloat16)
    model = LlamaForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, quantization_config=config).eval()
    ids = torch.arange(6)[None]
    expected = model(ids).logits
    with answering(model, "float32"):
        assert torch.equal(model(ids).logits, expected)


@pytest.mark.parametrize("bits", BITS)
def test_float32_is_the_dequantized_weights_own_product(bits: str, quantized: Callable) -> None:
    model, ids = quantized(bits, torch.bfloat16), torch.arange(12).reshape(2, 6)
    own = model(ids).logits
    slow = copy.deepcopy(model)
    for name, layer in list(slow.named_modules()):
        if is_packed(getattr(layer, "weight", torch.zeros(()))):
            plain = torch.nn.Linear(layer.in_features, layer.out_features, bias=False)
            plain.weight.data = dequantize_bnb_weight(layer.weight, getattr(layer, "state", None)).float()
            slow.set_submodule(name, plain)
    with answering(model, "float32"), answering(model, "float32"):
        together = model(ids).logits
        torch.testing.assert_close(together, slow(ids).logits, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(together, torch.cat([model(row[None]).logits for row in ids]), rtol=1e-5, atol=1e-5)
    assert torch.equal(model(ids).logits, own)
    assert not torch.equal(together, own)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bits", BITS)
def test_the_fast_decoder_and_generate_agree(
    bits: str,
    dtype: torch.dtype,
    quantized: Callable,
    tokenizer: object,
    facts: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prompts = [*facts["prompt"], *(p for row in facts["paraphrases"] for p in row)]
    model, found = lora(quantized(bits, dtype)), []
    for reason, size in ((None, 4), (None, 1), ("so that generate answers", 1)):
        monkeypatch.setattr("semantic_trainer.answers.decoder.unsuited", lambda *_, reason=reason: reason)
        chunks = greedy_answers(model, tokenizer, prompts, FORM, GenerationSettings(8, "float32"), size)
        found.append({prompt: answer for chunk in chunks for prompt, answer in chunk})
    assert found[0] == found[1] == found[2]
    assert len({answer.raw for answer in found[0].values()}) > 3


def test_a_model_and_its_adapter_have_one_key_for_the_base(quantized: Callable) -> None:
    keys = [model_key(model)["weights"] for model in (quantized("4bit"), lora(quantized("4bit")), quantized("8bit"))]
    assert keys[0] == keys[1] != keys[2]


def test_the_mask_of_shared_rows_has_the_activations_dtype(quantized: Callable) -> None:
    rows = shared_prefix_rows([[7, 8, 1, 2], [7, 8, 3, 4]], [[-100, -100, -100, 2], [-100, -100, -100, 4]])
    for bits in BITS:
        model = quantized(bits)
        model.config._attn_implementation = "eager"
        assert model_inputs(rows, model)["attention_mask"].dtype == torch.float32
        # without float embeddings in front, the first parameter's dtype is that of packed codes
        assert model_inputs(rows, Layers(model))["attention_mask"].dtype == torch.float32


class Layers(torch.nn.Module):
    """A model whose first parameter is a quantized one."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.layers, self.config = model.model.layers, model.config


@pytest.mark.parametrize("batching", ["padded", "shared_prefix"])
@pytest.mark.parametrize("bits", BITS)
def test_the_weighted_trainer_trains_an_adapter_on_it(
    bits: str, batching: str, quantized: Callable, tokenizer: object, facts: Dataset, tmp_path: Path
) -> None:
    base = quantized(bits)
    before = codes(base)
    args = SemanticTrainingArguments(
        str(tmp_path / "out"),
        batching=batching,
        max_steps=30,
        per_device_train_batch_size=5,
        learning_rate=1e-2,
        logging_steps=1,
        save_strategy="no",
        max_new_tokens=12,
        use_cpu=True,
        disable_tqdm=True,
    )
    tuned = get_peft_model(base, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    trainer = SemanticWeightedTrainer(tuned, args, train_dataset=facts, processing_class=tokenizer)
    assert trainer.weighted
    assert ("segment_ids" in next(iter(trainer.get_train_dataloader()))) == (batching == "shared_prefix")
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(before[n], t) for n, t in codes(tuned.unload()).items())


@pytest.mark.parametrize("steps", [1, 2])
def test_its_weighted_gradients_are_the_slow_loops(
    steps: int, quantized: Callable, tokenizer: object, facts: Dataset, tmp_path: Path, relative_error: Callable
) -> None:
    """4 bits are the same whatever the batch; 8-bit layers treat a batch's outliers together."""
    from transformers import TrainerCallback

    found = {}

    class Recorder(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs) -> None:
            found.update({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})

    tuned = lora(quantized("4bit"))
    options = {"per_device_train_batch_size": 6 // steps, "gradient_accumulation_steps": steps, "max_steps": 1}
    args = SemanticTrainingArguments(
        str(tmp_path), gamma=2.0, max_grad_norm=0.0, save_strategy="no", use_cpu=True, disable_tqdm=True, **options
    )
    trainer = SemanticWeightedTrainer(tuned, args, None, facts, None, tokenizer, callbacks=[Recorder()])
    slow, total, tokens = copy.deepcopy(tuned), 0.0, 0
    for row in trainer.train_dataset:
        labels = torch.tensor(row["labels"])
        logits = slow(torch.tensor([row["input_ids"]])).logits[0, :-1].log_softmax(-1)
        keep = labels[1:] != -100
        total = total - row["weight"] * logits[keep, labels[1:][keep]].sum()
        tokens += int(keep.sum())
    (total / tokens).backward()
    trainer.train()
    expected = {n: p.grad for n, p in slow.named_parameters() if p.grad is not None}
    assert relative_error(expected, found) <= 2e-6


@pytest.mark.parametrize("optim", ["adamw_bnb_8bit", "paged_adamw_8bit", "paged_adamw_32bit"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_8_bit_and_paged_optimizers(
    optim: str, quantized: Callable, tokenizer: object, facts: Dataset, tmp_path: Path
) -> None:
    options = {"optim": optim, "max_steps": 20, "learning_rate": 1e-2, "logging_steps": 1, "save_steps": 10}
    args = SemanticTrainingArguments(
        str(tmp_path), max_new_tokens=12, use_cpu=True, disable_tqdm=True, per_device_train_batch_size=5, **options
    )
    weights = []
    for resume in (None, str(tmp_path / "checkpoint-10")):
        tuned = lora(
            quantized("4bit")
        )  # all tensors but the head's have fewer than 4096 numbers, which stay in 32 bits
        trainer = SemanticWeightedTrainer(tuned, args, train_dataset=facts, processing_class=tokenizer)
        trainer.train(resume_from_checkpoint=resume)
        weights.append({n: p.detach().clone() for n, p in tuned.named_parameters() if p.requires_grad})
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.5 * losses[0]
    assert type(trainer.optimizer.optimizer).__module__.startswith("bitsandbytes")
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_states_of_large_tensors_are_8_bit() -> None:
    import bitsandbytes as bnb

    weight = torch.nn.Parameter(torch.ones(64, 64))
    optimizer = bnb.optim.AdamW8bit([weight])
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert optimizer.state[weight]["state1"].dtype == torch.uint8
    assert float(weight.mean()) < 1


def test_a_quantized_model_needs_an_adapter(
    quantized: Callable, tokenizer: object, facts: Dataset, tmp_path: Path
) -> None:
    from semantic_trainer.tuners.arguments import ModelArguments, check_tuning

    with pytest.raises(ValueError, match="attach trainable adapters"):
        SemanticWeightedTrainer(quantized("4bit"), SemanticTrainingArguments(str(tmp_path), use_cpu=True))
    with pytest.raises(ValueError, match="`load_in=4bit` with `method=full`: quantized weights cannot be trained"):
        check_tuning(ModelArguments(method="full", load_in="4bit"))
    for wrong, hint in (("4", "Did you mean 4bit"), ("int8", "must be 4bit, 8bit or nothing")):
        with pytest.raises(ValueError, match=hint):
            check_tuning(ModelArguments(load_in=wrong))


def test_without_bitsandbytes_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'semantic-trainer\[quantization\]'"):
        check_load_in("4bit")
    check_load_in(None)


@pytest.mark.parametrize("bits", BITS)
def test_a_run_on_a_quantized_base(
    bits: str, checkpoint: Path, facts: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: object
) -> None:
    from semantic_trainer.cli import main
    from semantic_trainer.commands.finished import load_run

    monkeypatch.setattr("semantic_trainer.commands.output.draw_run", lambda folder, facts, tables: [])
    monkeypatch.setattr("semantic_trainer.evaluation.statistics.RESAMPLES", 100)
    out, file = tmp_path / "run", tmp_path / "facts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in facts.to_list()))
    argv = ["run", "--facts", str(file), "--model", str(checkpoint), "--load_in", bits, "--output_dir", str(out)]
    argv += ["--max_new_tokens", "9", "--num_train_epochs", "2", "--lora_r", "2", "--use_cpu", "true"]
    assert main(argv) == 0
    assert json.loads((out / "semantic_summary.json").read_text())["config"]["load_in"] == bits
    card, page = (out / "README.md").read_text(), (out / "report.html").read_text()
    assert f"load_in={bits}" in card
    assert f"BitsAndBytesConfig(load_in_{bits}=True" in card
    assert f"base in {bits[0]} bits" in page
    run = load_run(out, ("weighted",))
    assert loaded_in(run.model) == bits
    again = [
        answer
        for chunk in greedy_answers(run.model, run.tokenizer, facts["prompt"][:], run.form, run.settings)
        for answer in chunk
    ]
    rows = {row["prompt"]: row["weighted_answer"] for row in Dataset.from_parquet(str(out / "facts.parquet"))}
    assert {prompt: answer.text for prompt, answer in again} == rows
    capsys.readouterr()
    assert main(["distances", *argv[1:]]) == 0
    assert main([*argv, "--resume"]) == 0
    assert main([part for part in [*argv, "--resume"] if part not in ("--load_in", bits)]) == 2
    assert f"load_in (was '{bits}', is None)" in capsys.readouterr().err
    assert load_facts(str(file)).num_rows == 5
