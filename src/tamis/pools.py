"""Node pools: on which nodes of a cluster each kind of step runs, as named presets in one file.

The pipeline takes a pool as plain parameters (`training_memory`, `training_node_selector` and so on), so a run can be
sent to other nodes from the Kubeflow form. A preset is the same values under a name; a run configuration names one
for each role. Kubernetes ignores keys that it does not know, and the pod then lands anywhere: here they are refused.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, model_validator

from tamis import settings
from tamis.config import RunConfig
from tamis.errors import UserError

Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|[MGTPE]i?)?$")]


class Toleration(settings.Settings):
    """A taint that a pod accepts; the names are those of Kubernetes, as in the classes below."""

    key: str = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    tolerationSeconds: int | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "Toleration":
        if self.operator == "Exists" and self.value:
            raise ValueError("operator Exists takes no value")
        if self.operator == "Equal" and not self.key:
            raise ValueError("operator Equal needs a key")
        return self


class Requirement(settings.Settings):
    """A condition on a node's label or field."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: list[str] | None = None


class Term(settings.Settings):
    """Conditions that all hold."""

    matchExpressions: list[Requirement] | None = None
    matchFields: list[Requirement] | None = None


class Terms(settings.Settings):
    """Terms of which one holds."""

    nodeSelectorTerms: list[Term]


class Preference(settings.Settings):
    """A term that counts `weight` when it holds."""

    weight: int = Field(ge=1, le=100)
    preference: Term


class NodeAffinity(settings.Settings):
    """Nodes that a pod must or would rather run on."""

    requiredDuringSchedulingIgnoredDuringExecution: Terms | None = None
    preferredDuringSchedulingIgnoredDuringExecution: list[Preference] | None = None


class NodePool(settings.Settings):
    """What the pods of one role ask for; the defaults mean CPU, on any node."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    accelerator_type: str = ""
    """Resource name, such as `nvidia.com/gpu`; empty for none."""
    accelerator_count: str = Field("1", pattern=r"^[0-9]+$")
    """Accelerators of each pod, where there is a type; text, because Kubeflow Pipelines takes a number for none."""
    cpu: Quantity = "2"
    """Cores of each pod, its request and its limit."""
    memory: Quantity = "8Gi"
    """Memory of each pod, its request and its limit; shared memory counts towards it."""
    node_selector: dict[str, str] = {}
    """Labels that a node must have."""
    tolerations: list[Toleration] = []
    """Taints that the pods accept."""
    affinity: NodeAffinity = NodeAffinity()
    """Kubernetes' node affinity."""


def read_pools(path: Path) -> dict[str, NodePool]:
    """Reads a file of presets: names to settings of `NodePool`.

    Raises:
        UserError: It cannot be read, or a preset has an unknown setting or a value that Kubernetes would not take.
    """
    try:
        presets = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(presets, dict) or not all(isinstance(preset, dict) for preset in presets.values()):
        raise UserError(f"{path}: write each node pool as a name with settings below it")
    return {str(name): settings.parse(NodePool, preset, f"{path}: {name}") for name, preset in presets.items()}


def parameters(config: RunConfig, presets: Path) -> dict[str, Any]:
    """The pipeline's parameters for a run on a cluster: the configuration, its node pools written out.

    Args:
        config: The run's configuration; a role for which it names no pool keeps the pipeline's defaults.
        presets: File with the node pools; not read where the configuration names none.

    Raises:
        UserError: No such preset (with the nearest known one), or one with accelerators for steps that use none.
    """
    values = config.model_dump(exclude={"node_pools"})
    pools = read_pools(presets) if config.node_pools else {}
    for role, name in config.node_pools.items():
        if name not in pools:
            raise UserError(f"node_pools.{role}: no '{name}' in {presets}; {settings.nearest(name, list(pools))}")
        pool = pools[name].model_dump(exclude_none=True)
        if role == "data":
            if pool["accelerator_type"]:
                raise UserError(f"node_pools.data: '{name}' has accelerators, which these steps do not use")
            del pool["accelerator_type"], pool["accelerator_count"]
        values |= {f"{role}_{field}": value for field, value in pool.items()}
    return values
