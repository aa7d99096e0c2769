"""One commit on the Hub, and what can go wrong on the way in one clear sentence each."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .plan import Upload

if TYPE_CHECKING:  # a wrong option needs none of it
    from concurrent.futures import Future

    from huggingface_hub import CommitInfo

KEPT = "Nothing was published"


class HubError(OSError):
    """The Hub refused, or was not reached."""


def check_repo_id(repo_id: str) -> None:
    """Raise a `ValueError` where a name is not ORG/NAME as the Hub takes it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"`repo_id` {repo_id!r} is no name of a repository: {error}") from error
    if repo_id.count("/") != 1:
        raise ValueError(f"`repo_id` must be ORG/NAME, with your user name or an organization, but is {repo_id!r}.")


def commit(
    files: Sequence[Upload],
    repo_id: str,
    message: str,
    *,
    private: bool | None = None,
    create_pr: bool = False,
    revision: str | None = None,
    token: str | None = None,
    repo_type: str = "model",
    run_as_future: bool = False,
    **repo_options: object,
) -> "CommitInfo | Future[CommitInfo]":
    """Publish files in one commit: all of them or none.

    A repository that is not there yet is made, and a branch; not for a pull request, which needs one to go to. Files
    already sent by a try that was cut short are not sent again.

    Args:
        repo_options: of `create_repo`, as `space_sdk`.

    Raises:
        HubError: in one sentence what happened and what to do.

    Example:
        >>> commit(files_to_push(Path("runs/demo")), "org/demo", "Upload adapter").commit_url
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(token=token)
    operations = [
        CommitOperationAdd(file.path, file.content if isinstance(file.content, bytes) else str(file.content))
        for file in files
    ]
    with explained(repo_id, revision):
        if not create_pr:
            api.create_repo(repo_id, private=private, repo_type=repo_type, exist_ok=True, **repo_options)
            if revision and not revision.startswith("refs/") and revision != "main":
                api.create_branch(repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
        return api.create_commit(
            repo_id,
            operations,
            commit_message=message,
            repo_type=repo_type,
            revision=revision,
            create_pr=create_pr,
            run_as_future=run_as_future,
        )


@contextmanager
def explained(repo_id: str, revision: str | None = None) -> Iterator[None]:
    """Turn what the Hub's client raises into a `HubError`."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    transport = HfHubHTTPError.__mro__[1]  # HTTPError of httpx, or of httpx2 from huggingface-hub 2 on
    try:
        yield
    except (transport, ConnectionError, TimeoutError, LocalTokenNotFoundError, RuntimeError) as error:
        # what goes wrong while a large file is sent comes as the cause of a RuntimeError
        wrapped = isinstance(error, RuntimeError) and not isinstance(error, transport)
        cause = error.__cause__ if wrapped else error
        if isinstance(cause, OfflineModeIsEnabled):
            said = f"the Hub is switched off by HF_HUB_OFFLINE: unset it. {KEPT}."
        elif isinstance(cause, LocalTokenNotFoundError):
            said = f"no token: log in with `hf auth login`, or set HF_TOKEN. {KEPT}."
        elif isinstance(cause, HfHubHTTPError):
            said = f"{explain(cause, repo_id, revision)} {KEPT}; what lies here is untouched."
        elif isinstance(cause, (transport, ConnectionError, TimeoutError)):
            reason = " ".join(str(cause).split()) or type(cause).__name__
            said = (
                f"the connection to the Hub failed ({reason}): push again, what has been sent is not sent twice. "
                f"{KEPT}, unless it broke while the Hub answered the last request; what lies here is untouched."
            )
        else:
            raise
        raise HubError(said) from error


def explain(error: Exception, repo_id: str, revision: str | None = None) -> str:
    """What a refusal means and what to do, in one sentence."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    response = error.response
    status = response.status_code
    if status == 401:
        return (
            "the Hub knows no valid token of yours (401): log in with `hf auth login`, or set HF_TOKEN to a token "
            f"with write access to {repo_id!r}."
        )
    if status == 403 or isinstance(error, GatedRepoError):
        return f"your token may not write to {repo_id!r} ({status}): use one with write access, or another repo_id."
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id!r} has no revision {revision!r} (404): name a branch that is there, or none."
    if status == 404 or isinstance(error, RepositoryNotFoundError):
        return f"the Hub has no {repo_id!r}, or does not show it to you (404): check the name and your token."
    if status == 429:
        wait = response.headers.get("Retry-After")
        return f"the Hub asks to slow down (429): push again in {f'{wait} seconds' if wait else 'some minutes'}."
    if status in (409, 412):
        return f"somebody else is changing {repo_id!r} ({status}): push again."
    if status >= 500:
        return f"the Hub is in trouble ({status}): push again later; what has been sent is not sent twice."
    said = " ".join((getattr(error, "server_message", None) or str(error)).split())
    return f"the Hub refused ({status}): {said}."
