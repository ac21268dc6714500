"""How a model is evaluated."""

from typing import Annotated, Literal

from pydantic import Field

from tamis.settings import Settings


class EvaluationSettings(Settings):
    """Settings of one evaluation."""

    tasks: tuple[str, ...] = ()
    """lm-eval tasks: names of stock ones, or folders and YAML files of one's own."""
    limit: Annotated[int, Field(ge=0)] = 0
    """Documents of each task, from its beginning; 0 for all."""
    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    """Examples in a task's prompt; the task decides if not given, and one that fixes 0 keeps it."""
    apply_chat_template: bool = False
    """Whether tasks are asked in the model's chat template."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    """Requests of a task that are run together."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type to compute in; `auto` takes float32 on a CPU, also where bfloat16 is faster there, because it would round
    away part of what a short training changed; on a GPU bfloat16, or float16 on one without it."""
    max_length: Annotated[int, Field(ge=0)] = 0
    """Tokens of a row or a prompt at most; 0 for the model's window."""
    trust_remote_code: tuple[str, ...] = ()
    """Names of models, as they are given, whose own Python code may be run; none by default."""
