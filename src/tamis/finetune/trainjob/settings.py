"""Where and how the nodes of a TrainJob run; in Kubernetes' own words, so that a platform's examples can be pasted."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel

from tamis.settings import Settings


class Toleration(Settings):
    """A taint that the nodes may have, as in a pod."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    key: str = ""
    """The taint's key; empty with `Exists` tolerates all."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Whether the taint only has to be there, or with this value."""
    value: str = ""
    """The taint's value, for `Equal`."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """The taint's effect; empty for all."""
    toleration_seconds: int | None = None
    """How long `NoExecute` is tolerated; for ever if not given."""


class TrainJobSettings(Settings):
    """Settings of the TrainJob; those of the platform are the defaults of its TrainingRuntime."""

    runtime: str = "tamis-finetune"
    """The TrainingRuntime, in the same namespace."""
    namespace: str = ""
    """Where the TrainJob is made; by default where this step runs."""
    image: str = ""
    """Image of the nodes; by default that of this step, or the runtime's outside a cluster."""
    resources: dict[str, str] = Field(default_factory=dict)
    """What each node gets, such as {"nvidia.com/gpu": "8", memory: 400Gi}; both its request and its limit."""
    shared_memory: str = ""
    """Size of /dev/shm, such as 16Gi; by default as much as the node's memory allows."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels that a machine must have."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that a machine may have."""
    affinity: dict[str, Any] = Field(default_factory=dict)
    """Affinity, as in a pod."""
    service_account: str = ""
    """Service account of the nodes; by default the runtime's."""
    secret: str = ""
    """Secret with the store's keys, in `accesskey` and `secretkey`; by default the runtime's."""
    queue: str = ""
    """Kueue's LocalQueue."""
    priority_class: str = ""
    """Kueue's WorkloadPriorityClass."""
    timeout: Annotated[int, Field(ge=0)] = 0
    """Seconds that the nodes may run, 0 for ever; waiting in a queue does not count."""
    start_timeout: Annotated[int, Field(ge=0)] = 0
    """Seconds that the TrainJob may wait to run, 0 for ever."""

    @field_validator("resources", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        whole = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in value.items()}  # a form's 8.0
        return {k: str(v) if isinstance(v, int | float) else v for k, v in whole.items()}

    @property
    def gpus(self) -> int:
        """GPUs of each node."""
        return sum(int(count) for name, count in self.resources.items() if "gpu" in name.lower())
