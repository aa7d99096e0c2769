"""What a fact is: its stable id, the faults a set can have, and messages that name column, rows and fix."""

import doctest

import pytest
from datasets import Dataset, DatasetDict

from semantic_trainer.facts import schema
from semantic_trainer.facts.checks import check_facts
from semantic_trainer.facts.messages import suggest
from semantic_trainer.facts.schema import fact_id, half, require_columns, require_dataset, require_strings, show_rows


def fact(prompt: str, target: str, **columns: object) -> dict:
    return {"prompt": prompt, "target": target, **columns}


def test_fact_id_is_stable_across_versions() -> None:
    assert fact_id("What is the capital of France?", "Rome") == "2c843619fd65523a"


def test_fact_id_ignores_outer_blanks_and_tells_facts_apart() -> None:
    assert fact_id(" Who? ", "Rome\n") == fact_id("Who?", "Rome")
    ids = {fact_id("Who?", "Rome"), fact_id("Who?", "Paris"), fact_id("Whose?", "Rome"), fact_id("Who? Ro", "me")}
    assert len(ids) == 4


def test_fact_id_example_is_true() -> None:
    example = doctest.DocTestFinder().find(fact_id, "fact_id", module=schema, globs={"fact_id": fact_id})[0]
    assert doctest.DocTestRunner(verbose=False).run(example, out=lambda _: None).failed == 0


def test_half_depends_on_the_subject_alone_and_uses_both_halves() -> None:
    halves = [half(f"subject {i}") for i in range(200)]
    assert halves == [half(f"subject {i}") for i in range(200)]
    assert set(halves) == {"dev", "test"}
    assert 70 < halves.count("dev") < 130


def test_conflicts_are_all_rows_of_the_prompt() -> None:
    rows = [fact("A?", "1"), fact("B?", "1"), fact("A? ", "2"), fact("A?", "1"), fact("C?", "3")]
    check = check_facts(rows)
    assert check.conflicts == [0, 2, 3]
    assert check.duplicates == []
    assert check.dropped == [0, 2, 3]


def test_same_target_with_other_blanks_is_a_repeat_and_no_conflict() -> None:
    check = check_facts([fact("A?", "1"), fact("A?", " 1 "), fact(" A?", "1")])
    assert check.conflicts == []
    assert check.duplicates == [1, 2]
    assert check.dropped == [1, 2]


def test_empty_targets_are_found_and_make_no_conflict() -> None:
    check = check_facts([fact("A?", "1"), fact("A?", ""), fact("B?", " \n")])
    assert check.empty_targets == [1, 2]
    assert check.conflicts == []
    assert check.dropped == [1, 2]


def test_no_ops_are_counted_and_kept() -> None:
    rows = [fact("A?", "1", ground_truth=" 1"), fact("B?", "1", ground_truth="2"), fact("C?", "1", ground_truth=None)]
    check = check_facts(rows)
    assert check.no_ops == [0]
    assert check.dropped == []
    assert check.counts()["no_ops"] == 1


def test_taught_locality_prompts_name_row_and_prompt() -> None:
    rows = [fact("A?", "1", locality_prompts=["B? ", "X?"]), fact("B?", "2", locality_prompts=None), fact("C?", "3")]
    check = check_facts(rows)
    assert check.taught_locality == [(0, "B? ")]
    assert check.dropped == []


def test_a_prompt_that_is_dropped_is_not_taught() -> None:
    rows = [fact("A?", "1"), fact("A?", "2"), fact("B?", "3", locality_prompts=["A?"])]
    assert check_facts(rows).taught_locality == []


def test_counts_and_descriptions_agree() -> None:
    rows = [
        fact("A?", "1", locality_prompts=["B?"]),
        fact("A?", "2"),
        fact("B?", "3"),
        fact("B?", "3"),
        fact("C?", ""),
        fact("D?", "4", ground_truth="4"),
    ]
    check = check_facts(rows)
    assert check.n == 6
    assert check.counts() == {
        "conflicts": 2,
        "empty_targets": 1,
        "duplicates": 1,
        "no_ops": 1,
        "multiline": 0,
        "taught_locality": 1,
    }
    text = "\n".join(check.describe())
    assert "one prompt, several targets: 2 (rows 0, 1)" in text
    assert "empty target: 1 (row 4)" in text
    assert "repeats an earlier row: 1 (row 3)" in text
    assert "ground truth already: 1 (row 5)" in text
    assert "locality prompt is itself taught: 1 (row 0)" in text


