"""How a model is fine-tuned."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tamis.finetune.trainjob.settings import TrainJobSettings
from tamis.settings import Settings


class TrainingSettings(Settings):
    """Settings of one training; the defaults suit models of 0.1 to 8 billion parameters."""

    method: Literal["full", "lora"] = "full"
    """Train all weights, or low-rank adapters (Hu et al. 2021, arXiv 2106.09685) that are merged at the end."""
    zero_stage: Literal[0, 1, 2, 3] = 2
    """What DeepSpeed shares out among the processes: nothing, optimizer states, gradients too, weights too."""
    epochs: Annotated[float, Field(gt=0)] = 1.0
    """Passes over the rows."""
    max_steps: Annotated[int, Field(ge=0)] = 0
    """Optimizer steps, whatever the epochs; 0 lets the epochs decide."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate; by default 2e-5 for full training and 2e-4 for LoRA."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] = 0.03
    """Share of the steps in which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Of AdamW; biases and norms have none."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    """Rows of one forward pass in one process."""
    accumulation: Annotated[int, Field(ge=1)] = 1
    """Forward passes of each process in one step: a step reads batch_size x accumulation x processes rows."""
    max_length: Annotated[int, Field(ge=8)] = 2048
    """Tokens of a row at most; a longer one is cut at its end."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type to compute and to save in; `auto` takes bfloat16 on a GPU that has it, else float32. With bfloat16 the
    master weights are float32, but what is saved has three digits: a few steps at a low rate are partly lost."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the order of the rows and of the adapters' initial weights."""
    lora_rank: Annotated[int, Field(ge=1)] = 16
    """Rank of the adapters."""
    lora_alpha: Annotated[float, Field(gt=0)] = 32.0
    """The adapters are scaled by alpha / rank."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before the adapters."""
    lora_targets: tuple[str, ...] = ()
    """Names of the linear layers that get one, such as q_proj; all but the head if empty."""
    processes: Annotated[int, Field(ge=0)] = 0
    """Processes on each machine; 0 takes its GPUs, or 1 without."""
    launcher: Literal["in-pod", "trainjob"] = "in-pod"
    """Train where this step runs, or on nodes of their own through a Kubeflow Trainer `TrainJob`."""
    nodes: Annotated[int, Field(ge=1)] = 1
    """Machines; more than one needs the launcher trainjob."""
    trainjob: TrainJobSettings = TrainJobSettings()
    """Where and how a TrainJob's nodes run."""
    checkpoint_every: Annotated[int, Field(ge=0)] = 0
    """Steps between checkpoints, from which an interrupted run goes on; 0 keeps none."""

    @model_validator(mode="after")
    def _several_nodes(self) -> "TrainingSettings":
        if self.nodes > 1 and self.launcher == "in-pod":
            raise ValueError("nodes: more than one needs launcher=trainjob")
        return self

    @property
    def rate(self) -> float:
        """The peak learning rate."""
        return self.learning_rate or (2e-4 if self.method == "lora" else 2e-5)
