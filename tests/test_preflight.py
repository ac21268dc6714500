"""What a run refuses before anything expensive starts."""

from pathlib import Path
from typing import Any

import pytest

from tamis.config import RunConfig
from tamis.errors import UserError
from tamis.preflight import check, filled


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    rows = str(tmp_path / "rows.jsonl")
    return {"pool": rows, "target": rows, "heldout": rows, "workspace": str(tmp_path / "work"), "release": "a/1"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workspace": ""}, "a release needs a workspace"),
        ({"release": "a"}, "write name/version"),
        ({"release": "../b"}, "unsafe name"),
        ({"publication": {"only": "always"}}, "unknown setting 'only'; did you mean 'only_if'"),
        ({"publication": {"registry": "registry:8080"}}, "publication.registry must be http"),
        ({"workspace": "hf://org/name"}, "read through fetch"),
        ({"workspace": "s3://key:secret@host/bucket"}, "never from the URI"),
        ({"model": "org/own", "scoring": {"trust_remote_code": ["org/own"]}}, "can be scored with, not trained"),
    ],
)
def test_mistakes_about_where_and_what(values: dict[str, Any], change: dict[str, Any], message: str) -> None:
    check(RunConfig(**values))
    with pytest.raises(UserError, match=message):
        check(RunConfig(**values | change))


def test_a_release_can_be_named_by_what_it_is_made_from(values: dict[str, Any], tmp_path: Path) -> None:
    first = filled(RunConfig(**values | {"release": "a/{digest}"}))
    assert first == filled(RunConfig(**values | {"release": "a/{digest}"}))
    assert len(first.release) == len("a/12345678") and len(first.fingerprint) == 32
    assert filled(RunConfig(**values | {"release": "a/{digest}", "budget": "5%"})).release != first.release
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "response": "c"}\n')
    assert filled(RunConfig(**values | {"release": "a/{digest}"})).release != first.release
