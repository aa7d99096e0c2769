"""Ask a server one prompt, or many at once: the request, the reading of its answer, and the requests in flight."""

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from ..facts.prompts import PromptFormat
from .client import Client, EndpointError, shorten
from .reading import Answer

logger = logging.getLogger(__name__)
KEEP_EVERY = 2.0  # seconds between two chunks on disk: what a kill may cost


class Asker:
    """One question to the server in the prompt format, read as local answers are."""

    def __init__(
        self, client: Client, model: str, api: str, tokenizer: object, form: PromptFormat, max_new_tokens: int
    ) -> None:
        self.client, self.model, self.api = client, model, api
        self.tokenizer, self.form, self.max_new_tokens = tokenizer, form, max_new_tokens
        self.chat = self.as_text = False
        if api == "chat":
            self._use_chat()

    def _use_chat(self) -> None:
        form = self.form
        if form.kind != "chat" or form != PromptFormat.chat(self.tokenizer, form.system, form.shots):
            raise ValueError(
                '`api="chat"` lets the server apply its chat template to system message, shots and prompt, but this '
                f'{form.kind} format is not made of them. Use prompt_format="chat", or a server with /completions.'
            )
        self.chat = True

    def ask(self, prompt: str) -> Answer:
        """The greedy answer up to EOS or the first newline after a non-blank character."""
        text, full = self._complete(prompt, {"stop": ["\n"]})
        if not text.strip() and not full:  # the server stops at any newline; here it may stand before the answer
            text, full = self._complete(prompt, {})
        return read_text(text, full)

    def _complete(self, prompt: str, more: dict[str, object]) -> tuple[str, bool]:
        """Generated text, and whether `max_new_tokens` ended it."""
        path = "chat/completions" if self.chat else "completions"
        body = {
            "model": self.model,
            "max_tokens": self.max_new_tokens,
            "temperature": 0,
            "frequency_penalty": 0,
            **more,
        }
        if self.chat:
            body["messages"] = self.form.messages(prompt)
        else:
            body["prompt"] = self.form.prompt_text(prompt)
            if not self.as_text:
                body["prompt"] = self.form.prompt_ids(self.tokenizer, [prompt])[0]
        found = self.client.call(path, body)
        try:
            choice = found["choices"][0]
            text, reason = choice["message"]["content"] if self.chat else choice["text"], choice.get("finish_reason")
            if isinstance(text, str) or (text is None and self.chat):
                return text or "", reason == "length"
        except (KeyError, IndexError, TypeError, AttributeError):
            pass
        raise EndpointError(
            f"{self.client.url}/{path} answered with JSON that is no completion: {shorten(str(found))}"
        )

    def first(self, prompt: str) -> Answer:
        """Ask alone and find out how: as text or ids, by completions or chat.

        Raises:
            EndpointError: the model is unknown, there is no endpoint that fits, or the server takes no token ids.
        """
        text, (ids,) = self.form.prompt_text(prompt), self.form.prompt_ids(self.tokenizer, [prompt])
        self.as_text = list(self.tokenizer(text)["input_ids"]) == ids
        try:
            return self.ask(prompt)
        except EndpointError as error:
            if error.status in (400, 422) and not self.chat and not self.as_text:
                raise EndpointError(
                    f"{error}. The prompt went as token ids, since a server would add the tokenizer's special tokens "
                    "to its text once more; use prompt_format='question_answer', or Endpoint(api='chat')",
                    error.status,
                ) from error
            if error.status not in (404, 405):
                raise
            offered = self.client.models()
            if offered and self.model not in offered:
                raise EndpointError(
                    f"{self.client.url} has no model {self.model!r}; it offers {', '.join(offered)}", 404
                ) from error
            if self.chat or self.api == "completions" or self.form.kind != "chat":
                raise EndpointError(
                    f"{error}. Either the model {self.model!r} or this endpoint is unknown there: does the URL end in "
                    "/v1? A server with chat alone needs prompt_format='chat'",
                    404,
                ) from error
        logger.warning("%s has no /completions: it is asked by chat, with its own template", self.client.url)
        self._use_chat()
        return self.first(prompt)


def read_text(text: str, full: bool) -> Answer:
    """A server's text as an answer: up to the first newline after a non-blank character, which some servers include.

    Example:
        >>> read_text("\\nParis\\nIt is", full=True)
        Answer(raw='\\nParis', truncated=False)
    """
    newline = text.find("\n", len(text) - len(text.lstrip()))
    return Answer(text[:newline], truncated=False) if newline >= 0 else Answer(text, truncated=full)


def finished(asker: Asker, prompts: Sequence[str], concurrency: int) -> Iterator[list[tuple[str, Answer]]]:
    """Answers as they come, in lists worth keeping; after a failure those in flight are kept as well, then it raises.

    The first prompt is asked alone, so that what cannot work fails once.
    """
    waiting = iter(prompts)
    first = next(waiting)
    yield [(first, asker.first(first))]
    failure: BaseException | None = None
    done: list[tuple[str, Answer]] = []
    kept_at = time.monotonic()
    with ThreadPoolExecutor(concurrency) as pool:
        running = {pool.submit(asker.ask, prompt): prompt for prompt in islice(waiting, concurrency)}
        try:
            while running:
                try:
                    ready: set[Future] = wait(running, KEEP_EVERY, FIRST_COMPLETED).done
                except KeyboardInterrupt as error:
                    failure, ready = error, set()
                for future in ready:
                    prompt, error = running.pop(future), future.exception()
                    if error is None:
                        done.append((prompt, future.result()))
                    failure = failure or error
                if failure is None:
                    running |= {pool.submit(asker.ask, prompt): prompt for prompt in islice(waiting, len(ready))}
                else:
                    asker.client.stopped.set()
                if done and time.monotonic() - kept_at >= KEEP_EVERY:
                    yield done
                    done, kept_at = [], time.monotonic()
        finally:
            asker.client.stopped.set()  # whoever waits to try again gives up
    if done:
        yield done
    if failure is not None:
        raise failure
