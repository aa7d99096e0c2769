"""What a study's results do not depend on, and what they hold."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from semantic_trainer.cli import main
from semantic_trainer.commands.study import main as make_study
from semantic_trainer.commands.study import recipe_command
from semantic_trainer.study import pool
from semantic_trainer.study.runner import parse_shard

from .conftest import results, tables

ARMS = [
    "plain",
    "everything: plain method=full",
    "pruned: shuffled method=adalora",
    "filter replace_share=0.5 exclude_flagged=false",
]


@pytest.mark.parametrize(
    "flags", [[], pytest.param(["--workers", "2"], marks=pytest.mark.slow)], ids=["fresh base", "fresh process"]
)
def test_a_run_after_others_equals_one_alone(flags: list[str], recipe: Callable, study: Callable) -> None:
    together = results(study(recipe(arms=[*ARMS, "paper"], runs=2), "together"))
    alone = results(study(recipe(arms=["paper"], runs=2), "alone", *flags))
    assert len(alone) == 2
    for name, result in alone.items():
        other = together[name]
        assert without_floor(result["rows"]) == without_floor(other["rows"])  # the first arm measures it for all
        values = [{metric: s["value"] for metric, s in without_floor(r["scores"]).items()} for r in (result, other)]
        assert values[0] == values[1]
        assert (result["training"], result["answer_store"]) == (other["training"], other["answer_store"])


def test_a_shard_without_runs_ends_well(recipe: Callable, study: Callable, capsys: pytest.CaptureFixture) -> None:
    written = recipe(runs=1, arms=["plain"])
    assert not study(written, "out", "--shard", "1/2").exists()
    assert "nothing to show yet" in capsys.readouterr().out
    assert tables(study(written, "out", "--shard", "0/2")) == tables(study(written, "whole"))


def test_settings_of_one_base_load_it_once(recipe: Callable, study: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that trains all of its weights among them: they are copied back for the one after it."""
    loaded, hashed = [], []
    load, key = pool.load_model, pool.model_key
    monkeypatch.setattr(pool, "load_model", lambda *args: loaded.append(args[0]) or load(*args))
    monkeypatch.setattr(pool, "model_key", lambda model: hashed.append(model) or key(model))
    settings = [{"name": "first"}, {"name": "everything", "method": "full", "lora_r": 8}, {"name": "last"}]
    together = results(study(recipe(runs=1, arms=["plain"], settings=settings), "together"))
    assert (len(loaded), len(hashed)) == (1, 1)
    for setting in settings:
        alone = results(study(recipe(runs=1, arms=["plain"], settings=[setting]), f"alone-{setting['name']}"))
        ((name, result),) = alone.items()
        assert together[name] == result
    assert together["first/plain/0000.json"]["rows"] == together["last/plain/0000.json"]["rows"]
    assert together["first/plain/0000.json"]["rows"] != together["everything/plain/0000.json"]["rows"]


def without_floor(columns: dict) -> dict:
    return {name: value for name, value in columns.items() if name != "locality_noise_floor"}


def test_order_shards_and_processes_make_no_difference(recipe: Callable, study: Callable) -> None:
    written = recipe()
    whole = study(written, "whole")
    study(written, "shards", "--shard", "1/2")
    shards = study(written, "shards", "--shard", "0/2")
    assert results(shards) == results(whole)
    assert tables(shards) == tables(whole)


def test_it_goes_on_from_what_is_there(
    recipe: Callable, study: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    whole = study(recipe(), "whole")
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("0*.json")}
    lost = whole / "main" / "paper" / "0001.json"
    wanted = results(whole)
    lost.unlink()
    study(recipe(), "whole")
    assert results(whole) == wanted
    assert {p for p in before if p.stat().st_mtime_ns != before[p]} == {lost}
    more = results(study(recipe(runs=3, arms=["plain", "paper", "inverse"]), "whole"))
    assert len(more) == 9
    assert {name: more[name] for name in wanted} == wanted
    assert "every run is finished" not in capsys.readouterr().out
    study(recipe(), "whole")
    assert "every run is finished already" in capsys.readouterr().out


