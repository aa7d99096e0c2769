"""A Hub on a loopback port: models, datasets and Spaces, pushed to in commits, pulled from; faults on demand."""

import base64
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import datasets
import huggingface_hub
import pytest
import transformers

TOKEN = "hf_" + "pUsHeR0123456789" * 2


@dataclass
class Fault:
    """What a request gets instead of its answer, the next `times` times.

    Attributes:
        status: `None` cuts the connection in the middle of what is sent.
    """

    method: str
    part: str
    status: int | None
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


class Hub(ThreadingHTTPServer):
    """The server's state.

    Attributes:
        repos: repository -> revision -> path -> content; a model is `ORG/NAME`, others are `datasets/ORG/NAME`, ...
        gated: repositories that are shown to nobody.
        made: what was asked for of each repository that was made.
        blobs: large files by sha256, whether or not a commit names them.
        asked: method and path of every request; `received` what was sent with them.
    """

    def __init__(self, repos: Mapping[str, Mapping[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {n: {"main": dict(c)} for n, c in repos.items()}
        self.private: set[str] = set()
        self.gated: set[str] = set()
        self.made: dict[str, dict] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.received: list[bytes] = []
        self.faults: list[Fault] = []
        self.token = TOKEN

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say what went wrong here; a client that hangs up is no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def fault(self, method: str, path: str) -> Fault | None:
        """The next fault for a request, used up."""
        for fault in self.faults:
            if fault.method == method and fault.part in path:
                fault.times -= 1
                self.faults = [f for f in self.faults if f.times > 0]
                return fault
        return None


class HubHandler(BaseHTTPRequestHandler):
    """The endpoints that `huggingface_hub` pushes to and pulls from. Writing needs the token."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Nothing on stderr."""

    def reply(self, status: int, body: object = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        kind = {} if isinstance(body, bytes) else {"Content_Type": "application/json"}
        for name, value in {**kind, **headers, "Content_Length": str(len(data))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_request(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        fault = self.server.fault(self.command, path)
        if fault and fault.status is None:
            self.rfile.read(min(1000, int(self.headers.get("Content-Length") or 0)))
            self.close_connection = True
            self.connection.close()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.received.append(body)
        if fault:
            return self.reply(fault.status, {"error": "no"}, **fault.headers)
        if self.command in ("POST", "PUT") and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            if not path.startswith("/upload/"):  # which the Hub signs instead
                return self.reply(401, {"error": "Invalid credentials"}, X_Error_Message="Invalid credentials")
        self.answer(path, body)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request

    def answer(self, path: str, body: bytes) -> None:
        hub = self.server
        if path == "/api/whoami-v2":
            return self.reply(200, {"name": "org", "type": "user", "orgs": [], "auth": {}})
        if path == "/api/repos/create":
            asked = json.loads(body)
            kind = {"dataset": "datasets/", "space": "spaces/"}.get(asked.get("type"), "")
            name = f"{kind}{asked.get('organization') or 'org'}/{asked['name']}"
            there = name in hub.repos
            hub.repos.setdefault(name, {"main": {}})
            hub.made.setdefault(name, asked)
            private = asked.get("private") or asked.get("visibility") == "private"
            hub.private |= {name} if private and not there else set()
            return self.reply(409 if there else 200, {"url": f"{hub.url}/{name}"})
        if path == "/api/validate-yaml":
            return self.reply(200, {"errors": [], "warnings": []})
        if path.endswith("/info/lfs/objects/batch"):
            return self.reply(
                200, {"transfer": "basic", "objects": [self.lfs(o) for o in json.loads(body)["objects"]]}
            )
        if path.startswith("/upload/"):
            if hashlib.sha256(body).hexdigest() == path.rpartition("/")[2]:
                hub.blobs[path.rpartition("/")[2]] = body
                return self.reply(200)
            return self.reply(400)
        if path.startswith("/verify/"):
            return self.reply(200 if json.loads(body)["oid"] in hub.blobs else 404, {})
        place = path.removeprefix("/api/models/").removeprefix("/api/").strip("/") + "/"
        name = next((n for n in (*hub.repos, *hub.gated) if place.startswith(f"{n}/")), None)
        if name is None:
            return self.reply(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        if name in hub.gated:
            return self.reply(403, {"error": "Ask for access"}, X_Error_Code="GatedRepo")
        return self.of_repo(name, place.removeprefix(name).strip("/"), body)

    def lfs(self, asked: dict) -> dict:
        oid, url = asked["oid"], self.server.url
        actions = {"upload": {"href": f"{url}/upload/{oid}"}, "verify": {"href": f"{url}/verify/{oid}"}}
        return {"oid": oid, "size": asked["size"]} | ({} if oid in self.server.blobs else {"actions": actions})

    def of_repo(self, name: str, rest: str, body: bytes) -> None:
        revisions = self.server.repos[name]
        kind, _, rest = rest.partition("/")
        if kind == "branch":
            there = rest in revisions
            revisions.setdefault(rest, dict(revisions["main"]))
            return self.reply(409 if there else 200, {})
        if kind == "preupload":
            files = [
                {
                    **{"path": f["path"], "shouldIgnore": False, "oid": None},
                    "uploadMode": "lfs" if f["path"].endswith((".safetensors", ".png", ".parquet")) else "regular",
                }
                for f in json.loads(body)["files"]
            ]
            return self.reply(200, {"files": files})
        if kind == "commit":
            return self.commit(name, rest, body)
        revision, _, file = rest.partition("/")
        files = revisions.get(revision or "main", next((r for r in revisions.values() if sha(r) == revision), None))
        if files is None:
            return self.reply(404, {"error": "no"}, X_Error_Code="RevisionNotFound")
        if kind == "resolve":
            if file not in files:
                return self.reply(404, b"", X_Error_Code="EntryNotFound")
            etag = f'"{hashlib.sha256(files[file]).hexdigest()}"'
            return self.reply(200, files[file], ETag=etag, X_Repo_Commit=sha(files))
        if kind == "tree":
            found = [{"type": "file", "oid": sha(files), "size": len(c), "path": p} for p, c in files.items()]
            return self.reply(200, [] if file else found)  # no folder is asked for that is not empty
        about = {"id": name.removeprefix("datasets/").removeprefix("spaces/"), "sha": sha(files), "private": False}
        about |= {"siblings": [{"rfilename": path} for path in files], "tags": [], "gated": False}
        return self.reply(200, about | {"downloads": 0, "likes": 0})

    def commit(self, name: str, revision: str, body: bytes) -> None:
        revisions = self.server.repos[name]
        if revision not in revisions:
            return self.reply(404, {"error": "no"}, X_Error_Code="RevisionNotFound")
        files = dict(revisions[revision])
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                files.pop(line["value"]["path"], None)
            elif line["key"] == "lfsFile":
                if line["value"]["oid"] not in self.server.blobs:
                    return self.reply(400, {"error": "LFS pointer to a file that is not there"})
                files[line["value"]["path"]] = self.server.blobs[line["value"]["oid"]]
        pull = "create_pr=1" in urlsplit(self.path).query
        revisions["refs/pr/1" if pull else revision] = files
        url = f"{self.server.url}/{name}/commit/{sha(files)}"
        more = {"pullRequestUrl": f"{self.server.url}/{name}/discussions/1"} if pull else {}
        self.reply(200, {"success": True, "commitOid": sha(files), "commitUrl": url, "hookOutput": "", **more})


def sha(files: dict[str, bytes]) -> str:
    """40 hex digits for a revision's content."""
    digest = hashlib.sha1()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return digest.hexdigest()


def use(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process push to a Hub and pull from it; waiting before another try takes no time."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", server.url)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", server.url)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    # transformers keeps a client of its own, with the endpoint of whoever has first asked for it
    monkeypatch.setattr(transformers.utils.hub, "_hf_api", None, raising=False)
    monkeypatch.setenv("HF_TOKEN", server.token)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def environment(server: Hub, home: Path) -> dict[str, str]:
    """Of a process that pushes to a Hub and pulls from it, with caches in `home` and no token but the Hub's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    switches = dict.fromkeys(("XET", "TELEMETRY", "PROGRESS_BARS"), "1")
    return {
        **kept,
        **{f"HF_HUB_DISABLE_{name}": value for name, value in switches.items()},
        **{"HF_ENDPOINT": server.url, "HF_HOME": str(home), "HF_TOKEN": server.token},
        "SEMANTIC_TRAINER_CACHE": str(home / "semantic-trainer"),
    }


@contextmanager
def serve(repos: Mapping[str, Mapping[str, bytes]] | None = None) -> Iterator[Hub]:
    """A Hub with these repositories: name, as in `Hub.repos` -> path -> content of `main`."""
    server = Hub(repos or {})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
