"""Answers from a server are those that local decoding would read, whatever happens on the way; none is lost."""

import copy
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
import requests
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from semantic_trainer import Endpoint, PromptFormat, add_old_answers
from semantic_trainer.answers import EndpointError, answer_prompts, asking, client
from semantic_trainer.answers.client import retry_after
from semantic_trainer.answers.reading import Answer, read_answer

from .completion_server import CompletionServer, Reply, completion_server

FORM = PromptFormat.question_answer([("Who wrote Emma?", "Jane Austen")])
PROMPTS = [f"What is the capital of land {i}?" for i in range(12)]
FAULTS = {
    "busy": Reply(429, b'{"error": {"message": "slow down"}}'),
    "broken": Reply(500, b"Internal Server Error"),
    "loading": Reply(503, b'{"error": "loading"}'),
    "cut": Reply(cut=True),
}


def say(prompt: object) -> tuple[str, bool]:
    """An answer with the number of its prompt, then more."""
    return f" City {re.findall(r'[0-9]+|$', str(prompt))[0]}.\nQuestion: and so on", False


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT", 0.001)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[CompletionServer]:
    with completion_server(say) as running:
        yield running


@pytest.fixture
def ask(server: CompletionServer, tokenizer: PreTrainedTokenizerFast) -> Callable[..., dict[str, Answer]]:
    def call(prompts: list[str] = PROMPTS, form: PromptFormat = FORM, **options: object) -> dict[str, Answer]:
        endpoint = Endpoint(**{"url": server.url, "model": "facts", "concurrency": 4, **options})
        return answer_prompts(endpoint, tokenizer, prompts, form)

    return call


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.tuples(st.text(alphabet="\n \tPa.é日", max_size=9), st.booleans()), min_size=1, max_size=8),
    faults=st.lists(st.sampled_from(sorted(FAULTS)), max_size=8),
    includes_stop=st.booleans(),
    concurrency=st.integers(1, 5),
)
def test_answers_are_read_as_local_ones(
    texts: list[tuple[str, bool]],
    faults: list[str],
    includes_stop: bool,
    concurrency: int,
    server: CompletionServer,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """The reference is what decoding makes of the same generated ids; servers strip the stop string or include it."""
    prompts = [f"Question {i}?" for i in range(len(texts))]
    said = {FORM.prompt_text(prompt): text for prompt, text in zip(prompts, texts, strict=True)}
    server.answer, server.includes_stop = said.get, includes_stop
    server.faults = {text: [FAULTS[name]] for text, name in zip(said, faults, strict=False)}
    endpoint = Endpoint(server.url, "facts", concurrency=concurrency)
    got = answer_prompts(endpoint, tokenizer, [*prompts, prompts[0]], FORM, keep=False)
    eos = tokenizer.eos_token_id
    ids = [tokenizer(text)["input_ids"] + [eos] * ended for text, ended in texts]
    assert list(got) == prompts
    assert list(got.values()) == [read_answer(row, [eos], tokenizer) for row in ids]


def test_the_columns_are_in_the_order_of_the_facts(
    server: CompletionServer, tokenizer: PreTrainedTokenizerFast
) -> None:
    server.faults = {FORM.prompt_text(PROMPTS[1]): [Reply(seconds=0.2, answered=True)]}
    facts = add_old_answers(Dataset.from_dict({"prompt": PROMPTS}), Endpoint(server.url), tokenizer, FORM)
    assert facts["old_answer"][:] == [f"City {i}" for i in range(12)]
    assert set(facts["old_answer_truncated"][:]) == {False}
    body = server.bodies[0]
    assert body == {
        "model": "facts",  # the only one that the server offers
        "prompt": FORM.prompt_text(PROMPTS[0]),
        "max_tokens": 32,
        "temperature": 0,
        "frequency_penalty": 0,
        "stop": ["\n"],
    }


def test_as_many_requests_are_in_flight_as_asked_for(server: CompletionServer, ask: Callable) -> None:
    """After the first prompt, asked alone, the server answers only once four requests wait together."""
    together = threading.Barrier(4)
    server.gate = lambda: together.wait(10) if len(server.bodies) > 1 else None
    assert len(ask(PROMPTS + ["One more?"])) == 13
    assert server.most == 4


def test_retry_after_is_waited_for_by_every_request(server: CompletionServer, ask: Callable) -> None:
    server.faults = {FORM.prompt_text(PROMPTS[0]): [Reply(429, b"{}", {"Retry-After": "1"})]}
    assert len(ask()) == 12
    assert server.times[1] - server.times[0] >= 1.0


def test_retry_after_as_a_date_or_as_nonsense() -> None:
    reply = requests.Response()
    assert retry_after(reply) is None
    reply.headers["Retry-After"] = "soon"
    assert retry_after(reply) is None
    reply.headers["Retry-After"] = formatdate(usegmt=True)
    assert retry_after(reply) == pytest.approx(0.0, abs=2.0)


def test_a_busy_server_that_answers_others_is_not_given_up(server: CompletionServer, ask: Callable) -> None:
    """One prompt is refused twenty times while others are answered."""
    server.faults = {FORM.prompt_text(PROMPTS[1]): [FAULTS["busy"]] * 20}
    server.gate = lambda: time.sleep(0.002)
    assert len(ask([*PROMPTS, *(f"Other {i}?" for i in range(60))], retries=3)) == 72


def test_a_request_without_an_answer_in_time_is_sent_again(server: CompletionServer, ask: Callable) -> None:
    server.faults = {FORM.prompt_text(PROMPTS[3]): [Reply(seconds=1.0, answered=True)]}
    assert len(ask(timeout=0.3)) == 12
    assert server.prompts().count(FORM.prompt_text(PROMPTS[3])) == 2


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (FAULTS["broken"], r"/completions: 500 .*: Internal Server Error \(3 tries\); \d+ of 12 answers are kept"),
        (FAULTS["cut"], r"/completions: the connection was cut \(ChunkedEncodingError\) \(3 tries\); \d+ of 12"),
        (Reply(200, b"<html>It works!</html>"), r"not answer with a JSON object but with '<html>It works!</html>'"),
        (Reply(200, b"[1]"), r"did not answer with a JSON object but with '\[1\]': is it an OpenAI-compatible server"),
        (Reply(200, b'{"choices": []}'), r"answered with JSON that is no completion: {'choices': \[\]}"),
        (Reply(200, b'{"choices": [{"text": null}]}'), "answered with JSON that is no completion"),
        (
            Reply(400, b'{"detail": "too long"}'),
            r"/completions: 400 Bad Request: too long; \d+ of 12 answers are kept",
        ),
        (Reply(429, b"{}", {"Retry-After": "5000"}), "it asks to come back in 5000 s"),
        (Reply(307, b"", {"Location": "https://x/v1"}), "redirects to 'https://x/v1': give that address"),
    ],
)
def test_what_was_answered_before_a_failure_is_kept(
    fault: Reply, sentence: str, server: CompletionServer, ask: Callable
) -> None:
    bad = FORM.prompt_text(PROMPTS[7])
    server.faults = {bad: [fault] * 3}
    with pytest.raises(EndpointError, match=sentence):
        ask(retries=2)
    answered = set(server.prompts()) - {bad}
    assert len(answered) >= 7
    server.faults, server.bodies = {}, []
    assert list(ask()) == PROMPTS
    assert set(server.prompts()) == set(map(FORM.prompt_text, PROMPTS)) - answered
    server.bodies = []
    ask()
    assert server.bodies == []


