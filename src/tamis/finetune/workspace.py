"""Where a training keeps what must outlive its machine: a workspace in a store.

`<workspace>/checkpoints/<digest>` and `<workspace>/models/<digest>`, where the digest is that of the training's
identity: what it is made from. So the same training finds its checkpoints and its model wherever it runs, and another
one cannot mix with them.
"""

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis import store
from tamis.finetune import checkpoints
from tamis.finetune.result import RESULT
from tamis.pool.shards import combined_digest, write_json
from tamis.store.lease import TTL


@dataclass(frozen=True)
class Workspace:
    """The places of one training.

    Attributes:
        uri: A URI for many trainings.
        identity: What this training is made from, plain values.
    """

    uri: str
    identity: dict[str, Any]

    @property
    def digest(self) -> str:
        """Names this training."""
        return combined_digest([json.dumps(self.identity, sort_keys=True)])

    @property
    def model(self) -> str:
        """URI of the tuned model: a published folder, with `training.json`."""
        return store.join(self.uri, "models", self.digest)

    @property
    def checkpoints(self) -> str:
        """URI of its checkpoints, while it is not finished."""
        return store.join(self.uri, "checkpoints", self.digest)

    def finished(self) -> dict[str, Any] | None:
        """The content of `training.json` if the model is published, None if it is still to be trained.

        Raises:
            TamisError: The store cannot be read.
        """
        if not store.exists(store.join(self.model, store.MANIFEST)):
            return None
        return dict(json.loads(store.read_bytes(store.join(self.model, RESULT))))

    def publish(self, model: Path, content: dict[str, Any]) -> None:
        """Publishes a tuned model with its `training.json`, and removes the checkpoints.

        Raises:
            TamisError: The store cannot be written; a rerun goes on with it.
        """
        write_json(model / RESULT, content)
        store.upload_folder(model, self.model, {"kind": "tuned model", "identity": self.identity})
        checkpoints.remove(self.checkpoints)

    def point(self, out: Path) -> None:
        """Writes a `training.json` that says where the published model is."""
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / RESULT, (self.finished() or {}) | {"model_uri": self.model})


def hold(uri: str) -> AbstractContextManager[store.Claim]:
    """Holds what only one run may do at a time; waits for a holder that may be dead.

    Raises:
        UserError: Another run does it; says which and where.
    """
    return store.claim(uri, run="finetune", patience=TTL + 15)
