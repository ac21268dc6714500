import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import UserError
from tamis.store import join, parse
from tamis.store.uri import check_name

GOOD = {
    "s3://pools/a/b.parquet": ("s3", "pools", "a/b.parquet", "s3://pools/a/b.parquet"),
    "s3://pools/a/": ("s3", "pools", "a", "s3://pools/a"),
    "s3://pools": ("s3", "pools", "", "s3://pools"),
    "S3://pools/A%20b c/é#1": ("s3", "pools", "A%20b c/é#1", "s3://pools/A%20b c/é#1"),
    "minio://mlpipeline/v2/artifacts/x": ("s3", "mlpipeline", "v2/artifacts/x", "s3://mlpipeline/v2/artifacts/x"),
    "hf://org/name": ("hub", "model", "org/name", "hf://org/name"),
    "hf://datasets/org/name@main": ("hub", "dataset", "org/name@main", "hf://datasets/org/name@main"),
    "file:///data/pool": ("local", "", "/data/pool", "/data/pool"),
    "data/../pool": ("local", "", "data/../pool", "data/../pool"),
}
BAD = [
    "",
    "a\0b",
    "s3://",
    "s3://ab/key",
    "s3://Upper/key",
    "s3://a..b/key",
    "s3:/pools/key",
    "s3://pools//key",
    "s3://pools/a/../../other/key",
    "s3://pools/./key",
    "s3://pools/a?endpoint=http://elsewhere",
    "s3://pools/a\\b",
    "s3://pools/a\nb",
    "s3://pools/" + "k" * 300,
    "hf://name",
    "hf://a/b/c",
    "hf://../etc",
    "file://host/data",
    "gs://pools/key",
    "https://example.org/key",
]


@pytest.mark.parametrize("uri", GOOD)
def test_reads(uri: str) -> None:
    found = parse(uri)
    assert (found.kind, found.root, found.path, str(found)) == GOOD[uri]


@pytest.mark.parametrize("uri", BAD, ids=range(len(BAD)))
def test_refuses_in_a_line(uri: str) -> None:
    with pytest.raises(UserError) as error:
        parse(uri)
    assert len(str(error.value).splitlines()) == 1 and len(str(error.value)) < 400


def test_keys_in_a_uri_are_refused_and_not_repeated() -> None:
    with pytest.raises(UserError) as error:
        parse("s3://AKIAPLANTED:planted-secret@host/key")
    assert "PLANTED" not in str(error.value).upper()


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/etc/passwd",
        "a/../../b",
        "a//b",
        "a/",
        "./a",
        "a\0",
        "a\\..\\b",
        "\x7f",
        "\ud800",
        "a\u2028b",
        "n" * 256,
    ],
)
def test_no_name_leaves_its_folder(name: str) -> None:
    with pytest.raises(UserError):
        check_name(name)
    with pytest.raises(UserError):
        join("s3://pools/a", name)


def test_joins_in_the_scheme_that_was_written(tmp_path: Path) -> None:
    assert join("minio://pools/a/", "b/c", "d") == "minio://pools/a/b/c/d"
    assert join("s3://pools", "x") == "s3://pools/x"
    assert join(tmp_path, "x") == str(tmp_path / "x")
    assert join("/", "x") == "/x"
    with pytest.raises(UserError, match="fetch"):
        join("hf://org/name", "x")


@given(st.text() | st.text("./\\a\0\n ?%~", max_size=12))
def test_any_text_is_refused_or_stays_inside(name: str) -> None:
    try:
        check_name(name)
    except UserError:
        return
    base = Path("/base/folder")
    inside = Path(os.path.normpath(base / name))
    assert inside.is_relative_to(base) and inside != base and str(inside) == f"{base}/{name}"
    assert parse(f"s3://pools/{name}").path == name
