"""The engine that `DOCKER_HOST` names, and both images as `make images` built them, run like a restricted pod."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tamis.components.images import CORE, GPU

COMPILERS = "gcc g++ cc c++ clang nvcc"


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    import docker
    from docker.errors import DockerException, ImageNotFound

    try:
        client = docker.from_env(timeout=300)
        client.ping()
    except DockerException as error:
        pytest.skip(f"no container engine answers: {error}")
    for name in (CORE, GPU):
        try:
            client.images.get(name)
        except ImageNotFound:
            pytest.fail(f"{name} is not there; run make images")
    yield client
    client.close()


@pytest.fixture(scope="session")
def restricted() -> dict[str, Any]:
    """How every container runs here."""
    return {
        "read_only": True,
        "tmpfs": {"/tmp": "noexec"},  # nothing that was compiled there could be loaded
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "network_mode": "none",
    }


@pytest.fixture(scope="session")
def run(engine: Any, restricted: dict[str, Any]) -> Callable[..., str]:
    """Runs a command in a new container and returns what it printed to stdout."""

    def in_container(image: str, *command: str, **options: Any) -> str:
        printed: bytes = engine.containers.run(image, list(command), remove=True, **restricted | options)
        return printed.decode()

    return in_container


@pytest.fixture(scope="session")
def without_compilers(run: Callable[..., str]) -> Callable[[str], list[str]]:
    """Mounts that hide every compiler of an image: a base image may hold some, and ours must not need them."""

    def mounts(image: str) -> list[str]:
        found = run(image, "sh", "-c", f"for name in {COMPILERS}; do command -v $name; done | xargs -r readlink -f")
        return [f"/dev/null:{path}:ro" for path in sorted(set(found.split()))]

    return mounts
