"""Locality: the share of unrelated prompts that a tuned model answers as its base model does (Eqs. 8, 10)."""

import unicodedata

import datasets
import evaluate

CITATION = "Renzhi Wang and Piji Li. 2024. Semantic are Beacons. Findings of the ACL: ACL 2024."
PUNCTUATION = {i: None for i in range(0x20000) if chr(i) in "$+<=>^`|~" or unicodedata.category(chr(i))[0] == "P"}


def cut(text: str) -> str:
    """First non-blank line; then blanks, final full stops and quotes around the whole go until nothing changes."""
    line, before = text.strip().split("\n", 1)[0].strip(), None
    while line != before:
        before, line = line, line.rstrip(".").strip()
        for opening, closing in ('""', "“”", "«»") if line[-1:] in '"”»' else ():
            inner = line
            while len(inner) > 1 and inner[0] == opening and inner[-1] == closing:
                inner = inner[1:-1].strip()
            line = line if opening in inner or closing in inner else inner
    return line


def equal(answer: str, targets: list[str], match: str) -> bool:
    """Whether the cut answer is a cut target; or has its normal form; or its raw normal form contains the target's."""
    answer, targets = answer if match == "contains" else cut(answer), [cut(text) for text in targets]
    if match == "strict" or (match == "normalized" and answer in targets):
        return answer in targets
    plain = [text if text.replace(" ", "").isalnum() else text.translate(PUNCTUATION) for text in (answer, *targets)]
    answer, *targets = [f" {' '.join(w for w in t.lower().split() if w not in ('a', 'an', 'the'))} " for t in plain]
    return any(text in answer if match == "contains" else text == answer for text in targets if text.strip())


def as_list(value: object) -> list:
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, (str, dict)) else [value]


class Locality(evaluate.Metric):
    """Args:
        predictions, references: answers of the tuned and of the base model; one a row, a reference may be a list.
        groups: of `compute`, one id a row: scores are averaged within a fact first. Without it every row is a fact.
        match: of `compute`, "strict" (equal after the cut), "normalized" or "contains".
    Examples:
        >>> metric = evaluate.load("metrics/locality")
        >>> metric.compute(predictions=["Eight.", "Paris"], references=["Eight", "London"])
        {'locality': 0.5}
        >>> metric.compute(predictions=["Six", "Two", "Ten"], references=["Six", "Four", "Ten"], groups=[0, 0, 1])
        {'locality': 0.75}
    """

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features(predictions=datasets.Value("string"), references=[datasets.Value("string")])
        return evaluate.MetricInfo(__doc__, CITATION, features, self.__doc__)

    def add(self, **row: object) -> None:
        """Add one row, `prediction` and `reference`; `evaluate.combine` names them in the plural."""
        self.add_batch(**{name.removesuffix("s") + "s": [cell] for name, cell in row.items()})

    def add_batch(self, *, predictions: object = None, references: object = None) -> None:
        """Add rows. Each reference becomes a list here: evaluate would print a list among texts as one text."""
        answers, targets = as_list(predictions), [as_list(row) for row in as_list(references)]
        if len(answers) != len(targets):
            raise ValueError(f"{len(answers)} `predictions`, {len(targets)} `references`: give one reference each")
        for i, row in enumerate(zip(answers, targets, strict=True)):
            valid = [isinstance(t, str) and t == t.encode(errors="replace").decode() for t in (row[0], *row[1])]
            if len(valid) < 2 or not all(valid):
                raise ValueError(f"row {i}: expected a text and a text or list of texts, but found {row!r:.200}")
        super().add_batch(predictions=answers, references=targets)

    def _compute(self, predictions: list, references: list, groups: object = None, match: str = "strict") -> dict:
        n, groups = len(predictions), range(len(predictions)) if groups is None else as_list(groups)
        facts, odd = {}, [f" ({group!r:.99} in `groups` is no id)" for group in groups if group.__hash__ is None]
        if not n or len(groups) != n or odd or match not in ("strict", "normalized", "contains"):
            wanted = "give at least 1 row, a group each, and match 'strict', 'normalized' or 'contains'"
            raise ValueError(f"found {n} rows, {len(groups)} groups{''.join(odd[:1])} and match {match!r}: {wanted}")
        for group, answer, targets in zip(groups, predictions, references, strict=True):
            facts.setdefault(group, []).append(equal(answer, targets, match))
        return {"locality": sum(sum(hits) / len(hits) for hits in facts.values()) / len(facts)}
