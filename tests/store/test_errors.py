"""What a person sees who got something wrong: what, where, what to do, and never a secret."""

import logging
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tamis import store
from tamis.errors import TamisError, UserError
from tamis.store import Connection, connection

PLANTED = "planted-5ecret-kX9vQ"

Patch = pytest.MonkeyPatch


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _deny_tls(patch: Patch) -> None:
    patch.setenv("TAMIS_S3_ENDPOINT", connection().endpoint.replace("http://", "https://"))


MISTAKES: dict[str, tuple[Callable[[Patch], None], type[Exception], str]] = {
    "wrong secret": (lambda p: p.setenv("AWS_SECRET_ACCESS_KEY", PLANTED), UserError, "secret key"),
    "wrong key": (lambda p: p.setenv("AWS_ACCESS_KEY_ID", PLANTED), UserError, "does not know this access key"),
    "wrong token": (lambda p: p.setenv("AWS_SESSION_TOKEN", PLANTED), UserError, "access key|token"),
    "no key": (lambda p: p.delenv("AWS_ACCESS_KEY_ID"), UserError, "AWS_ACCESS_KEY_ID"),
    "no endpoint": (lambda p: p.delenv("TAMIS_S3_ENDPOINT"), UserError, "TAMIS_S3_ENDPOINT"),
    "keys in endpoint": (lambda p: p.setenv("TAMIS_S3_ENDPOINT", f"http://k:{PLANTED}@h"), UserError, "ENDPOINT"),
    "no scheme": (lambda p: p.setenv("TAMIS_S3_ENDPOINT", "minio:9000"), UserError, "http://host:port"),
    "no TLS there": (_deny_tls, UserError, "does not speak TLS"),
    "no certificates": (lambda p: p.setenv("TAMIS_S3_CA_FILE", "/none.pem"), UserError, "/none.pem"),
    "no secret folder": (lambda p: p.setenv("TAMIS_S3_SECRET_DIR", "/none"), UserError, "accesskey"),
    "nobody there": (
        lambda p: p.setenv("TAMIS_S3_ENDPOINT", f"http://127.0.0.1:{_free_port()}"),
        TamisError,
        "cannot be reached",
    ),
    "no such host": (
        lambda p: p.setenv("TAMIS_S3_ENDPOINT", "http://no-such.invalid"),
        TamisError,
        "no such host|reached",
    ),
    "tries": (lambda p: p.setenv("TAMIS_S3_ATTEMPTS", "many"), UserError, "TAMIS_S3_ATTEMPTS"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_says_what_is_wrong(
    mistake: str,
    bucket: str,
    tmp_path: Path,
    monkeypatch: Patch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = {PLANTED, connection().secret_key}
    monkeypatch.setenv("TAMIS_S3_ATTEMPTS", "2")
    change, kind, words = MISTAKES[mistake]
    change(monkeypatch)
    shown = [repr(connection())] if "folder" not in mistake and kind is TamisError else []
    (tmp_path / "f").write_bytes(b"x")
    for call in (
        lambda: store.read_bytes(f"{bucket}/x"),
        lambda: store.exists(f"{bucket}/x"),
        lambda: store.write_bytes(f"{bucket}/x", b"x"),
        lambda: store.upload_folder(tmp_path, bucket),
        lambda: store.fetch(bucket),
        lambda: list(store.list_keys(bucket)),
        lambda: store.claim(bucket).__enter__(),
    ):
        with pytest.raises(kind, match=words) as error:
            call()
        text = str(error.value)
        assert len(text.splitlines()) <= 2 and len(text) < 400
        assert isinstance(error.value, UserError) == (kind is UserError)
        shown += [text, repr(error.value), repr(error.value.__cause__)]
    everything = "".join(shown) + caplog.text + "".join(capfd.readouterr())
    assert not [secret for secret in secrets if secret in everything]


def test_missing_bucket_and_object(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * (17 << 20))
    for call in (
        lambda: store.read_bytes("s3://no-such-bucket/x"),
        lambda: store.exists("s3://no-such-bucket/x"),
        lambda: store.write_bytes("s3://no-such-bucket/x", b""),
        lambda: store.write_file("s3://no-such-bucket/x", tmp_path / "f"),
        lambda: list(store.list_keys("s3://no-such-bucket/x")),
    ):
        with pytest.raises(UserError, match="no such bucket"):
            call()
    for read in (store.read_bytes, store.open_read, lambda uri: store.read_file(uri, tmp_path / "g")):
        with pytest.raises(UserError, match="no such object"):
            read(f"{bucket}/none")
    with pytest.raises(UserError, match="not a published folder"):
        store.fetch(f"{bucket}/none")
    assert not (tmp_path / "g").exists()


def test_a_web_server_is_no_store(bucket: str, monkeypatch: Patch, s3_server: Connection) -> None:
    """The port of the server's other service, which speaks HTTP but not S3."""
    import http.server
    import threading

    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), quiet) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        monkeypatch.setenv("TAMIS_S3_ENDPOINT", f"http://127.0.0.1:{web.server_port}")
        with pytest.raises(UserError, match="is TAMIS_S3_ENDPOINT an S3 store"):
            store.read_bytes(f"{bucket}/x")
        web.shutdown()


def test_keys_from_a_mounted_secret(bucket: str, s3: Connection, tmp_path: Path, monkeypatch: Patch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "wrong")
    (tmp_path / "accesskey").write_text(s3.access_key + "\n")
    (tmp_path / "secretkey").write_text("wrong")
    monkeypatch.setenv("TAMIS_S3_SECRET_DIR", str(tmp_path))
    with pytest.raises(UserError):
        store.write_bytes(f"{bucket}/x", b"x")
    (tmp_path / "secretkey").write_text(s3.secret_key)  # rotated while the step runs
    store.write_bytes(f"{bucket}/x", b"x")
