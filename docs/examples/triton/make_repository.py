"""Make a model repository for NVIDIA Triton from a folder of `sct-hf export --format onnx`.

    python make_repository.py outputs/export models/
    tritonserver --model-repository models/

The server makes the batches. The graph takes images prepared as export.json says; client.py prepares them.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

CONFIG = """\
name: "{name}"
backend: "onnxruntime"
max_batch_size: {batch_size}
input [
  {{ name: "{input}" data_type: TYPE_FP32 dims: [ {shape} ] }}
]
output [
{outputs}
]
dynamic_batching {{ max_queue_delay_microseconds: 5000 }}
"""


def configuration(export: dict[str, Any], name: str, batch_size: int) -> str:
    """The text of config.pbtxt for what export.json says. An axis of open length is -1."""

    def dims(shape: list[Any]) -> str:
        return ", ".join(str(length if isinstance(length, int) else -1) for length in shape[1:])

    outputs = ",\n".join(
        f'  {{ name: "{output}" data_type: TYPE_FP32 dims: [ {dims(shape)} ] }}'
        for output, shape in export["outputs"].items()
    )
    given = export["input"]
    return CONFIG.format(
        name=name, batch_size=batch_size, input=given["name"], shape=dims(given["shape"]), outputs=outputs
    )


def make_repository(export: Path, repository: Path, name: str = "sct", batch_size: int = 16) -> Path:
    """Write `repository/name` with its configuration and the graph as version 1; return the folder.

    Raises:
        SystemExit: The export has no ONNX graph, or the repository has a model of this name.
    """
    graphs = sorted(export.glob("model.onnx*"))  # large graphs keep their weights in a second file
    if not graphs:
        raise SystemExit(f"{export} has no model.onnx: make it with sct-hf export --format onnx")
    if (repository / name).exists():
        raise SystemExit(f"{repository / name} exists: remove it, or give another --name")
    content = json.loads((export / "export.json").read_text(encoding="utf-8"))
    version = repository / name / "1"
    version.mkdir(parents=True)
    for graph in graphs:
        shutil.copy(graph, version)
    text = configuration(content, name, batch_size)
    (repository / name / "config.pbtxt").write_text(text, encoding="utf-8")
    return repository / name


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--name", default="sct")
    parser.add_argument("--batch_size", type=int, default=16, help="most images in one run of the model")
    arguments = parser.parse_args()
    print(make_repository(arguments.export, arguments.repository, arguments.name, arguments.batch_size))