def test_ctrl_c_keeps_what_is_in_flight(
    server: CompletionServer, ask: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, wait = [], asking.wait

    def interrupted(*args: object) -> object:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return wait(*args)

    monkeypatch.setattr(asking, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ask()
    asked = set(server.prompts())
    assert 5 <= len(asked) < 12
    server.bodies = []
    assert len(ask()) == 12
    assert set(server.prompts()) == set(map(FORM.prompt_text, PROMPTS)) - asked


@pytest.mark.slow
def test_a_killed_call_goes_on_where_it_stopped(
    server: CompletionServer, ask: Callable, tokenizer: PreTrainedTokenizerFast, cache: Path, tmp_path: Path
) -> None:
    """SIGKILL while the server holds the ninth request back: what was on disk is not asked again."""
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "call.py").write_text(
        "import sys; from transformers import AutoTokenizer; from semantic_trainer import Endpoint, PromptFormat\n"
        "from semantic_trainer.answers import answer_prompts, asking; asking.KEEP_EVERY = 0.01\n"
        "form = PromptFormat.question_answer([('Who wrote Emma?', 'Jane Austen')])\n"
        "endpoint = Endpoint(sys.argv[2], 'facts', concurrency=2)\n"
        "answer_prompts(endpoint, AutoTokenizer.from_pretrained(sys.argv[1]), sys.argv[3:], form)\n"
    )
    held = threading.Event()
    server.gate = lambda: held.wait(60) if len(server.bodies) >= 9 else None
    command = [sys.executable, tmp_path / "call.py", tmp_path / "tokenizer", server.url, *PROMPTS]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
    try:
        while len(kept := list((cache / "answers").rglob("chunk-*"))) < 4 or len(server.bodies) < 9:
            assert child.poll() is None
            time.sleep(0.05)
    finally:
        child.kill()
        child.wait()
        held.set()
    server.gate, server.bodies = lambda: None, []
    assert [answer.text for answer in ask().values()] == [f"City {i}" for i in range(12)]
    assert len(server.bodies) <= 12 - len(kept)


def test_a_server_that_is_not_there(ask: Callable) -> None:
    with pytest.raises(EndpointError, match=r"there is no server at http://127.0.0.1:9/v1 \(.*refused\): start it"):
        ask(url="http://127.0.0.1:9/v1/")
    with pytest.raises(EndpointError, match="there is no server at"):
        ask(url="http://127.0.0.1:9/v1", model=None)


def test_a_server_that_dies_on_the_way(server: CompletionServer, ask: Callable) -> None:
    """It was there, so it is tried again before it is given up."""

    def gate() -> None:
        if len(server.bodies) == 6:
            server.socket.close()
        if len(server.bodies) >= 6:
            raise ConnectionAbortedError

    server.gate, server.handle_error = gate, lambda *args: None
    with pytest.raises(EndpointError, match=r"(cut|gone).* \(3 tries\); [1-5] of 12 answers are kept"):
        ask(retries=2)


def test_the_api_key(server: CompletionServer, ask: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server.key = "sesame"
    with pytest.raises(EndpointError, match=r"refuses the API key \(401: Unauthorized\): set OPENAI_API_KEY or pass"):
        ask()
    assert len(ask(api_key="sesame")) == 12
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    assert len(ask(["Another?"])) == 1
    assert "sesame" not in repr(Endpoint(server.url, api_key="sesame"))
    assert not any("sesame" in path.read_text() for path in tmp_path.rglob("*.json*"))


def test_models_on_offer(server: CompletionServer, ask: Callable) -> None:
    server.models = ["facts", "plain"]
    with pytest.raises(EndpointError, match="has no model 'fact'; it offers facts, plain"):
        ask(model="fact")
    with pytest.raises(ValueError, match="`model` is needed: .* offers facts, plain"):
        ask(model=None)
    assert len(ask(model="plain")) == 12
    server.models = None
    with pytest.raises(EndpointError, match="/models: 404 Not Found"):
        ask(model=None)


def test_a_server_with_chat_alone(
    server: CompletionServer, ask: Callable, tokenizer: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    server.paths.remove("completions")
    with pytest.raises(
        EndpointError, match=r"404 Not Found: Not Found. Either the model .* end in /v1\? A server with"
    ):
        ask()
    form = PromptFormat.chat(tokenizer, "Answer briefly.", ["Who wrote Emma? => Jane Austen"])
    with caplog.at_level(logging.WARNING):
        answers = ask(form=form)
    assert "has no /completions: it is asked by chat, with its own template" in caplog.text
    assert [answer.text for answer in answers.values()] == [f"City {i}" for i in range(12)]
    roles = ["system", "user", "assistant", "user"]
    contents = ["Answer briefly.", "Who wrote Emma?", "Jane Austen", PROMPTS[0]]
    assert server.bodies[0]["messages"] == [
        {"role": role, "content": text} for role, text in zip(roles, contents, strict=True)
    ]
    text = tokenizer.apply_chat_template(server.bodies[0]["messages"], tokenize=False, add_generation_prompt=True)
    assert text == form.prompt_text(PROMPTS[0])
    server.paths.clear()
    with pytest.raises(EndpointError, match="chat/completions: 404 Not Found"):
        ask(form=form, stored_as="other")
    with pytest.raises(ValueError, match='`api="chat"` lets the server .* this question_answer format is not made of'):
        ask(api="chat")


def test_ids_are_sent_where_a_server_would_add_bos_once_more(
    server: CompletionServer, sentencepiece: PreTrainedTokenizerFast
) -> None:
    sentencepiece = copy.deepcopy(sentencepiece)
    sentencepiece.chat_template = "{{ bos_token }}{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    chat, server.takes_ids = PromptFormat.chat(sentencepiece), True
    for form in (FORM, chat):
        answer_prompts(Endpoint(server.url, "facts"), sentencepiece, PROMPTS[:1], form, keep=False)
    assert server.prompts() == [FORM.prompt_text(PROMPTS[0]), chat.prompt_ids(sentencepiece, PROMPTS)[0]]
    server.takes_ids = False
    with pytest.raises(
        EndpointError, match=r"400 .*must be a string\.\. The prompt went as token ids, since a server"
    ):
        answer_prompts(Endpoint(server.url, "facts"), sentencepiece, PROMPTS[:1], chat, keep=False)


def test_answers_are_kept_by_address_or_by_name(server: CompletionServer, ask: Callable) -> None:
    ask(stored_as="commit 1")
    with completion_server(say) as moved:
        ask(url=moved.url, stored_as="commit 1")
        assert moved.bodies == []
        ask(url=moved.url)
        assert len(moved.bodies) == 12
    for options in ({"stored_as": "commit 2"}, {"stored_as": "commit 1", "model": "facts2"}, {}):
        server.bodies, server.models = [], ["facts", "facts2"]
        ask(**options)
        assert len(server.bodies) == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "localhost:8000/v1"}, "`url` must be a base URL such as http://localhost:8000/v1, but 'localhost"),
        ({"url": "http://localhost:8000/v1/completions"}, "`url` must be a base URL"),
        ({"api": "responses"}, "`api` must be one of auto, completions, chat, but 'responses'"),
        ({"concurrency": 0}, "`concurrency` must be at least 1"),
        ({"timeout": 0}, "`timeout` above 0"),
    ],
)
def test_bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Endpoint(**{"url": "http://localhost:8000/v1", **options})
