import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tamis import store
from tamis.errors import TamisError, UserError
from tamis.store import lease as module
from tamis.store import s3
from tamis.store.uri import parse

HOLD = """
import sys, time
from tamis import store
with store.claim(sys.argv[1], "nightly"):
    print("held", flush=True)
    time.sleep(60)
"""
RACE = """
import sys, time
from tamis import store
from tamis.errors import UserError
print("ready", flush=True)
sys.stdin.readline()
try:
    with store.claim(sys.argv[1], sys.argv[2]):
        print("won", flush=True)
        sys.stdin.readline()
except UserError as error:
    print(error, flush=True)
"""


def start(code: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def lease_exists(folder: str) -> bool:
    return store.exists(f"{folder}.lease")


def test_one_wins_and_the_other_says_who(folder: str) -> None:
    runs = [start(RACE, folder, f"run-{n}") for n in range(3)]
    said = []
    for run in runs:
        assert run.stdout and run.stdout.readline() == "ready\n"
    for run in runs:
        assert run.stdin
        run.stdin.write("\n")
        run.stdin.flush()
    for run in runs:
        assert run.stdout
        said.append(run.stdout.readline().strip())
    winner = said.index("won")
    for n, words in enumerate(said):
        if n != winner:
            assert re.search(rf"is held by run 'run-{winner}' on \S+, process {runs[winner].pid}, since 20\d\d-", words)
    assert said.count("won") == 1 and lease_exists(folder)
    for run in runs:
        run.communicate("\n", timeout=30)
    assert not lease_exists(folder)
    with store.claim(folder):
        pass


def test_a_killed_holder_is_replaced_at_once(folder: str) -> None:
    run = start(HOLD, folder)
    assert run.stdout and run.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="held by run 'nightly'"), store.claim(folder):
        pass
    run.kill()
    run.wait()
    with store.claim(folder, "again") as held:
        held.check()


def other_machine(folder: str) -> dict[str, object]:
    return {**module._identity("elsewhere"), "host": "far", "process": ["boot", "pid:[1]", "1"]}


def test_a_silent_holder_is_replaced_after_its_time(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TTL", 2.0)
    s3.put(parse(f"{bucket}.lease"), json.dumps(other_machine(bucket)).encode())
    with pytest.raises(UserError, match="'elsewhere' on far"), store.claim(bucket):
        pass
    time.sleep(3.1)  # the store tells time in whole seconds
    with store.claim(bucket):
        pass


def test_a_living_holder_keeps_it_and_a_robbed_one_learns_it(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TTL", 2.0)
    place = parse(f"{bucket}.lease")
    with store.claim(bucket) as held:
        time.sleep(3.1)
        assert s3.stat(place).age <= 2.0
        held.check()
        theirs = json.dumps(other_machine(bucket)).encode()
        s3.put(place, theirs)
        assert held.lost.wait(5)
        with pytest.raises(TamisError, match="took over"):
            held.check()
    assert s3.get(place) == theirs  # it is not ours to remove


def test_it_is_released_after_an_error(folder: str) -> None:
    with pytest.raises(ZeroDivisionError), store.claim(folder):
        raise ZeroDivisionError
    assert not lease_exists(folder)


def test_garbage_in_the_lease_is_held_by_somebody(bucket: str) -> None:
    s3.put(parse(f"{bucket}.lease"), b"\xff[")
    with pytest.raises(UserError, match="unknown host"), store.claim(bucket):
        pass


def test_a_claim_leaves_nothing_in_the_folder(tmp_path: Path) -> None:
    with store.claim(tmp_path / "out"):
        assert [path.name for path in tmp_path.iterdir()] == ["out.lease"]
    assert not list(tmp_path.iterdir())
