"""Transfers through a proxy that breaks them: identical or a clear error, never a wrong result."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fault_proxy import KINDS, FaultProxy
from minio import Minio
from minio.error import S3Error

from tamis import store
from tamis.errors import TamisError, UserError
from tamis.store import Connection, faults, server, transfer
from tamis.store.uri import parse


@pytest.fixture
def proxy(s3: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    monkeypatch.setenv("TAMIS_S3_TIMEOUT", "1")
    monkeypatch.setattr(faults, "_FIRST", 0.01)
    monkeypatch.setattr(transfer, "PART", 5 << 20)
    with FaultProxy(s3.endpoint) as proxy:
        monkeypatch.setenv("TAMIS_S3_ENDPOINT", proxy.url)
        yield proxy
        proxy.shutdown()


def straight(at: Connection, uri: str) -> bytes | None:
    """What is in the store, asked without us and the proxy."""
    client = Minio(at.endpoint.removeprefix("http://"), at.access_key, at.secret_key, secure=False, region="us-east-1")
    try:
        return client.get_object(server.BUCKET, parse(uri).path).data
    except S3Error as error:
        assert error.code == "NoSuchKey"
        return None


def once(kind: str, wanted: Callable[[str, str], bool]) -> Callable[[str, str], str | None]:
    """Makes the fault of the first request that is wanted."""
    left = [kind]
    return lambda method, path: left.pop() if left and wanted(method, path) else None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD"])
def test_one_fault_is_mended(proxy: FaultProxy, bucket: str, tmp_path: Path, kind: str, method: str) -> None:
    (tmp_path / "f").write_bytes(os.urandom(100_000))
    proxy.choose = once(kind, lambda verb, path: verb == method and bucket.rpartition("/")[2] in path)
    store.write_file(f"{bucket}/f", tmp_path / "f")
    store.read_file(f"{bucket}/f", tmp_path / "g")
    assert (tmp_path / "g").read_bytes() == (tmp_path / "f").read_bytes()
    assert sum(proxy.made.values()) == (0 if (kind, method) == ("flip", "HEAD") else 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", ["uploads", "partNumber=2", "uploadId"])
def test_one_fault_of_an_upload_in_parts_is_mended(
    proxy: FaultProxy, s3: Connection, bucket: str, tmp_path: Path, kind: str, step: str
) -> None:
    """Beginning, a part and joining: the last may have worked though its answer was lost."""
    data = os.urandom(6 << 20)
    (tmp_path / "f").write_bytes(data)
    proxy.choose = once(kind, lambda verb, path: step in path and (verb == "POST") == (step != "partNumber=2"))
    try:
        store.write_file(f"{bucket}/f", tmp_path / "f")
    except TamisError:  # a flipped bit in the upload's id, or the list of parts: refused, with nothing written
        assert kind == "flip" and straight(s3, f"{bucket}/f") is None
    else:
        assert straight(s3, f"{bucket}/f") == data
    assert sum(proxy.made.values()) == 1


def test_a_store_that_stays_broken_is_said(
    proxy: FaultProxy, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAMIS_S3_ATTEMPTS", "2")
    says = {
        "drop": "drops the connection",
        "503": "answers 503",
        "stall": "in time",
        "flip": "not match|none|read",
        "truncate": "arrived|drops",
    }
    store.write_bytes(f"{bucket}/x", b"x" * 1000)
    for kind, words in says.items():
        proxy.choose = lambda method, path, kind=kind: kind  # type: ignore[misc]
        with pytest.raises(TamisError, match=words) as error:
            store.read_bytes(f"{bucket}/x")
        assert not isinstance(error.value, UserError) and len(str(error.value)) < 200


def test_a_stream_that_breaks_goes_on_where_it_was(proxy: FaultProxy, bucket: str) -> None:
    data = os.urandom(8 << 20)
    store.write_bytes(f"{bucket}/x", data)
    for kind in ("truncate", "503", "drop"):
        proxy.choose = once(kind, lambda verb, path: verb == "GET")
        with store.open_read(f"{bucket}/x") as file:
            assert file.read() == data
    proxy.choose = once("flip", lambda verb, path: verb == "GET")
    with pytest.raises(TamisError, match="must not be used"), store.open_read(f"{bucket}/x") as file:
        file.read()


def test_a_claim_whose_answer_was_lost_is_ours(proxy: FaultProxy, bucket: str) -> None:
    proxy.choose = once("lose", lambda verb, path: verb == "PUT" and path.endswith(".lease"))
    with store.claim(bucket) as held, pytest.raises(UserError, match="held by"), store.claim(bucket):
        held.check()
    assert proxy.made["lose"] == 1


def test_no_wrong_result_in_200_faulted_transfers(
    proxy: FaultProxy, s3: Connection, bucket: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Objects, files in parts, streams and folders, both ways, with a quarter of all requests broken."""
    outcome: Counter[str] = Counter()
    done, lock = threading.Event(), threading.Lock()

    def count(how: str, key: str) -> None:
        with proxy.lock:
            broken = any(path.startswith(key) for path in list(proxy.hit))
            for path in [path for path in proxy.hit if path.startswith(key)]:
                del proxy.hit[path]  # what comes is another transfer
        with lock:
            outcome["transfers"] += 1
            if broken:
                outcome[how] += 1
            elif how != "identical":
                outcome["failed without a fault"] += 1
            if outcome["identical"] + outcome["error"] + outcome["wrong"] >= 200 and broken:
                done.set()

    def transfer_one(number: int) -> None:
        if done.is_set():
            return
        uri, key = f"{bucket}/{number}", f"{parse(bucket).path}/{number}"
        here = tmp_path / str(number)
        here.mkdir()
        data = os.urandom(6 << 20 if number % 25 == 0 else 50_000)
        folder = number % 5 == 1
        names = ["a", "b/c"] if folder else [""]
        source = here / "in"
        if folder:
            (source / "b").mkdir(parents=True)
        for name in names:
            (source / name).write_bytes(data)
        objects = [f"{uri}/{name}".rstrip("/") for name in names]
        try:
            if folder:
                store.upload_folder(source, uri)
            elif number % 5 == 2:
                store.write_bytes(uri, data)
            else:
                store.write_file(uri, source)
            count("identical" if [straight(s3, one) for one in objects] == [data] * len(objects) else "wrong", key)
        except TamisError:  # whole or not there
            count("error" if all(straight(s3, one) in (None, data) for one in objects) else "wrong", key)
            return
        try:
            if folder:
                store.download_folder(uri, here / "out")
                read = [(here / "out" / name).read_bytes() for name in names]
            elif number % 5 == 2:
                read = [store.read_bytes(uri)]
            elif number % 5 == 3:
                with store.open_read(uri) as file:
                    read = [file.read()]
            else:
                read = [store.fetch(uri).read_bytes()]
            count("identical" if read == [data] * len(objects) else "wrong", key)
        except TamisError as error:
            assert len(str(error).splitlines()) <= 2
            assert not (here / "out").exists()
            count("error", key)

    proxy.at_rate(0.25)
    with ThreadPoolExecutor(12) as pool:
        for future in [pool.submit(transfer_one, number) for number in range(1000)]:
            future.result()
    for name, value in {**outcome, **proxy.made, "requests": proxy.requests}.items():
        record_property(name, value)
    print(dict(outcome), dict(proxy.made), proxy.requests)
    assert outcome["wrong"] == 0 and outcome["failed without a fault"] == 0
    assert outcome["identical"] + outcome["error"] >= 200
    assert outcome["identical"] >= 180  # an error is for what cannot be mended
    assert set(proxy.made) == set(KINDS)
