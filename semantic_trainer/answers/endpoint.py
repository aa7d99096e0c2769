"""Old answers from a server: any OpenAI-compatible completion endpoint (vLLM, TGI, `transformers serve`)."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm.auto import tqdm

from ..distribution import is_first, on_first
from ..facts.prompts import PromptFormat
from .asking import Asker, finished
from .client import Client, EndpointError
from .reading import Answer
from .store import AnswerStore, tokenizer_key

logger = logging.getLogger(__name__)
APIS = ("auto", "completions", "chat")


@dataclass(frozen=True)
class Endpoint:
    """A server to ask in place of a model: `add_old_answers(facts, Endpoint("http://localhost:8000/v1"), tokenizer)`.

    A request is greedy (`temperature` 0, `frequency_penalty` 0), of at most `max_new_tokens`, and stops at a newline.
    Other defaults of the server (vLLM takes a repetition penalty from the model's `generation_config.json`) are the
    server's business, and so is its dtype: in half precision answers depend on what else is being answered.

    Args:
        url: base URL, the part before `/completions`.
        model: name on the server; `None` takes the only one that `/models` offers.
        api: `completions` sends `PromptFormat.prompt_text`, so that the server adds no template of its own. It goes as
            text where the tokenizer, adding its special tokens as a server does, gives the ids of local answers, else
            as token ids, which vLLM and llama.cpp take. `chat` sends messages (a chat format only): **the server
            applies its own chat template**, which may hold a date, another system message or no generation prompt;
            the text is then known to the server alone, and distances are between answers to that text. `auto` is
            `completions`, or `chat` for a chat format where the server has no `/completions`.
        concurrency: requests in flight; default 16.
        retries: times a request is sent again after 429, 5xx, a timeout or a cut connection; default 5. Waits double
            from half a second, or are what `Retry-After` says.
        timeout: seconds without a byte after which a request is sent again; default 600. Few servers notice that
            nobody waits any more, so a short timeout at a slow server adds to its queue; rather lower `concurrency`.
        api_key: sent as a bearer token; default `$OPENAI_API_KEY`.
        stored_as: what answers are kept under in place of name and URL, such as a commit, so that they are found again
            when the model is served at another address. A server does not say which weights it holds: after changing
            them under the same name, change `stored_as` or `store_dir`.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> server = Endpoint("http://localhost:8000/v1", "meta-llama/Llama-3.1-70B", concurrency=64)
        >>> facts = add_old_answers(facts, server, tokenizer)
    """

    url: str
    model: str | None = None
    api: str = "auto"
    concurrency: int = 16
    retries: int = 5
    timeout: float = 600.0
    api_key: str | None = field(default=None, repr=False)
    stored_as: str | None = None

    def __post_init__(self) -> None:
        url = self.url.rstrip("/")
        if not url.startswith(("http://", "https://")) or url.endswith("/completions"):
            raise ValueError(f"`url` must be a base URL such as http://localhost:8000/v1, but {self.url!r} was passed")
        object.__setattr__(self, "url", url)
        if self.api not in APIS:
            raise ValueError(f"`api` must be one of {', '.join(APIS)}, but {self.api!r} was passed")
        if self.concurrency < 1 or self.retries < 0 or self.timeout <= 0:
            raise ValueError("`concurrency` must be at least 1, `retries` at least 0, and `timeout` above 0 seconds")

    def client(self) -> Client:
        """A connection, with the API key."""
        key = self.api_key or os.environ.get("OPENAI_API_KEY")
        return Client(self.url, key, self.retries, self.timeout, self.concurrency)


def answer_from_endpoint(
    endpoint: Endpoint,
    processing_class: object,
    prompts: Sequence[str],
    prompt_format: PromptFormat,
    max_new_tokens: int = 32,
    store_dir: str | Path | None = None,
    description: str = "answers",
    keep: bool = True,
) -> dict[str, Answer]:
    """A server's greedy answers by prompt, in the order of the prompts; what the store holds is not asked again.

    Several processes (`torchrun`) get the answers that the first one asks for. Arguments as in `answer_prompts`.

    Raises:
        EndpointError: the server is not there, refuses the key or the model, goes on failing, or does not answer as
            the protocol says. What was answered before is kept, and a second call goes on from there.
    """
    client = endpoint.client()
    model = endpoint.model or on_first(_only_model, client)
    store, answers = None, {}
    if keep:
        key = _store_key(endpoint, model, processing_class, prompt_format, max_new_tokens)
        store = AnswerStore(key, store_dir) if is_first() else None
        answers = on_first(lambda: store.select(prompts))
    unique = list(dict.fromkeys(prompts))
    missing = [prompt for prompt in unique if prompt not in answers]
    if answers and store:
        logger.info("%s: %d answers of %s were kept in %s", description, len(answers), model, store.folder)
    if not missing:
        return answers
    asker = Asker(client, model, endpoint.api, processing_class, prompt_format, max_new_tokens)
    batches, start = finished(asker, missing, endpoint.concurrency), time.perf_counter()
    with tqdm(total=len(missing), desc=description, unit="facts", disable=None if is_first() else True) as bar:
        try:
            while (batch := on_first(next, batches, None)) is not None:
                if keep:
                    on_first(lambda answered=batch: store.add(answered))
                answers.update(batch)
                bar.update(len(batch))
        except EndpointError as error:
            kept = f"; {len(answers)} of {len(unique)} answers are kept" if store else ""
            raise EndpointError(f"{error}{kept}", error.status) from error
    seconds = time.perf_counter() - start
    logger.info("%s: %d prompts in %.1f s (%.1f/s)", description, len(missing), seconds, len(missing) / seconds)
    return {prompt: answers[prompt] for prompt in prompts}


def _only_model(client: Client) -> str:
    """The model of a server that offers one."""
    offered = [str(entry.get("id")) for entry in client.call("models").get("data") or ()]
    if len(offered) != 1:
        raise ValueError(f"`model` is needed: {client.url} offers {', '.join(offered) or 'none by name'}.")
    return offered[0]


def _store_key(
    endpoint: Endpoint, model: str, processing_class: object, prompt_format: PromptFormat, max_new_tokens: int
) -> dict[str, object]:
    """Everything that a server's answers depend on, as far as the client can know."""
    return {
        "weights": f"{model} as {endpoint.stored_as}" if endpoint.stored_as else f"{model} at {endpoint.url}",
        "config": None,
        "adapter": None,
        "tokenizer": tokenizer_key(processing_class),
        "prompt_format": prompt_format.to_dict(),
        "generation": {"max_new_tokens": max_new_tokens, "api": endpoint.api, "dtype": "the server's"},
    }
