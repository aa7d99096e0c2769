"""Space of the metric: paste rows, see the scores. `python app.py`, then open the address it prints."""

import json
from pathlib import Path

import evaluate
import gradio as gr

NAME = "knowledge_accuracy"
HERE = Path(__file__).parent
CARD = (HERE / "README.md").read_text(encoding="utf-8").split("---\n", 2)[-1]
METRIC = evaluate.load(str(HERE / f"{NAME}.py"), keep_in_memory=True)
EXAMPLE = [["Rome.", "Rome", ""], ["Paris", '["Lyon", "Lugdunum"]', ""]]


def reference(cell: str) -> str | list[str]:
    """A cell as it is, or the list of texts that it spells in JSON."""
    try:
        parsed = json.loads(cell)
    except json.JSONDecodeError:
        return cell
    return parsed if isinstance(parsed, list) and all(isinstance(text, str) for text in parsed) else cell


def compute(rows: list[list[str]], match: str = "strict") -> dict[str, float]:
    """Score the rows that are not all blank; without any group every row is a fact of its own."""
    rows = [["" if cell is None else str(cell) for cell in [*row, "", ""][:3]] for row in rows]
    rows = [row for row in rows if any(row)]
    groups = [row[2] for row in rows]
    if any(groups) and not all(groups):
        raise gr.Error("Give every row a group, or none.", print_exception=False)
    predictions, references = [row[0] for row in rows], [reference(row[1]) for row in rows]
    try:
        return METRIC.compute(
            predictions=predictions, references=references, groups=groups if any(groups) else None, match=match
        )
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error


with gr.Blocks(title=NAME) as demo:
    gr.Markdown(f"## {METRIC.description}\n\nA reference is a text, or a JSON list of texts that count.")
    table = gr.Dataframe(EXAMPLE, headers=["predictions", "references", "groups"], type="array", interactive=True)
    choice = gr.Radio(["strict", "normalized", "contains"], value="strict", label="match")
    scores = gr.JSON(label="scores")
    gr.Button("Compute", variant="primary").click(compute, [table, choice], scores, api_name="compute")
    gr.Markdown(CARD)

if __name__ == "__main__":
    demo.launch()
