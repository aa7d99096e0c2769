"""evaluate_facts on an adapter over a tiny Llama, checked by hand against its own table."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model

from semantic_trainer import EmbeddingTable, PromptFormat, evaluate_facts, semantic_distance
from semantic_trainer.evaluation.evaluator import METRICS, Evaluation
from semantic_trainer.evaluation.table import BESIDE

COLUMNS = {
    *("fact_id", "prompt", "target", "old_answer", "new_answer", "new_answer_raw", "new_answer_truncated"),
    *("paraphrase_answers", "locality_old_answers", "locality_new_answers", "distance", "new_distance"),
    *("knowledge_accuracy", "generality", "locality", "bad_case", "deviation", "relative_deviation"),
    *("subject", "relation", "portability_answers", "normalized", "contains", "token", "portability"),
    *("next_token_kl", "locality_noise_floor", "target_loss"),
}


@pytest.fixture
def tuned(model: torch.nn.Module) -> PeftModel:
    torch.manual_seed(3)
    config = LoraConfig(r=4, lora_alpha=64, target_modules="all-linear", init_lora_weights=False)
    return get_peft_model(model, config)


@pytest.fixture
def evaluation(tuned: PeftModel, tokenizer: object, facts: Dataset) -> Evaluation:
    return evaluate_facts(tuned, tokenizer, facts, max_new_tokens=6)


def test_the_tables_columns_and_rows(evaluation: Evaluation, facts: Dataset) -> None:
    assert set(evaluation.table.column_names) == COLUMNS
    assert evaluation.table["prompt"][:] == facts["prompt"][:]
    assert evaluation.table["fact_id"][:] == facts["fact_id"][:]


def test_every_metric_has_every_key(evaluation: Evaluation) -> None:
    assert tuple(evaluation.summary) == METRICS + BESIDE
    for name, score in evaluation.summary.items():
        assert {"value", "ci95", "n", "protocol"} <= set(score), name
        assert "max_new_tokens 6" in score["protocol"]
        if score["ci95"] is not None:
            assert score["ci95"][0] <= score["value"] <= score["ci95"][1]
    for name in METRICS[:5]:
        value = evaluation.summary[name]["value"]
        assert value is None or 0.0 <= value <= 1.0
    assert {"undefined", "signed_mean", "median"} <= set(evaluation.summary["relative_deviation"])


def test_accuracy_generality_and_locality_by_hand(evaluation: Evaluation, facts: Dataset) -> None:
    rows = evaluation.table.to_list()
    correct = [row["new_answer"] == fact["target"] for row, fact in zip(rows, facts, strict=True)]
    assert evaluation.summary["knowledge_accuracy"]["value"] == np.mean(correct)
    rephrased = [[a == row["target"] for a in row["paraphrase_answers"]] for row in rows]
    assert evaluation.summary["generality"]["value"] == np.mean([np.mean(group) for group in rephrased])
    kept = [
        np.mean([a == b for a, b in zip(row["locality_old_answers"], row["locality_new_answers"], strict=True)])
        for row in rows
    ]
    assert evaluation.summary["locality"]["value"] == np.mean(kept)
    assert evaluation.summary["locality"]["n"] == 5


def test_distances_are_eq_1_on_the_base_models_embeddings(
    evaluation: Evaluation, tuned: PeftModel, tokenizer: object
) -> None:
    table, form = EmbeddingTable.from_model(tuned), PromptFormat.chat(tokenizer)
    for column, answers in (("distance", "old_answer"), ("new_distance", "new_answer")):
        expected = semantic_distance(
            evaluation.table[answers][:], evaluation.table["target"][:], table, tokenizer, form
        )
        assert evaluation.table[column][:] == expected.tolist()


def test_deviation_has_one_numerator_and_two_denominators(evaluation: Evaluation) -> None:
    away = sum(evaluation.table["deviation"])
    every, bad = evaluation.summary["deviation"], evaluation.summary["deviation_in_bad"]
    assert every["n"] == 5
    assert bad["n"] == sum(evaluation.table["bad_case"])
    assert every["value"] * every["n"] == pytest.approx(away)
    assert bad["value"] * bad["n"] == pytest.approx(away)


def test_relative_deviation_is_the_mean_over_deviating_facts(evaluation: Evaluation) -> None:
    rows, found = evaluation.table.to_list(), evaluation.summary["relative_deviation"]
    defined = [row["relative_deviation"] for row in rows if row["relative_deviation"] is not None]
    moved = [row["relative_deviation"] for row in rows if row["deviation"] and row["relative_deviation"] is not None]
    assert found["n"] == len(moved)
    assert found["value"] == (pytest.approx(np.mean(moved)) if moved else None)
    assert found["undefined"] == len(rows) - len(defined)
    assert found["signed_mean"] == pytest.approx(np.mean(defined))
    assert found["median"] == pytest.approx(np.median(defined))


def test_a_plain_model_is_the_base_itself(model: torch.nn.Module, tokenizer: object, facts: Dataset) -> None:
    found = evaluate_facts(model, tokenizer, facts, max_new_tokens=6)
    locality = found.summary["locality"]
    assert (locality["value"], locality["ci95"], locality["n"]) == (1.0, [1.0, 1.0], 5)
    assert "by definition" in locality["protocol"]
    for name in ("deviation", "deviation_in_bad", "relative_deviation"):
        assert found.summary[name]["value"] is None
    assert set(found.table["deviation"]) == set(found.table["relative_deviation"]) == {None}
    assert found.table["old_answer"][:] == found.table["new_answer"][:]


def test_one_text_counts_as_a_list_of_one(model: torch.nn.Module, tokenizer: object) -> None:
    row = {"prompt": "A?", "target": "x", "paraphrases": "Who is it?", "locality_prompts": "What is ice?"}
    table = evaluate_facts(model, tokenizer, Dataset.from_list([row]), max_new_tokens=6).table
    assert [len(answers) for answers in table["paraphrase_answers"]] == [1]
    wrong = Dataset.from_list([{"prompt": "A?", "target": "x", "paraphrases": [3]}])
    with pytest.raises(ValueError, match="`facts` column 'paraphrases', row 0: must be a text or a list of texts"):
        evaluate_facts(model, tokenizer, wrong)


def test_relative_deviation_has_its_keys_for_a_plain_model(
    model: torch.nn.Module, tokenizer: object, facts: Dataset
) -> None:
    found = evaluate_facts(model, tokenizer, facts, max_new_tokens=6).summary["relative_deviation"]
    assert {"undefined", "signed_mean", "median"} <= set(found)


def test_an_adapter_that_changes_nothing_keeps_everything(
    model: torch.nn.Module, tokenizer: object, facts: Dataset
) -> None:
    same = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    found = evaluate_facts(same, tokenizer, facts, max_new_tokens=6)
    assert found.summary["locality"]["value"] == 1.0
    assert found.summary["deviation"]["value"] == 0.0
    assert found.summary["relative_deviation"]["value"] is None
    assert found.summary["relative_deviation"]["signed_mean"] == 0.0


def test_training_mode_and_adapter_state_are_put_back(tuned: PeftModel, tokenizer: object, facts: Dataset) -> None:
    tuned.train()
    ids = torch.tensor([[5, 6, 7]])
    before = tuned(input_ids=ids).logits
    evaluate_facts(tuned, tokenizer, facts.select([0]), max_new_tokens=2)
    assert tuned.training
    torch.testing.assert_close(tuned(input_ids=ids).logits, before, rtol=0, atol=0)


def test_aliases_count_and_missing_columns_give_null(
    model: torch.nn.Module, tokenizer: object, facts: Dataset
) -> None:
    answers = evaluate_facts(model, tokenizer, facts, max_new_tokens=6).table["new_answer"][:]
    bare = Dataset.from_dict(
        {"prompt": facts["prompt"][:], "target": facts["target"][:], "aliases": [[a] for a in answers]}
    )
    found = evaluate_facts(model, tokenizer, bare, max_new_tokens=6)
    assert found.summary["knowledge_accuracy"]["value"] == 1.0
    assert found.summary["generality"]["value"] is None
    assert "fact_id" not in found.table.column_names


def test_wrong_facts_are_refused(model: torch.nn.Module, tokenizer: object, facts: Dataset) -> None:
    with pytest.raises(TypeError, match=r"`facts` must be a datasets.Dataset, but list"):
        evaluate_facts(model, tokenizer, facts.to_list())
    with pytest.raises(ValueError, match="`facts` has no column 'target'"):
        evaluate_facts(model, tokenizer, facts.remove_columns("target"))
