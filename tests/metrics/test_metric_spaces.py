"""The folders as Spaces: the app computes for a gradio client."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT_HEADERS, NUMBER_HEADERS = ["predictions", "references", "groups"], ["predictions", "references"]
CALLS = {
    "knowledge_accuracy": (
        TEXT_HEADERS,
        [["Rome.", "Rome", ""], ["", "", ""], ["b", '["a", "b"]', None], [1914, "1914"], ["x", "y", ""]],
        ["strict"],
        {"knowledge_accuracy": 0.75},
    ),
    "generality": (
        TEXT_HEADERS,
        [["Rome", "Rome", "Italy"], ["Pisa", "Rome", "Italy"], ["the Oslo!", "Oslo", "Norway"]],
        ["normalized"],
        {"generality": 0.75},
    ),
    "locality": (TEXT_HEADERS, [["It is 8", "8", ""], ["Paris", "London", ""]], ["contains"], {"locality": 0.5}),
    "deviation": (
        NUMBER_HEADERS,
        [[0.75, 0.5], ["0.25", "0.5"], [None, None]],
        [],
        {"deviation": 0.5, "deviation_in_bad": 0.5, "relative_deviation": 0.5, "undefined": 0},
    ),
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int, process: subprocess.Popen, seconds: float = 240) -> None:
    """Return once something listens on the port."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError(f"nothing listens on port {port} after {seconds} s")


@pytest.fixture
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of a running app.py, started from elsewhere, as on a Space."""
    for name, value in {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}.items():
        monkeypatch.setenv(name, value)
    port = free_port()
    environment = os.environ | {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    app = subprocess.Popen(
        [sys.executable, str(ROOT / "metrics" / request.param / "app.py")],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(port, app)
        yield f"http://127.0.0.1:{port}"
    finally:
        app.terminate()
        app.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize(("address", "name"), [(name, name) for name in CALLS], indirect=["address"])
def test_app_computes_for_a_client(address: str, name: str) -> None:
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    client = Client(address, verbose=False)
    headers, rows, options, expected = CALLS[name]
    assert client.predict({"headers": headers, "data": rows}, *options, api_name="/compute") == expected
    with pytest.raises(AppError, match="0 rows"):
        client.predict({"headers": headers, "data": []}, *options, api_name="/compute")
