"""How well a model predicts the answers of held-out rows, each row's figure kept so that arms compare in pairs."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.lm.encode import Encoded
from tamis.lm.engine import Engine
from tamis.lm.observations import Loss, TokenCount
from tamis.pool.rows import Row

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("nll", pa.float64()),  # of the answers, summed, in nats; null where the row is not scored
        ("tokens", pa.int64()),  # of the answers, without the marker that ends them
        ("bytes", pa.int64()),  # of the answers in UTF-8
        ("status", pa.string()),  # scored, unscored
        ("reason", pa.string()),
    ]
)


def score_heldout(rows: Sequence[Row], engine: Engine) -> pa.Table:
    """The negative log-likelihood of each row's answers given their prompts; one forward pass.

    A row that the model cannot read whole is left out with its reason: a figure for half an answer would not compare.

    Args:
        rows: Held-out rows.
        engine: The model.

    Returns:
        A table of `SCHEMA`, one line a row, in their order.
    """
    encoded = engine.encode(rows)
    reasons: list[str | None] = []
    for row in encoded:
        if not isinstance(row, Encoded):
            reasons.append(row.reason)
        elif row.cut:
            reasons.append(f"it is longer than the {len(row.ids)} tokens that the model may read")
        else:
            reasons.append(None)
    readable = [i for i, reason in enumerate(reasons) if reason is None]
    nll = np.full(len(rows), np.nan)
    tokens = np.zeros(len(rows), np.int64)
    if readable:
        seen = engine.observe([rows[i] for i in readable], {"loss": Loss("answer"), "tokens": TokenCount("answer")})
        nll[readable] = seen["loss"] * seen["tokens"]
        tokens[readable] = seen["tokens"].astype(np.int64)
    for i in readable:
        if not np.isfinite(nll[i]):
            reasons[i] = f"the model's loss is {nll[i]}"
    scored = np.array([reason is None for reason in reasons], bool)
    return pa.table(
        {
            "id": [row.id for row in rows],
            "source": [row.source for row in rows],
            "nll": pa.array(nll, mask=~scored),
            "tokens": tokens,
            "bytes": [sum(len(m.content.encode()) for m in row.messages if m.role == "assistant") for row in rows],
            "status": ["scored" if good else "unscored" for good in scored],
            "reason": reasons,
        },
        schema=SCHEMA,
    )


def summarise(table: pa.Table) -> dict[str, Any]:
    """Figures of a table of `SCHEMA`: nats a token and a byte (None without a scored row), counts, reasons."""
    scored = table.filter(pa.compute.equal(table.column("status"), "scored"))
    nll, tokens, size = (float(pa.compute.sum(scored.column(c)).as_py() or 0) for c in ("nll", "tokens", "bytes"))
    return {
        "rows": table.num_rows,
        "scored": scored.num_rows,
        "unscored": dict(Counter(why for why in table.column("reason").to_pylist() if why is not None)),
        "nll": nll,
        "tokens": int(tokens),
        "bytes": int(size),
        "nll_per_token": nll / tokens if tokens else None,
        "nll_per_byte": nll / size if size else None,
    }
