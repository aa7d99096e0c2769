"""One commit to a Hub on loopback with the real client; faults are one sentence, and leave nothing half done."""

import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from semantic_trainer.hub.plan import WHOLE, Upload
from semantic_trainer.hub.upload import HubError, check_repo_id, commit

from .server import TOKEN, Fault, Hub, serve, use

FILES = [
    *(Upload("README.md", b"# card"), Upload("semantic_summary.json", b"{}")),
    *(Upload("adapter_model.safetensors", b"w" * 70_000), Upload("figures/a.png", b"p" * 5_000)),
]
CONTENT = {file.path: file.read() for file in FILES}
COMMIT, REPO = "/commit/", "org/mine"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that this process pushes to."""
    with serve() as server:
        use(server, monkeypatch)
        yield server


def test_all_files_in_one_commit(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"p" * 5_000)
    info = commit([*FILES[:3], Upload("figures/a.png", tmp_path / "a.png")], REPO, "Upload", private=True)
    assert hub.repos == {REPO: {"main": CONTENT}}
    assert hub.private == {REPO}
    assert info.commit_url.startswith(f"{hub.url}/{REPO}/commit/")
    assert sum(COMMIT in asked for asked in hub.asked) == 1
    commit([Upload("README.md", b"# other")], REPO, "Again")
    assert hub.repos[REPO]["main"] == CONTENT | {"README.md": b"# other"}


def test_a_branch_is_made_and_a_pull_request_opened(hub: Hub) -> None:
    commit(FILES[:1], REPO, "Upload")
    commit(FILES, REPO, "Upload", revision="dev")
    assert hub.repos[REPO] == {"main": {"README.md": b"# card"}, "dev": CONTENT}
    info = commit(FILES, REPO, "Upload", create_pr=True)
    assert hub.repos[REPO]["main"] == {"README.md": b"# card"}
    assert hub.repos[REPO]["refs/pr/1"] == CONTENT
    assert info.pr_url.endswith("/discussions/1")


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault("POST", COMMIT, 401), "the Hub knows no valid token of yours (401): log in with `hf auth login`"),
        (Fault("POST", "/repos/create", 403, 9), "your token may not write to 'org/mine' (403)"),
        (Fault("POST", COMMIT, 403), "your token may not write to 'org/mine' (403)"),
        (Fault("POST", COMMIT, 404, 1, {"X_Error_Code": "RepoNotFound"}), "the Hub has no 'org/mine'"),
        (Fault("POST", COMMIT, 404, 1, {"X_Error_Code": "RevisionNotFound"}), "has no revision"),
        (Fault("POST", COMMIT, 429, 9, {"Retry_After": "77"}), "slow down (429): push again in 77 seconds"),
        (Fault("POST", COMMIT, 412), "somebody else is changing 'org/mine' (412): push again"),
        (Fault("POST", COMMIT, 503, 99), "the Hub is in trouble (503): push again later"),
        (Fault("POST", COMMIT, None, 99), "the connection to the Hub failed"),
        (Fault("PUT", "/upload/", None, 99), "the connection to the Hub failed"),
    ],
)
def test_a_refusal_is_one_sentence_and_the_next_push_finishes(fault: Fault, sentence: str, hub: Hub) -> None:
    hub.faults = [fault]
    with pytest.raises(HubError) as caught:
        commit(FILES, REPO, "Upload")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert "Nothing was published" in str(caught.value)
    assert not hub.repos.get(REPO, {}).get("main")  # nothing half-published
    hub.faults = []
    sent = [asked for asked in hub.asked if asked.startswith("PUT")]
    commit(FILES, REPO, "Upload")
    assert hub.repos[REPO]["main"] == CONTENT
    if len(sent) == 2:  # both large files had arrived
        assert [asked for asked in hub.asked if asked.startswith("PUT")] == sent


def test_an_upload_that_is_cut_is_sent_again(hub: Hub) -> None:
    hub.faults = [Fault("PUT", "/upload/", None)]
    commit(FILES, REPO, "Upload")
    assert hub.repos[REPO]["main"] == CONTENT


def test_no_token_and_a_wrong_one(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HubError, match=r"no valid token of yours \(401\)"):
        commit(FILES, REPO, "Upload")
    commit(FILES, REPO, "Upload", token=TOKEN)
    assert hub.repos[REPO]["main"] == CONTENT


def test_nobody_there(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(HubError, match="the connection to the Hub failed"):
        commit(FILES, REPO, "Upload")


@pytest.mark.parametrize("name", ["mine", "a/b/c", "../x", "a b/c", "/etc/passwd", "org/.."])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="`repo_id`"):
        check_repo_id(name)


def test_what_is_sent_is_json_lines(hub: Hub) -> None:
    commit(FILES[:1], REPO, "Say what")
    header = next(json.loads(body.splitlines()[0]) for body in hub.received if b'"header"' in body)
    assert header["value"]["summary"] == "Say what"


MINE = "models/mine.safetensors"


def test_what_an_earlier_push_left_is_removed(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """A whole model pushed over an adapter would be loaded with that adapter on it; the owner's own files stay."""
    hub.repos[REPO] = {"main": dict.fromkeys(("adapter_config.json", "facts.parquet", MINE), b"old")}
    new = [Upload("model.safetensors", b"new"), Upload("README.md", b"# card")]
    with caplog.at_level("INFO", "semantic_trainer"):
        hub.faults = [Fault("POST", "/commit/", 403)]
        with pytest.raises(HubError):
            commit(new, REPO, "Upload", replaces=WHOLE)
        assert "facts.parquet" in hub.repos[REPO]["main"]
        assert "removed" not in caplog.text
        hub.asked.clear()
        commit(new, REPO, "Upload", replaces=WHOLE)
    assert hub.repos[REPO]["main"] == {MINE: b"old", "model.safetensors": b"new", "README.md": b"# card"}
    assert "removed what an earlier push left there: adapter_config.json, facts.parquet" in caplog.text
    assert sum(COMMIT in asked for asked in hub.asked) == 1
