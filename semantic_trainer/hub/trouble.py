"""What can go wrong between here and the Hub, in one clear sentence each."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class HubError(OSError):
    """The Hub refused, or was not reached."""


@dataclass(frozen=True)
class Way:
    """How sentences speak of what was tried.

    Attributes:
        again: what to do once more.
        right: what a token must be good for.
        kept: what did not happen.
        sent: what a second try need not do again.
    """

    again: str
    right: str
    kept: str
    sent: str


PUSH = Way("push", "write", "Nothing was published", "what has been sent is not sent twice")
PULL = Way("pull", "read", "Nothing was scored", "what has arrived is not asked for twice")


@contextmanager
def explained(repo_id: str, revision: str | None = None, way: Way = PUSH) -> Iterator[None]:
    """Turn what the Hub's client raises into a `HubError`."""
    from huggingface_hub.errors import HfHubHTTPError

    transport = HfHubHTTPError.__mro__[1]  # HTTPError of httpx, or of httpx2 from huggingface-hub 2 on
    try:
        yield
    except (transport, OSError, RuntimeError) as error:
        said = explain_error(error, repo_id, revision, way, transport)
        if said is None:
            raise
        raise HubError(said) from error


def explain_error(
    error: Exception, repo_id: str, revision: str | None, way: Way, transport: type[Exception]
) -> str | None:
    """One sentence for what a client of the Hub raised; `None` for what has another cause."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    kinds = (transport, ConnectionError, TimeoutError, LocalTokenNotFoundError)
    # libraries wrap what went wrong on the way, in a RuntimeError or an OSError of their own; that a repository lacks
    # a file is their affair
    cause = next((e for e in causes(error) if isinstance(e, kinds) and not isinstance(e, EntryNotFoundError)), None)
    if isinstance(cause, OfflineModeIsEnabled):
        return f"the Hub is switched off by HF_HUB_OFFLINE: unset it. {way.kept}."
    if isinstance(cause, LocalTokenNotFoundError):
        return f"no token: log in with `hf auth login`, or set HF_TOKEN. {way.kept}."
    if isinstance(cause, HfHubHTTPError):
        return f"{explain(cause, repo_id, revision, way)} {way.kept}; what lies here is untouched."
    if isinstance(cause, (transport, ConnectionError, TimeoutError)):
        reason = " ".join(str(cause).split()) or type(cause).__name__
        unless = ", unless it broke while the Hub answered the last request" if way is PUSH else ""
        return (
            f"the connection to the Hub failed ({reason}): {way.again} again, {way.sent}. {way.kept}{unless}; what "
            "lies here is untouched."
        )
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it came from, the nearest first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def explain(error: Exception, repo_id: str, revision: str | None = None, way: Way = PUSH) -> str:
    """What a refusal means and what to do, in one sentence."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    response = error.response
    status = response.status_code
    if status == 401:
        missing = f"has no {repo_id!r} to show, or " if way is PULL else ""
        return (
            f"the Hub {missing}knows no valid token of yours (401): log in with `hf auth login`, or set HF_TOKEN to a "
            f"token with {way.right} access to {repo_id!r}."
        )
    if isinstance(error, GatedRepoError) and way is PULL:
        return f"{repo_id!r} is gated ({status}): ask for access on its page, then log in with `hf auth login`."
    if status == 403 or isinstance(error, GatedRepoError):
        return (
            f"your token may not {way.right} {'from' if way is PULL else 'to'} {repo_id!r} ({status}): use one with "
            f"{way.right} access, or another repo_id."
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id!r} has no revision {revision!r} (404): name a branch that is there, or none."
    if status == 404 or isinstance(error, RepositoryNotFoundError):
        return f"the Hub has no {repo_id!r}, or does not show it to you (404): check the name and your token."
    if status == 429:
        wait = response.headers.get("Retry-After")
        wait = f"{wait} seconds" if wait else "some minutes"
        return f"the Hub asks to slow down (429): {way.again} again in {wait}."
    if status in (409, 412):
        return f"somebody else is changing {repo_id!r} ({status}): {way.again} again."
    if status >= 500:
        return f"the Hub is in trouble ({status}): {way.again} again later; {way.sent}."
    said = " ".join((getattr(error, "server_message", None) or str(error)).split())
    return f"the Hub refused ({status}): {said}."
