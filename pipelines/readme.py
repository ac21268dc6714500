"""READMEs of components and pipelines, made from what they are: docstring, signature, metadata and example.

The layout is that of the official component repository (overview, inputs, outputs, usage, metadata). What stands
below the marker `<!-- custom-content -->` is written by people and kept.
"""

from pathlib import Path
from typing import Any

import docstring_parser
import yaml

MARKER = "<!-- custom-content -->"
_NAMES = {"String": "str", "Integer": "int", "Double": "float", "Bool": "bool", "Dict": "dict", "List": "list"}


def readme(folder: Path, function: Any) -> str:
    """The README of one component or pipeline.

    Args:
        folder: Has `metadata.yaml`, `example_pipelines.py` and perhaps an older README.
        function: The component or pipeline.
    """
    code = getattr(function, "python_func", None) or function.pipeline_func
    told = docstring_parser.parse(code.__doc__ or "")
    texts = {one.arg_name: one.description for one in told.params}
    spec = function.component_spec
    outputs = {name: output.description or texts.get(name) for name, output in (spec.outputs or {}).items()}
    if told.returns and "Output" in outputs:
        outputs["Output"] = told.returns.description
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
    lines = [f"# {folder.name}", ""]
    if metadata["stability"] != "stable":
        lines += [f"> Stability: {metadata['stability']}. Names and defaults may still change.", ""]
    lines += ["## Overview", "", told.short_description or "", ""]
    lines += ["## Inputs", "", "| name | type | default | description |", "|---|---|---|---|"]
    for name, given in spec.inputs.items():
        default = f"`{given.default!r}`" if given.default is not None else "none" if given.optional else "required"
        lines.append(f"| `{name}` | `{_type(given)}` | {default} | {texts[name]} |")
    lines += ["", "## Outputs", "", "| name | type | description |", "|---|---|---|"]
    for name, given in (spec.outputs or {}).items():
        lines.append(f"| `{name}` | `{_type(given)}` | {outputs[name]} |")
    example = (folder / "example_pipelines.py").read_text().rstrip()
    kind = folder.parent.name.removesuffix("s")
    load = f'`kfp.components.load_component_from_file("{folder.parent.name}/{folder.name}/{kind}.yaml")`'
    lines += ["", "## Usage", "", f"Without this package: {load}. With it:", "", "```python", example, "```", ""]
    lines += ["## Metadata", "", "```yaml", (folder / "metadata.yaml").read_text().rstrip(), "```", ""]
    path = folder / "README.md"
    _, _, custom = path.read_text().partition(MARKER) if path.exists() else ("", "", "")
    return "\n".join([*lines, MARKER]) + (custom or "\n")


def index(title: str, functions: dict[str, Any]) -> str:
    """The README of a folder of components: each with its first sentence."""
    lines = [f"# {title}", "", "| name | what it does |", "|---|---|"]
    for name, function in functions.items():
        code = getattr(function, "python_func", None) or function.pipeline_func
        lines.append(f"| [{name}]({name}/README.md) | {docstring_parser.parse(code.__doc__ or '').short_description} |")
    return "\n".join(lines) + "\n"


def _type(given: Any) -> str:
    name = given.type.removeprefix("system.").partition("@")[0].removeprefix("typing.")
    name = _NAMES.get(name, name).replace("List[", "list[")
    return f"list of {name}" if given.is_artifact_list else name
