"""`distances --endpoint`: the server answers; the report is that of the same answers given by the model."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from semantic_trainer import PromptFormat
from semantic_trainer.answers import answer_prompts
from semantic_trainer.answers.decoding import GenerationSettings

from ..answers.completion_server import completion_server


def test_a_server_of_the_model_gives_the_models_report(
    call: Callable,
    rows: list[dict],
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    options = {"prompt_format": "question_answer", "endpoint_model": None}
    assert call("distances", **options) == 0
    expected = capsys.readouterr().out
    form, prompts = PromptFormat.question_answer(), [row["prompt"] for row in rows]
    local = answer_prompts(model, tokenizer, prompts, form, GenerationSettings(9), store_dir=tmp_path / "store")
    said = {form.prompt_text(prompt): (answer.raw, not answer.truncated) for prompt, answer in local.items()}

    def not_loaded(*args: object, **options: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("semantic_trainer.commands.distances.load_model", not_loaded)
    with completion_server(said.get) as server:
        assert call("distances", endpoint=server.url, **options) == 0
        assert capsys.readouterr().out == expected
        assert len(server.bodies) >= len(rows)
        assert call("distances", endpoint=server.url, endpoint_model="other", prompt_format="question_answer") == 2
    assert re.search(r"distances: error: .* has no model 'other'; it offers facts; 0 of 12", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"endpoint": "localhost:8000"}, "`url` must be a base URL such as http://localhost:8000/v1, but"),
        ({"endpoint_model": "facts"}, "`endpoint_model` is a name on a server: give its URL as `endpoint`"),
        ({"endpoint": "http://127.0.0.1:9/v1", "endpoint_model": "facts"}, "there is no server at http://127.0.0.1:9"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    more: dict, sentence: str, call: Callable, capsys: pytest.CaptureFixture
) -> None:
    assert call("distances", **more) == 2
    assert sentence in capsys.readouterr().err
