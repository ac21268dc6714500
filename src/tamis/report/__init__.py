"""The report step: what every arm reached, whether selection beat random, and where it all came from."""

from pathlib import Path
from typing import Any

from tamis.pool.shards import write_json
from tamis.report.figures import gather
from tamis.report.page import html, markdown


def report(
    *,
    prepared: Path,
    scores: list[Path],
    selections: Path,
    evaluations: list[Path],
    page: Path,
    summary: Path,
    figures: Path,
) -> dict[str, Any]:
    """Writes the report.

    Args:
        prepared: What `prepare` wrote.
        scores: What `score` wrote.
        selections: What `select` wrote.
        evaluations: What `evaluate` wrote for each arm; the arm `base` is the untuned model.
        page: Gets the HTML page.
        summary: Gets the Markdown summary.
        figures: Gets all figures as JSON.

    Returns:
        All figures.

    Raises:
        UserError: A folder is not what that step writes, or two evaluations are of the same arm.
    """
    result = gather(prepared, scores, selections, evaluations)
    for path, text in ((page, html(result)), (summary, markdown(result))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    write_json(figures, result)
    return result


__all__ = ["report"]
