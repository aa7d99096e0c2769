"""An OpenAI-compatible server over written answers, which refuses, fails, cuts and stalls as it is told to."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "facts"


@dataclass
class Reply:
    """What happens to one request in place of its answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    seconds: float = 0.0
    answered: bool = False


class CompletionServer(ThreadingHTTPServer):
    """`answer(prompt)` gives `(text, ended)`: the whole generation, and whether EOS or the token limit ended it.

    `faults` maps a prompt to what its next requests get; `bodies` are the requests that came, `most` how many at once.
    """

    daemon_threads = True

    def __init__(self, answer: Callable[[str], tuple[str, bool]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.answer, self.faults, self.bodies, self.times = answer, {}, [], []
        self.paths, self.models, self.key = {"completions", "chat/completions"}, [MODEL], None
        self.includes_stop = self.takes_ids = False
        self.inside = self.most = 0
        self.gate: Callable[[], None] = lambda: None
        self.lock = threading.Lock()

    def prompts(self) -> list[object]:
        """What was asked, in order."""
        return [body.get("prompt") or body["messages"] for body in self.bodies]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path != "/v1/models" or self.server.models is None:
            return self.send(404, {"detail": "Not Found"})
        if not self.allowed():
            return None
        return self.send(200, {"data": [{"id": name} for name in self.server.models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server, path = self.server, self.path.removeprefix("/v1/")
        if not self.allowed():
            return None
        if path not in server.paths:
            return self.send(404, {"detail": "Not Found"})
        with server.lock:
            server.bodies.append(body)
            server.times.append(time.monotonic())
            server.inside += 1
            server.most = max(server.most, server.inside)
            prompt = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
            queue = server.faults.get(prompt if isinstance(prompt, str) else "ids", [])
            fault = queue.pop(0) if queue else Reply(answered=True)
        try:
            server.gate()
            time.sleep(fault.seconds)
        finally:
            with server.lock:  # before the answer is sent: the next request may come at once
                server.inside -= 1
        if body["model"] not in (server.models or [MODEL]):
            return self.send(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        if not isinstance(prompt, str) and not server.takes_ids:
            return self.send(400, {"detail": "prompt must be a string."})
        if fault.cut:
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
            return None
        if not fault.answered:
            return self.send(fault.status, fault.body, fault.headers)
        return self.send(200, {"choices": [self.choice(prompt, body)]})

    def choice(self, prompt: object, body: dict) -> dict:
        """The generation, cut at the first stop string."""
        assert body["temperature"] == 0
        text, ended = self.server.answer(prompt)
        for stop in body.get("stop", []):
            if stop in text:
                text, ended = text[: text.index(stop) + len(stop) * self.server.includes_stop], True
        said = {"message": {"content": text}} if "messages" in body else {"text": text}
        return {**said, "finish_reason": "stop" if ended else "length"}

    def allowed(self) -> bool:
        if self.server.key in (None, (self.headers["Authorization"] or "").removeprefix("Bearer ")):
            return True
        self.send(401, {"error": "Unauthorized"})
        return False

    def send(self, status: int, body: bytes | dict, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # the client no longer waits
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Nothing into the tests' output."""


@contextmanager
def completion_server(answer: Callable[[str], tuple[str, bool]]) -> Iterator[CompletionServer]:
    """A running server, shut down at the end."""
    server = CompletionServer(answer)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
