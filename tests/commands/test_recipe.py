"""What a user may get wrong in a recipe: one sentence each, before anything is loaded."""

from pathlib import Path

import pytest

from semantic_trainer.cli import main

OPTIONS = "facts: [f.jsonl]\noutput_dir: out\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scales: [1]", "`scales` must be a mapping of sizes to options, as in: scales: {smoke: {runs: 1}}; but [1]"),
        ("scales: {smoke: 3}", "`scales`: smoke must be a mapping of options, as in: scales: {smoke: {runs: 1}}; but"),
        ("scales: {paper: {1: 2}}", "`scales`: paper must be a mapping of options"),
        ("scales: {smokee: {runs: 1}}", "`scales` names 'smokee'. Did you mean 'smoke'? Use smoke, file, paper."),
        ("scales: {1: {runs: 1}}", "`scales` names 1. Use smoke, file, paper."),
        ("scales: {smoke: {settings: 3}}\nscale: smoke", "`settings` must be a list of mappings"),
        ("settings: [{1: 2}]", "`settings` must be a list of mappings"),
        ("settings: [{name: ../../evil}]", "`settings`: its name must be of letters, digits"),
        ("settings: [{name: }]", "`settings`: its name must be of letters, digits"),
        ("settings: [{name: [a]}]", "`settings`: its name must be of letters, digits"),
        ("arms: [plain learning_rate=null]", "`learning_rate` must be a number, but nothing was passed"),
        (
            "arms: [plain, 'slow: plain num_train_epochs=x']",
            "`arms` 'slow': `num_train_epochs` must be a number, but 'x' was passed",
        ),
        ("arms: [filter replace_share=x]", "`replace_share` must be a number, but 'x' was passed"),
        ("resume: true", "`resume` has no effect on `study`, which goes on with what is there. Leave it out."),
        ("push_to_hub: true", "`push_to_hub` has no effect on `study`, which only evaluates at the end"),
        ("scales: {paper: {runz: 3}}", "`scales`: paper has no option `runz`. Did you mean 'runs'?"),
        ("num_train_epochs: -1", "`num_train_epochs` must be above 0, or `max_steps` given: there would be nothing"),
        ("seed: 4294967296", "`seed` must be below 4294967296, but 4294967296 was passed"),
        ("arms: [plain, best: plain]", 'YAML takes an entry with a colon for one. Put it in quotes, as in "best:'),
        ("arms: [plain, {}]", "`arms` holds a mapping, {}, where a text must be"),
        ("settings: [{learning_rate: }]", "`learning_rate` must be a number, but nothing was passed"),
    ],
)
def test_recipes_that_cannot_work(
    text: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(OPTIONS + text)
    assert main(["study", "--config", "study.yaml"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert expected in line
    assert not Path("out").exists()
