"""The page and the summary: what they say, and that text of the data stays text."""

import re
from typing import Any

import pytest

from tamis.report.page import html, markdown

HOSTILE = '<script>alert(1)</script> "quoted" <img src=x onerror=alert(2)> | {{ 7 * 7 }}'


@pytest.fixture
def figures() -> dict[str, Any]:
    estimate = {"value": 1.25, "low": 1.0, "high": 1.5}
    selection = {
        "selector": "top",
        "column": "ifd",
        "keep": "ifd < 1",
        "selected": 1,
        "rows": 2,
        "sources": {HOSTILE: 1},
        "reasons": {"selected": 1, HOSTILE: 1},
    }
    row = {"id": "r1", "source": HOSTILE, "prompt": HOSTILE, "answer": HOSTILE, "reason": HOSTILE}
    counts = {"rows": 2, "read": 3, "digest": "d", "rejected": {"the answer is empty": 1}, "flagged": {"near": 1}}
    return {
        "verdict": ["ifd is not better than random on the held-out rows."],
        "measures": ["heldout"],
        "random_arms": ["random-0"],
        "arms": {
            name: {
                "measures": {"heldout": {"estimate": estimate, "against_random": estimate, "verdict": "not better"}},
                "selection": selection,
                "evaluation": {
                    "training": {
                        "rows": 2,
                        "tokens": 1234,
                        "tokens_per_second": 56.7,
                        "total_seconds": 8.9,
                        "device_hours": 0.0025,
                        "peak_memory_mib": 99,
                    },
                    "work": {"heldout": {"items": 7, "seconds": 3.5, "device_hours": 0.001, "matrix_share": 0.6}},
                },
            }
            for name in ("ifd", "random-0")
        },
        "histograms": {"ifd": {"column": "ifd", "edges": [0, 1], "pool": [2], "selected": [1], "missing": 0}},
        "rows": {"ifd": {"first": [row], "lowest": [row]}},
        "pool": {"pool": counts | {"sources": {HOSTILE: 2}}, "unchecked": {"arc_easy": "no lm-eval here"}},
        "scoring": [
            {
                "model": {"model": HOSTILE},
                "rows": 2,
                "unscorable": {"ifd": {HOSTILE: 1}},
                "methods": {"ifd": {"tokens": 10, "passes": 2.0}},
                "work": {
                    "tokens": 10,
                    "tokens_per_second": 5.0,
                    "passes_per_row": 2.0,
                    "padding_share": 0.015,
                    "matrix_share": 0.5,
                    "matrix_gflops": 100.0,
                    "seconds": 2.0,
                    "device_hours": 0.001,
                    "peak_memory_mib": 100,
                },
            }
        ],
    }


def test_text_of_the_data_stays_text(figures: dict[str, Any]) -> None:
    page = html(figures)
    assert "&lt;script&gt;alert(1)" in page
    tags = set(re.findall(r"<\s*([a-z0-9]+)", page.lower()))
    assert not tags & {"script", "img", "iframe", "object", "link"}
    assert not re.search(r"<[^>]*\son\w+\s*=", page)  # no handler inside any tag
    assert "{{ 7 * 7 }}" in page  # never evaluated
    assert "default-src 'none'" in page


def test_what_was_left_out_flagged_or_not_checked_is_said(figures: dict[str, Any]) -> None:
    page = html(figures)
    for said in ("1 left out: the answer is empty", "1 kept, but flagged: near", "arc_easy: no lm-eval here"):
        assert said in page


def test_what_each_step_took_is_said(figures: dict[str, Any]) -> None:
    page = html(figures)
    assert "random-0: 2 rows, 1234 tokens at 57 a second, 8.9 s (0.0025 device-hours), 99 MiB at most" in page
    assert "ifd: heldout 7 items in 3.5 s (0.001 device-hours, 60 % of the matrix rate)" in page


def test_the_summary_has_one_line_for_each_arm(figures: dict[str, Any]) -> None:
    lines = markdown(figures).splitlines()
    assert "| ifd | 1 | 1.2500 (1.0000 to 1.5000) | +1.2500, not better |" in lines
    assert "- ifd is not better than random on the held-out rows." in lines


@pytest.mark.parametrize("verdict", ["better", "worse", "not better"])
def test_only_what_is_better_is_shown_as_good(figures: dict[str, Any], verdict: str) -> None:
    figures["arms"]["ifd"]["measures"]["heldout"]["verdict"] = verdict
    shown = re.search(rf'<span class="([^"]*)">{verdict}</span>', html(figures))
    assert shown is not None
    assert shown.group(1).split() == [verdict.replace(" ", "-")]
    assert "the other ones.\nAn arm" in html(figures)