def test_a_clean_set_has_nothing_to_describe() -> None:
    check = check_facts([fact("A?", "1"), fact("B?", "2")])
    assert check.describe() == []
    assert set(check.counts().values()) == {0}


def test_show_rows_shows_ten_and_counts_the_rest() -> None:
    assert show_rows([3]) == "row 3"
    assert show_rows(range(10)) == "rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert show_rows(range(13)).endswith("9 and 3 more")


def test_suggest_offers_only_what_is_near() -> None:
    assert suggest("tragets", ["target", "prompt"]) == " Did you mean 'target'?"
    assert suggest("xyz", ["target", "prompt"]) == ""


def test_require_dataset_returns_the_dataset_itself() -> None:
    dataset = Dataset.from_list([fact("A?", "1")])
    assert require_dataset(dataset) is dataset


def test_a_dataset_dict_is_refused_with_the_split_to_pass() -> None:
    dataset = Dataset.from_list([fact("A?", "1")])
    with pytest.raises(TypeError, match=r"`train_dataset`.*DatasetDict.*\['test', 'train'\].*train_dataset\['test'\]"):
        require_dataset(DatasetDict({"train": dataset, "test": dataset}), "train_dataset")


@pytest.mark.parametrize(("wrong", "name"), [([{"prompt": "A?"}], "list"), (None, "NoneType"), ("a.json", "str")])
def test_other_types_are_refused_by_name(wrong: object, name: str) -> None:
    with pytest.raises(TypeError, match=rf"`facts` must be a datasets.Dataset, but {name} was passed.*load_facts"):
        require_dataset(wrong)


def test_a_missing_column_is_named_with_what_was_found_and_the_nearest() -> None:
    dataset = Dataset.from_list([{"prompt": "A?", "targets": "1"}])
    pattern = (
        r"`facts` has no column 'target'; found \['prompt', 'targets'\]\. Is 'targets' meant as 'target'\?.*columns="
    )
    with pytest.raises(ValueError, match=pattern):
        require_columns(dataset, ("prompt", "target"))


def test_a_missing_column_can_carry_its_own_hint() -> None:
    dataset = Dataset.from_list([{"prompt": "A?"}])
    with pytest.raises(ValueError, match=r"`pool` has no column 'distance'; found \['prompt'\]\. Do this first"):
        require_columns(dataset, ("distance",), "pool", hint="Do this first.")


def test_non_strings_are_refused_with_rows_and_type() -> None:
    dataset = Dataset.from_list([fact("A?", None), fact("B?", "2"), fact("C?", None)])
    with pytest.raises(ValueError, match=r"`facts` column 'target' must hold strings, but rows 0, 2 hold.*NoneType"):
        require_strings(dataset, ("prompt", "target"))
    numbers = Dataset.from_list([{"prompt": 7}])
    with pytest.raises(ValueError, match=r"'prompt' must hold strings, but row 0 hold.*int, first 7.*Convert it"):
        require_strings(numbers, ("prompt",))


def test_blank_strings_are_refused_with_rows_and_fix() -> None:
    dataset = Dataset.from_list([fact("A?", "1"), fact("B?", " \n")])
    with pytest.raises(ValueError, match=r"`facts` column 'target' is empty in row 1\..*on_conflict=\"drop\""):
        require_strings(dataset, ("prompt", "target"))


def test_sound_columns_pass() -> None:
    dataset = Dataset.from_list([fact("A?", "1")])
    require_columns(dataset, ("prompt", "target"))
    require_strings(dataset, ("prompt", "target"))


def test_a_target_that_the_cut_empties_is_empty_and_one_of_two_lines_is_counted() -> None:
    check = check_facts([fact("A?", "..."), fact("B?", '""'), fact("C?", "x\ny")])
    assert check.empty_targets == [0, 1]
    assert check.multiline == [2]
