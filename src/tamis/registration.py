"""An entry for a release in the Kubeflow Model Registry, through its own client (`tamis[registry]`)."""

import importlib
import os
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tamis.errors import TamisError, UserError


def register(address: str, release: str, uri: str, properties: Mapping[str, str | float]) -> None:
    """Registers a model's version once; again the same is a no-op.

    The token, if the registry asks for one, is the service account's, or in the file `$KF_PIPELINES_SA_TOKEN_PATH`.

    Args:
        address: `http://host:port` or `https://host`.
        release: `name/version`.
        uri: Where the model is.
        properties: Shown beside the version.

    Raises:
        UserError: The client is not installed, or the version is registered with another model.
        TamisError: The registry does not answer, or refuses.
    """
    check_address(address)
    try:
        registry = importlib.import_module("model_registry")
        errors = importlib.import_module("model_registry.exceptions")
    except ImportError:
        raise UserError("publication.registry needs the model-registry client; install tamis[registry]") from None
    name, version = release.split("/")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no token, which many registries do not ask for
            client: Any = registry.ModelRegistry(address, author="tamis", custom_ca=os.environ.get("SSL_CERT_FILE"))
        try:
            there = client.get_model_artifact(name, version)
        except errors.StoreError:  # no such model or version yet
            there = None
        if there is None:
            client.register_model(
                name,
                uri,
                version=version,
                model_format_name="safetensors",
                model_format_version="1",
                metadata=dict(properties),
            )
        elif there.uri != uri:
            raise UserError(f"{release} is registered at {address} with another model, {there.uri}; choose a version")
    except (UserError, TamisError):
        raise
    except Exception as error:  # the client lets those of its HTTP library through
        status = getattr(error, "status", "")
        raise TamisError(
            f"{release} is published, but not registered at {address}: {type(error).__name__} {status}".rstrip()
            + "; run the step again when the registry answers"
        ) from None


def check_address(address: str) -> None:
    """Refuses what is no address of a registry, or holds a key.

    Raises:
        UserError: Says how to write it.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
        raise UserError("publication.registry must be http://host:port or https://host; its token is read from a file")