def test_results_of_other_options_are_refused(
    recipe: Callable, study: Callable, inputs: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = study(recipe(runs=1, arms=["plain"]))
    argv = ["study", "--data_dir", str(inputs), "--output_dir", str(folder)]
    assert main([*argv, "--config", str(recipe(runs=1, arms=["plain"], learning_rate=0.02))]) == 2
    assert "learning_rate (was 0.01, is 0.02)" in capsys.readouterr().err
    path = folder / "main" / "plain" / "0000.json"
    result = json.loads(path.read_text())
    result["config"]["pool_hash"] = "of others"
    path.write_text(json.dumps(result))
    assert main([*argv, "--config", str(recipe(runs=1, arms=["plain"]))]) == 2
    assert "main/plain/0000.json: the facts themselves. Choose" in capsys.readouterr().err
    for text, why in (
        ('{"schema_version": 1, "ro', "is no result of a study"),
        ("[1]", "no schema_version"),
        ('{"schema_version": 0}', "this version reads 1"),
        ('{"schema_version": 1, "rows": {}}', "without config, draw, scores, environment"),
    ):
        path.write_text(text)
        assert main([*argv, "--config", str(recipe(runs=1, arms=["plain"]))]) == 2
        assert why in capsys.readouterr().err


def test_a_result_older_than_an_option_counts(
    recipe: Callable, study: Callable, capsys: pytest.CaptureFixture
) -> None:
    folder = study(recipe(runs=1, arms=["plain"]))
    path = folder / "main" / "plain" / "0000.json"
    result = json.loads(path.read_text())
    del result["config"]["known_lambda"]
    path.write_text(json.dumps(result))
    study(recipe(runs=1, arms=["plain"]))
    assert "every run is finished already" in capsys.readouterr().out


def test_a_result_holds_no_text_but_its_examples(recipe: Callable, study: Callable) -> None:
    path = study(recipe(runs=1, arms=["plain"])) / "main" / "plain" / "0000.json"
    assert "land" not in path.read_text()
    assert "spider" not in path.read_text()
    path = study(recipe(runs=1, arms=["plain"], examples=2, tables=["table5"]), "examples") / "main/plain/0000.json"
    examples = json.loads(path.read_text())["examples"]
    assert [set(e) for e in examples] == [
        {"prompt", "target", "old_answer", "new_answer", "distance", "new_distance"}
    ] * 2


def test_a_result_says_when_each_fact_was_learnt(recipe: Callable, study: Callable) -> None:
    (result,) = results(study(recipe(runs=1, arms=["plain"]))).values()
    epochs, right = result["rows"]["first_learnt"], result["rows"]["knowledge_accuracy"]
    assert all(epoch is None or 1 <= epoch <= result["config"]["num_train_epochs"] for epoch in epochs)
    never = [epoch is None and not r for epoch, r in zip(epochs, right, strict=True)]
    assert result["scores"]["never_learnt"]["value"] == sum(never) / len(right)


def test_stratified_runs_stay_in_their_group(recipe: Callable, study: Callable, capsys: pytest.CaptureFixture) -> None:
    groups = ["near=0:1", "far=1:2"]
    found = results(study(recipe(runs=1, arms=["plain"], groups=groups, facts_per_run=2)))
    near, far = (found[f"main/plain/{name}-0000.json"]["rows"]["distance"] for name in ("near", "far"))
    assert max(near) < 1 <= min(far)


def test_a_filter_is_scored_on_original_kept_and_trained(recipe: Callable, study: Callable) -> None:
    arms = [
        "filter replace_share=0.5 exclude_flagged=false",
        "random: random_filter replace_share=0.5 exclude_flagged=false",
    ]
    for result in results(study(recipe(runs=1, arms=arms))).values():
        part = result["rows"]["part"]
        counts = {name: part.count(name) for name in ("kept", "removed", "added")}
        swaps = counts["added"]
        assert counts == {"kept": 4 - swaps, "removed": swaps, "added": swaps}
        assert swaps == round(4 * result["filter"]["reached_share"]) > 0
        assert result["scores"]["knowledge_accuracy"]["n"] == 4
        assert "first_learnt" not in result["rows"]  # not all that is scored was taught
        assert {name: score["n"] for name, score in result["knowledge_accuracy_of"].items()} == {
            "original": 4,
            "kept": 4 - swaps,
            "trained": 4,
        }


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "a/b", "0/0"])
def test_wrong_shards_are_refused(text: str) -> None:
    if text:
        with pytest.raises(ValueError, match="0/4"):
            parse_shard(text)
    else:
        assert parse_shard(text) == (0, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": "dual"}, "protocol"),
        ({"facts_per_run": 13}, "the pool has 12 facts"),
        ({"facts_per_run": 13, "groups": ["near=0:1"]}, "the pool has 12 facts"),
        ({"groups": ["near=0:0.01", "far=0.01:2"]}, "group 'near' has 0 facts (of 12: near 0, far 12)"),
        ({"arms": ["plain", "pissa: plain method_options=[init_lora_weights=pissa]"]}, "takes part of the base"),
        ({"arms": ["plain", "papr"]}, "Did you mean"),
        ({"groups": ["near=0:0.01"]}, "group 'near' has"),
        ({"facts": "nowhere.jsonl"}, "is not in `data_dir`"),
        ({"runs": 0}, "`runs` must be at least 1, but 0"),
        ({"examples": -1}, "`examples` must be at least 0, but -1"),
        ({"workers": 0}, "`workers` must be at least 1"),
        ({"executor": "slurm"}, "`executor` 'slurm' is unknown"),
        ({"measures": ["spectrum"]}, "`measures` 'spectrum' is unknown. Did you mean 'spectra'"),
        ({"measures": ["spectra"], "arms": ["plain", "ia3: plain method=ia3"]}, "ia3 has no ΔW"),
        ({"measures": ["spectra"], "projection": "c_attn"}, "Choose one of self_attn.q_proj"),
        ({"measures": ["spectra"], "lora_target_modules": ["v_proj"]}, "`projection` 'q_proj' is not trained"),
        ({"measures": ["spectra"], "layer": 7}, "`layer` 7 has no trained q_proj; layers that have one, from 0: 0, 1"),
        ({"tables": ["table9"]}, "`tables` 'table9' is unknown"),
        ({"tables": ["table2"]}, "`tables` table2 needs spectra, which main has not. Add measures: [spectra]."),
        ({"tables": ["table4"], "arms": ["paper"]}, "`tables` table4 needs an arm with the plain loss"),
        ({"tables": ["replacement"], "arms": ["plain"]}, "needs Eq. 4 and random replacement of one share"),
        ({"tables": ["table5"]}, "`tables` table5 needs texts, which results leave out. Add examples: 3."),
        ({"scale": "paper"}, "says nothing of `scale: paper`"),
        ({"weighting": "inverse"}, "an arm's"),
        ({"settings": [{"name": "a", "threads": 2}, {"name": "b"}]}, "`threads` holds for the whole study"),
        ({"settings": [{"name": "a"}, {"name": "a"}]}, "a name twice"),
        ({"arms": ["plain", "x: plain method=nothing"]}, "`method`"),
        ({"arms": ["plain", "x: plain target_modules=[nope]"]}, "`arms` 'x': `target_modules`"),
        ({"overwrite": True}, "no effect on `study`"),
    ],
)
def test_mistakes_are_said_in_one_line(
    changes: dict, message: str, recipe: Callable, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = ["study", "--config", str(recipe(**changes)), "--data_dir", str(inputs)]
    assert main([*argv, "--output_dir", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("out/**/*.json"))


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["--config=/home/me/a.yaml", "--scale", "smoke"], "--config a.yaml --scale smoke"),
        (["--config", "paper/a.yaml", "--workers=2", "--shard", "0/2"], "--config paper/a.yaml"),
        (["--arms", "plain", "b: paper gamma=2", "--tables", "table1", "--runs", "3"],
         "--arms plain 'b: paper gamma=2' --runs 3"),
        (["--data_dir", "/d", "--model", "/home/me/base", "--only_tables", "true", "--threads", "2"],
         "--model base --threads 2"),
    ],
)  # fmt: skip
def test_the_command_below_a_table_has_what_decides_its_results(argv: list[str], command: str) -> None:
    assert recipe_command(argv) == f"semantic-trainer study {command}"


