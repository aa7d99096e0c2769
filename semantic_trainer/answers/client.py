"""HTTP to an OpenAI-compatible server: tries again where that may help, and says in one sentence where it does not."""

import logging
import random
import threading
import time

import requests
from urllib3.exceptions import InvalidHeader, NewConnectionError
from urllib3.util import Retry

logger = logging.getLogger(__name__)
RETRIED = (408, 429, 500, 502, 503, 504)
FIRST_WAIT, LONGEST_BACKOFF, LONGEST_WAIT = 0.5, 30.0, 3600.0  # seconds
SHOWN = 200


class EndpointError(OSError):
    """A server that is not there, refuses, or answers in another protocol; `status` is the HTTP status, if any."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


class _Bearer(requests.auth.AuthBase):
    """The API key as a header; said in this way, because a ~/.netrc would overrule the header alone."""

    def __init__(self, api_key: str) -> None:
        self.api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.api_key}"
        return request


class Client:
    """JSON requests to one server from any number of threads.

    Args:
        url: base URL, without a slash at its end.
        retries: times a request is sent again after 408, 429, 5xx, a timeout or a cut connection, `FIRST_WAIT` seconds
            later, then twice that and so on, or when `Retry-After` says, which holds for every thread. A 429 counts
            only while no other request is answered.
        timeout: seconds to wait for the next byte.
    """

    def __init__(self, url: str, api_key: str | None, retries: int, timeout: float, connections: int) -> None:
        self.url, self.retries, self.timeout = url, retries, timeout
        self.session = requests.Session()
        self.session.auth = _Bearer(api_key) if api_key else None
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=connections))
        self.stopped = threading.Event()
        self.answered, self.resume_at = 0, 0.0

    def call(self, path: str, body: dict | None = None) -> dict:
        """GET, or with a body POST, `path`: the JSON object of the answer.

        Raises:
            EndpointError: one sentence on what the server did; or `stopped` was set while this waited.
        """
        where, failures, seen = f"{self.url}/{path}", 0, self.answered
        while True:
            self._sleep(self.resume_at - time.monotonic())
            status, wait = None, None
            try:
                reply = self.session.request(
                    "GET" if body is None else "POST", where, json=body, timeout=self.timeout, allow_redirects=False
                )
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                fault = self._describe(error)
            except requests.RequestException as error:
                raise EndpointError(f"{where}: {error}") from error
            else:
                status = reply.status_code
                if status not in RETRIED:
                    found = read_json(reply, where)
                    self.answered += 1
                    return found
                fault, wait = f"{status} {reply.reason}: {server_message(reply)}", retry_after(reply)
            if status == 429 and self.answered > seen:
                failures, seen = 0, self.answered
            failures += 1
            if failures > self.retries:
                tries = f" ({failures} tries)" if failures > 1 else ""
                raise EndpointError(f"{where}: {fault}{tries}", status)
            self._back_off(where, fault, failures, wait)

    def _describe(self, error: requests.RequestException) -> str:
        """What became of a request without an answer; raises where nothing has ever answered at the address."""
        if isinstance(error, requests.ReadTimeout):
            return f"no answer within {self.timeout:g} s"
        reason = getattr(error.args[0] if error.args else None, "reason", None)
        if not isinstance(reason, NewConnectionError) and not isinstance(error, requests.ConnectTimeout):
            return f"the connection was cut ({type(error).__name__})"
        why = str(reason).rpartition(": ")[2]
        if self.answered == 0:
            raise EndpointError(
                f"there is no server at {self.url} ({why}): start it, or correct the address"
            ) from error
        return f"the server is gone ({why})"

    def _back_off(self, where: str, fault: str, failures: int, wait: float | None) -> None:
        if wait is None:
            wait = min(FIRST_WAIT * 2 ** (failures - 1), LONGEST_BACKOFF) * random.uniform(0.5, 1.0)
        elif wait > LONGEST_WAIT:
            raise EndpointError(f"{where}: {fault}; it asks to come back in {wait:.0f} s")
        else:
            self.resume_at = max(self.resume_at, time.monotonic() + wait)
        logger.info("%s: %s; again in %.1f s", where, fault, wait)
        self._sleep(wait)

    def _sleep(self, seconds: float) -> None:
        if self.stopped.wait(max(seconds, 0.0)):
            raise EndpointError("stopped")

    def models(self) -> list[str]:
        """Names under /models; none where the server does not say."""
        try:
            return [str(entry["id"]) for entry in self.call("models").get("data") or ()]
        except (EndpointError, KeyError, TypeError):
            return []


def retry_after(reply: requests.Response) -> float | None:
    """Seconds that a `Retry-After` header asks for, given as a number or as a date; `None` without a readable one."""
    try:
        return Retry().parse_retry_after(reply.headers["Retry-After"])
    except (KeyError, InvalidHeader):
        return None


def read_json(reply: requests.Response, where: str) -> dict:
    """The JSON object of an answer that needs no second try, or an `EndpointError`."""
    status = reply.status_code
    if status in (401, 403):
        raise EndpointError(
            f"{where} refuses the API key ({status}: {server_message(reply)}): set OPENAI_API_KEY or pass `api_key`",
            status,
        )
    if 300 <= status < 400:
        raise EndpointError(f"{where} redirects to {reply.headers.get('Location')!r}: give that address", status)
    if status >= 400:
        raise EndpointError(f"{where}: {status} {reply.reason}: {server_message(reply)}", status)
    try:
        found = reply.json()
    except requests.exceptions.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise EndpointError(
            f"{where} did not answer with a JSON object but with {shorten(reply.text)!r}: is it an OpenAI-compatible "
            "server?"
        )
    return found


def server_message(reply: requests.Response) -> str:
    """The words of an error: `error.message`, `error`, `detail` or `message` of its JSON, else its text, shortened."""
    try:
        found = reply.json()
    except requests.exceptions.JSONDecodeError:
        return shorten(reply.text) or "no reason given"
    for name in ("error", "detail", "message"):
        if isinstance(found, dict) and name in found:
            found = found[name]
    return shorten(str(found))


def shorten(text: str) -> str:
    """One line of at most `SHOWN` characters."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}..."
