"""The report for people: one HTML page without scripts or outside resources, and a short Markdown summary.

What comes from the data is hostile: Jinja escapes every value of the page, and in Markdown only names and figures
appear.
"""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def html(figures: Mapping[str, Any]) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader("tamis.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure
    environment.filters["interval"] = interval
    environment.filters["signed"] = lambda e: f"{e['value']:+.4f} ({e['low']:+.4f} to {e['high']:+.4f})"
    environment.filters["measure"] = measure_name
    environment.filters["bars"] = bars
    return environment.get_template("page.html.jinja").render(figures)


def markdown(figures: Mapping[str, Any]) -> str:
    """The verdict and the table of arms."""
    measures = figures["measures"]
    lines = ["# Which data was worth training on?", "", *[f"- {line}" for line in figures["verdict"]], ""]
    head = ["arm", "rows"]
    for measure in measures:
        head += [measure_name(measure), "against random"]
    lines += [_row(head), _row(["---"] * len(head))]
    for name, arm in figures["arms"].items():
        cells = [name, str(arm["selection"]["selected"]) if arm["selection"] else "–"]
        for measure in measures:
            entry = arm["measures"].get(measure)
            if entry is None:
                cells += ["–", "–"]
                continue
            cells.append(interval(entry["estimate"]))
            difference = entry.get("against_random")
            cells.append(f"{difference['value']:+.4f}, {entry['verdict']}" if difference else "–")
        lines.append(_row(cells))
    lines += ["", "In brackets the 95 % interval of a paired bootstrap. Lower is better for loss, higher for accuracy."]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def measure_name(measure: str) -> str:
    """What a measure is called in a heading."""
    return "held-out loss, nats a token" if measure == "heldout" else f"{measure} accuracy"


def figure(value: float | None) -> str:
    """A figure in four digits."""
    return "–" if value is None else f"{value:.4g}"


def interval(estimate: Mapping[str, float]) -> str:
    """A figure and its interval."""
    return f"{estimate['value']:.4f} ({estimate['low']:.4f} to {estimate['high']:.4f})"


def bars(counts: list[int], height: int = 60) -> list[tuple[int, float]]:
    """Height of each bar of a histogram in pixels, and where it begins from above."""
    most = max([*counts, 1])
    return [(i, height * count / most) for i, count in enumerate(counts)]
