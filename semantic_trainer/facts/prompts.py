"""How a fact becomes tokens: one prompt format shared by old answers, training and every metric."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace

from datasets import Dataset

from .cutting import cut
from .messages import show_rows, suggest
from .schema import replace_columns, require_columns, require_dataset, require_strings
from .shots import Shots, parse_shots

logger = logging.getLogger(__name__)
PROBE = "It is"  # a prompt for the formats whose empty one is nothing
KINDS = ("auto", "chat", "question_answer", "cloze")
RENDERED = "rendered"  # the kind of prompts that are whole texts already, a chat template's words among them
# Two unlike texts: what a chat template writes around both is what it writes around any prompt.
_PROBES = ("Probe question one?", "and another, longer probe text")


@dataclass(frozen=True)
class PromptFormat:
    """What stands around a prompt and before a completion, as plain strings.

    Build one with `PromptFormat.chat(tokenizer)`, `PromptFormat.question_answer()` or `PromptFormat.cloze()`; the same
    object serves old answers, training and evaluation, so that they never differ.

    Attributes:
        kind: `chat`, `question_answer` or `cloze`.
        prefix, suffix: text before and after a prompt; `prefix` holds the shots.
        separator: text between prompt and completion.
        special_tokens: whether the tokenizer's own leading tokens (BOS) are added; chat templates write theirs.
        shots: the question/answer examples in `prefix`, kept for the check that no fact is among them.
        system: the system message in `prefix`, kept for `messages`.

    Example:
        >>> form = PromptFormat.question_answer(shots=[("How many legs has a spider?", "Eight")])
        >>> form.prompt_text("Who wrote Emma?") + form.completion_text("Jane Austen")
        'Question: How many legs has a spider?\\nAnswer: Eight\\n\\nQuestion: Who wrote Emma?\\nAnswer: Jane Austen'
    """

    kind: str
    prefix: str = ""
    suffix: str = ""
    separator: str = ""
    special_tokens: bool = True
    shots: tuple[tuple[str, str], ...] = field(default=())
    system: str | None = None

    @classmethod
    def chat(cls, tokenizer: object, system: str | None = None, shots: Shots = ()) -> "PromptFormat":
        """The tokenizer's chat template, with an optional system message and shots as earlier turns.

        Raises:
            ValueError: the tokenizer has no chat template, or one that rewrites the prompt.
        """
        if not getattr(tokenizer, "chat_template", None):
            raise ValueError(
                '`prompt_format="chat"` needs a tokenizer with a chat template, but this one has none. '
                'Use prompt_format="question_answer" (or "auto").'
            )
        bare = cls("chat", special_tokens=False, shots=parse_shots(shots), system=system or None)
        around = set()
        for probe in _PROBES:
            text = tokenizer.apply_chat_template(bare.messages(probe), tokenize=False, add_generation_prompt=True)
            before, found, after = text.rpartition(probe)
            around.add((before, after) if found else None)
        if len(around) > 1 or None in around:
            raise ValueError(
                "the tokenizer's chat template changes the prompt's own text, so that training and answers could "
                'differ. Use prompt_format="question_answer".'
            )
        ((prefix, suffix),) = around
        return replace(bare, prefix=prefix, suffix=suffix)

    @classmethod
    def question_answer(cls, shots: Shots = ()) -> "PromptFormat":
        """`Question: ...`, newline, `Answer:`; for models without a chat template."""
        head = "".join(f"Question: {q}\nAnswer: {a}\n\n" for q, a in parse_shots(shots))
        return cls("question_answer", f"{head}Question: ", "\nAnswer:", " ", shots=parse_shots(shots))

    @classmethod
    def cloze(cls, shots: Shots = ()) -> "PromptFormat":
        """The prompt as it stands, to be continued: `The capital of France is`."""
        head = "".join(f"{q} {a}\n" for q, a in parse_shots(shots))
        return cls("cloze", head, "", " ", shots=parse_shots(shots))

    @classmethod
    def resolve(
        cls, kind: str, prompts: Iterable[str], tokenizer: object, system: str | None = None, shots: Shots = ()
    ) -> "PromptFormat":
        """The format called `kind`. `auto` is cloze where no prompt ends in "?", else chat where there is a template.

        Raises:
            ValueError: `kind` is unknown, or `system` is given to a format that has no system message.
        """
        if kind not in KINDS:
            raise ValueError(f"`prompt_format` {kind!r} is unknown.{suggest(kind, KINDS)} Use {', '.join(KINDS)}.")
        if kind == "auto":
            questions = any(prompt.rstrip().endswith("?") for prompt in prompts)
            kind = (
                ("chat" if getattr(tokenizer, "chat_template", None) else "question_answer") if questions else "cloze"
            )
            logger.info("prompt_format: auto -> %s", kind)
        if kind == "chat":
            return cls.chat(tokenizer, system, shots)
        if system:
            raise ValueError(
                f"`system_prompt` is for chat templates; the prompt format here is {kind!r}. Leave it out."
            )
        return cls.question_answer(shots) if kind == "question_answer" else cls.cloze(shots)

    cut = staticmethod(cut)

    def prompt_text(self, prompt: str) -> str:
        """What the model reads before it answers."""
        return f"{self.prefix}{prompt.strip()}{self.suffix}"

    def completion_text(self, completion: str) -> str:
        """What follows `prompt_text`: the separator and the stripped completion."""
        return f"{self.separator}{completion.strip()}"

    def messages(self, prompt: str) -> list[dict[str, str]]:
        """What a server with a chat endpoint is sent: system message and shots as earlier turns, then the prompt."""
        turns = [("system", self.system)] if self.system else []
        for question, answer in self.shots:
            turns += [("user", question), ("assistant", answer)]
        return [{"role": role, "content": text} for role, text in [*turns, ("user", prompt.strip())]]

    def to_dict(self) -> dict[str, object]:
        """Plain values, for summaries and for the key of stored answers; `prefix` holds the system message."""
        return {name: value for name, value in asdict(self).items() if name != "system"}

    def encode(self, processing_class: object, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of whole texts: with the tokenizer's leading special tokens where the format wants them."""
        if not len(texts):
            return []
        leading = _leading_special_ids(processing_class) if self.special_tokens else []
        ids = processing_class(list(texts), add_special_tokens=False)["input_ids"]
        return [leading + row for row in ids]

    def prompt_ids(self, processing_class: object, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of each prompt as the model reads it."""
        return self.encode(processing_class, [self.prompt_text(prompt) for prompt in prompts])

    def completion_ids(
        self, processing_class: object, completions: Sequence[str], prompts: Sequence[str] | None = None
    ) -> list[list[int]]:
        """Token ids of each completion: what follows the prompt's own ids in prompt + completion, without EOS.

        Args:
            completions: N texts; a blank one has no ids.
            prompts: N prompts, or `None` for the empty question (how answers and targets are embedded).

        Raises:
            ValueError: the tokenizer merges the end of the prompt with the start of the completion.
        """
        # After nothing at all some tokenizers would mark the start of the text, which no answer is
        empty = "" if self.prompt_text("").strip() else PROBE
        texts = [empty] * len(completions) if prompts is None else prompts
        heads = self.prompt_ids(processing_class, texts if prompts is not None else texts[:1])
        heads = heads * len(completions) if prompts is None else heads
        wholes = self.encode(
            processing_class,
            [self.prompt_text(p) + self.completion_text(c) for p, c in zip(texts, completions, strict=True)],
        )
        out = []
        for head, whole, completion in zip(heads, wholes, completions, strict=True):
            if not completion.strip():
                out.append([])
                continue
            if whole[: len(head)] != head:
                raise ValueError(
                    f"this tokenizer merges the end of the prompt with the start of {completion.strip()!r} under "
                    f'prompt_format="{self.kind}", so that answer tokens cannot be told from prompt tokens. '
                    f"Try another of: {', '.join(k for k in KINDS if k not in ('auto', self.kind))}."
                )
            out.append(whole[len(head) :])
        return out


def as_prompt_format(
    prompt_format: PromptFormat | str | None, prompts: Iterable[str], processing_class: object
) -> PromptFormat:
    """A `PromptFormat` as it is; the name of a kind, or `None` for `auto`, resolved from prompts and tokenizer.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(prompt_format, PromptFormat):
        return prompt_format
    if prompt_format is None or isinstance(prompt_format, str):
        return PromptFormat.resolve(prompt_format or "auto", prompts, processing_class)
    raise TypeError(
        f"`prompt_format` must be a PromptFormat, one of {', '.join(KINDS)}, or None, but "
        f"{type(prompt_format).__name__} was passed. Build one with PromptFormat.question_answer()."
    )


def _leading_special_ids(processing_class: object) -> list[int]:
    """The ids a tokenizer puts before a text by itself, such as BOS; not what it puts behind it."""
    with_special = processing_class("a", add_special_tokens=True)["input_ids"]
    bare = processing_class("a", add_special_tokens=False)["input_ids"]
    for start in range(len(with_special) - len(bare) + 1):
        if with_special[start : start + len(bare)] == bare:
            return list(with_special[:start])
    return []


def check_tokenizer(processing_class: object) -> None:
    """Raise a `ValueError` where there is no EOS to train or no token to pad with."""
    if processing_class is None:
        raise ValueError("`processing_class` is needed to tokenise facts: pass the model's tokenizer.")
    if getattr(processing_class, "eos_token_id", None) is None:
        raise ValueError(
            "`processing_class` has no EOS token, so the model could not learn where an answer ends. "
            'Set one: tokenizer.add_special_tokens({"eos_token": "..."}).'
        )
    if getattr(processing_class, "pad_token_id", None) is None:
        raise ValueError("`processing_class` has no pad token. Set one: tokenizer.pad_token = tokenizer.eos_token.")


def tokenize_facts(
    facts: Dataset,
    processing_class: object,
    prompt_format: PromptFormat | str | None = None,
    max_length: int | None = None,
) -> Dataset:
    """Add `input_ids`, `attention_mask` and `labels`: prompt, target as given, EOS; labels are -100 over the prompt.

    Args:
        facts: dataset with the text columns `prompt` and `target`.
        processing_class: the model's tokenizer; it must have EOS and pad tokens. EOS is always trained.
        prompt_format: `None` resolves `auto` from the prompts and the tokenizer.
        max_length: context length of the model in tokens; `None` takes the tokenizer's.

    Returns:
        The dataset with three more columns of lists of integers, one length a row, not padded.

    Raises:
        TypeError: `facts` is no `datasets.Dataset`.
        ValueError: missing column, blank or non-text cell, no EOS or pad token, or a fact longer than `max_length`.

    Example:
        >>> tokens = tokenize_facts(facts, tokenizer, PromptFormat.question_answer())
        >>> tokenizer.decode([i for i in tokens[0]["labels"] if i != -100])
        ' Rome<|im_end|>'
    """
    require_dataset(facts)
    require_columns(facts, ("prompt", "target"))
    require_strings(facts, ("prompt", "target"))
    check_tokenizer(processing_class)
    prompts, targets = facts["prompt"][:], facts["target"][:]
    form = as_prompt_format(prompt_format, prompts, processing_class)
    heads = form.prompt_ids(processing_class, prompts)
    tails = [ids + [processing_class.eos_token_id] for ids in form.completion_ids(processing_class, targets, prompts)]
    limit = max_length or processing_class.model_max_length
    long = [i for i, (head, tail) in enumerate(zip(heads, tails, strict=True)) if len(head) + len(tail) > limit]
    if long:
        longest = len(heads[long[0]]) + len(tails[long[0]])
        raise ValueError(
            f"`facts` {show_rows(long)} do(es) not fit: row {long[0]} has {longest} tokens, the context {limit}. "
            "Shorten prompt or target, or use fewer shots."
        )
    columns = {
        "input_ids": [head + tail for head, tail in zip(heads, tails, strict=True)],
        "attention_mask": [[1] * (len(head) + len(tail)) for head, tail in zip(heads, tails, strict=True)],
        "labels": [[-100] * len(head) + tail for head, tail in zip(heads, tails, strict=True)],
    }
    return replace_columns(facts, columns)
