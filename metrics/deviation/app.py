"""Space of the metric: paste rows, see the scores. `python app.py`, then open the address it prints."""

from pathlib import Path

import evaluate
import gradio as gr

NAME = "deviation"
HERE = Path(__file__).parent
CARD = (HERE / "README.md").read_text(encoding="utf-8").split("---\n", 2)[-1]
METRIC = evaluate.load(str(HERE / f"{NAME}.py"), keep_in_memory=True)
EXAMPLE = [[0.75, 0.5], [0.25, 0.5], [0.0, 0.5], [0.5, 0.0]]


def distance(cell: str | float) -> float:
    """A cell as a number."""
    try:
        return float(cell)
    except (TypeError, ValueError) as error:
        raise gr.Error(f"Expected a distance, but found {cell!r}.", print_exception=False) from error


def compute(rows: list[list[str | float]]) -> dict[str, float | int | None]:
    """Score the rows that are not all blank."""
    rows = [[distance(cell) for cell in row] for row in rows if any(cell not in ("", None) for cell in row)]
    try:
        return METRIC.compute(predictions=[row[0] for row in rows], references=[row[1] for row in rows])
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error


with gr.Blocks(title=NAME) as demo:
    gr.Markdown(f"## {METRIC.description}\n\nPredictions are new distances, references old ones.")
    table = gr.Dataframe(
        EXAMPLE, headers=["predictions", "references"], type="array", datatype="number", interactive=True
    )
    scores = gr.JSON(label="scores")
    gr.Button("Compute", variant="primary").click(compute, table, scores, api_name="compute")
    gr.Markdown(CARD)

if __name__ == "__main__":
    demo.launch()