def test_the_command_asks_for_the_folder_of_bare_fact_files(recipe: Callable, study: Callable, inputs: Path) -> None:
    bare = study(recipe(runs=1, arms=["plain"]), "bare") / "tables" / "table3.md"
    assert "recipe.yaml --data_dir DATA`\n" in bare.read_text()
    whole = recipe(runs=1, arms=["plain"], facts=str(inputs / "facts.jsonl"))
    assert "recipe.yaml`\n" in (study(whole, "whole") / "tables" / "table3.md").read_text()


def test_the_command_line_wins_over_scale_setting_and_recipe(recipe: Callable, study: Callable) -> None:
    scales = {"smoke": {"runs": 1, "arms": ["plain"], "learning_rate": 0.02}}
    written = recipe(settings=[{"name": "slow", "num_train_epochs": 1}, {"name": "fast"}], scales=scales)
    found = results(study(written, "out", "--scale", "smoke", "--learning_rate", "0.03"))
    assert {name: (r["config"]["num_train_epochs"], r["config"]["learning_rate"]) for name, r in found.items()} == {
        "slow/plain/0000.json": (1, 0.03),
        "fast/plain/0000.json": (2, 0.03),
    }


def test_runs_that_a_script_makes_are_not_made_here_and_its_command_is_named(
    recipe: Callable, study: Callable
) -> None:
    with pytest.raises(ValueError, match="made by another command, python examples/own.py with the same options"):
        make_study(["--config", str(recipe(runs=1, arms=["plain"], script="examples/own.py"))])
    assert recipe_command(["--config", "x.yaml"], "examples/own.py") == "python examples/own.py --config x.yaml"
