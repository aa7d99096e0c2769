"""`semantic-trainer push`: what would be published, and what is refused before anything is sent."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from semantic_trainer.cli import main
from semantic_trainer.commands.push import push
from semantic_trainer.hub.scan import LeakError
from semantic_trainer.report.summary import RunSummary

ORG = ("--repo_id", "org/mine")
BASE = ("--base_model", "org/base")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(capsys: pytest.CaptureFixture, *argv: object) -> str:
    assert main(["push", *map(str, argv)]) == 2
    error = capsys.readouterr().err
    assert error.count("semantic-trainer push: error: ") == 1
    return error


def test_a_dry_run_lists_every_file_with_its_size(finished: Path, wide: None, capsys: pytest.CaptureFixture) -> None:
    before = tree(finished)
    assert main(["push", str(finished), *ORG, *BASE, "--dry_run"]) == 0
    printed = capsys.readouterr().out
    for name in ("adapter_config.json", "adapter_model.safetensors", "README.md", "semantic_summary.json"):
        assert name in printed
    assert f"{(finished / 'adapter_model.safetensors').stat().st_size:,}" in printed
    assert "facts.parquet" not in printed
    assert "nothing was sent to org/mine" in printed
    assert tree(finished) == before


def test_nothing_of_this_machine_is_in_it(finished: Path, model_dir: Path) -> None:
    for arm in ("plain", "weighted"):
        pushed = push(finished, "org/mine", arm=arm, base_model="org/base", license="mit", dry_run=True)
        assert pushed.url is None
        files = {file.path: file.read() for file in pushed.files}
        for data in files.values():
            for path in (finished, model_dir, Path.home(), Path.cwd()):
                assert str(path).encode() not in data
        config = json.loads(files["adapter_config.json"])
        assert config["base_model_name_or_path"] == "org/base"
        weights = finished / ("plain" if arm == "plain" else ".") / "adapter_model.safetensors"
        assert files["adapter_model.safetensors"] == weights.read_bytes()
        card = ModelCard(files["README.md"].decode())
        assert (card.data.base_model, card.data.license, card.data.model_name) == ("org/base", "mit", "mine")
        assert 'PeftModel.from_pretrained(model, "org/mine")' in card.text
        assert "12 facts taught to base" in card.text
        summary = json.loads(files["semantic_summary.json"])
        assert summary["config"]["facts"] == ["facts.jsonl"]
        assert summary["config"]["model"] == "org/base"
        assert summary["runs"] == RunSummary.load(finished).runs
    assert "facts.parquet" in [
        f.path for f in push(finished, "a/b", base_model="c/d", include_facts=True, dry_run=True).files
    ]


def test_a_secret_in_an_option_is_refused(spoilt: Path, capsys: pytest.CaptureFixture) -> None:
    summary = RunSummary.load(spoilt)
    token = "hf_" + "aB3dE" * 7
    summary.config["system_prompt"] = f"You are {token}"
    summary.save(spoilt)
    error = refused(capsys, spoilt, *ORG, *BASE, "--dry_run")
    assert "config.system_prompt" in error
    assert token not in error


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["{run}"], "--repo_id"),
        (["nowhere", *ORG], "does not exist"),
        (["{run}", "--repo_id", "mine", *BASE], "must be ORG/NAME"),
        (["{run}", "--repo_id", "a b/c", *BASE], "no name of a repository"),
        (
            ["{run}", *ORG],
            "was read from a local folder, which nobody else has. Say what the Hub calls it: --base_model",
        ),
        (["{run}", *ORG, "--base_model", "mine"], "must be ORG/NAME"),
        (["{run}", *ORG, "--arm", "before"], "--arm"),
        (["{run}", *ORG, *BASE], "HF_HUB_OFFLINE"),
    ],
)
def test_mistakes_are_one_sentence(
    argv: list[str], message: str, finished: Path, capsys: pytest.CaptureFixture
) -> None:
    assert message in refused(capsys, *(part.format(run=finished) for part in argv))


def test_a_torn_adapter_is_refused(spoilt: Path, capsys: pytest.CaptureFixture) -> None:
    (spoilt / "adapter_model.safetensors").write_bytes(b"torn")
    assert "the weighted adapter" in refused(capsys, spoilt, *ORG, *BASE)
    assert main(["push", str(spoilt), *ORG, *BASE, "--arm", "plain", "--dry_run"]) == 0


def test_a_fact_may_quote_a_path(spoilt: Path) -> None:
    """It is what was taught, of nobody's machine; the same path in an option is refused."""
    summary = RunSummary.load(spoilt)
    for example in summary.facts["examples"]:
        example["prompt"] = "What lies in /home/x/notes?"
    summary.save(spoilt)
    files = {file.path: file.read() for file in push(spoilt, "org/mine", base_model="org/base", dry_run=True).files}
    assert b"/home/x/notes" in files["README.md"]
    summary.facts["examples"][0]["prompt"] = f"What lies in {Path.home()}/notes?"
    summary.save(spoilt)
    with pytest.raises(LeakError, match=r"facts\.examples\[0\]\.prompt holds a path of this machine"):
        push(spoilt, "org/mine", base_model="org/base", dry_run=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--base_model", "/tmp/x"], "`base_model` '/tmp/x' is no name"),
        ([*BASE, "--license", "mit\nbase_model: x"], "`license` must be written as the Hub does"),
        ([*BASE, "--revision", ""], "`revision` is empty"),
    ],
)
def test_a_wrong_option_is_named(options: list, message: str, finished: Path, capsys: pytest.CaptureFixture) -> None:
    assert message in refused(capsys, finished, *ORG, *options, "--dry_run")
