"""A Hub in one process: the endpoints that `datasets` asks for, on a loopback port."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0" * 40


class HubHandler(BaseHTTPRequestHandler):
    """Answers from `server.datasets`: repository -> path -> content; others are unknown, or gated by their name."""

    def log_message(self, *args: object) -> None:
        """Nothing on stderr."""

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content_Length": str(len(body))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(path)
        for name, files in self.server.datasets.items():
            if path.startswith((f"/api/datasets/{name}/", f"/datasets/{name}/")) or path == f"/api/datasets/{name}":
                return self.answer(name, path.partition(name)[2].strip("/"), files)
        gated = "gated" in path
        return self.reply(403 if gated else 404, X_Error_Code="GatedRepo" if gated else "RepoNotFound")

    do_HEAD = do_GET

    def answer(self, name: str, asked: str, files: Mapping[str, bytes]) -> None:
        """`resolve/REV/FILE`, `tree/REV`, or what the repository is."""
        kind, _, rest = asked.partition("/")
        if kind == "resolve":
            content = files.get(rest.partition("/")[2])
            if content is None:
                return self.reply(404, X_Error_Code="EntryNotFound")
            return self.reply(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=COMMIT)
        if kind == "tree":
            found = [{"type": "file", "oid": COMMIT, "size": len(c), "path": path} for path, c in files.items()]
            return self.reply(200, json.dumps([] if "/" in rest else found).encode(), Content_Type="application/json")
        info = {"id": name, "sha": COMMIT, "private": False, "gated": False, "tags": [], "downloads": 0, "likes": 0}
        info["siblings"] = [{"rfilename": path} for path in files]
        return self.reply(200, json.dumps(info).encode(), Content_Type="application/json")


@contextmanager
def serve(datasets: Mapping[str, Mapping[str, bytes]]) -> Iterator[ThreadingHTTPServer]:
    """A server of these datasets; `server.url` is its endpoint, `server.asked` the paths asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    server.datasets, server.asked = datasets, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
