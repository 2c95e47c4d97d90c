"""Time and memory of a training step with many labels, each number of labels in a process of its own.

`python -m sct_hf.benchmark.many_labels 5000 10000 20000 [--full] [--prototypes] [--bf16]` prints a line for each.
"""

import argparse
import time
from collections.abc import Sequence

import torch

from sct_hf.benchmark.memory import PeakMemory
from sct_hf.benchmark.processes import Task, run_tasks
from sct_hf.factory import build_model
from sct_hf.label_text.encoders import encode_labels

_CLASSES = 1000


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the numbers of labels that the command line gives, one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=int, nargs="+", help="numbers of labels")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--pixels", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3, help="the last one is reported")
    parser.add_argument("--full", action="store_true", help="train the backbone too")
    parser.add_argument("--prototypes", action="store_true", help="with label prototypes and class vectors")
    parser.add_argument("--bf16", action="store_true", help="under autocast")
    parser.add_argument("--jobs", type=int, default=1, help="0 measures in this process")
    options = parser.parse_args(argv)
    print("labels | s of processor | ms a 1,000 labels | peak MB of the process | before the first step", flush=True)
    tasks = [Task(f"{count} labels", measure, (count, options)) for count in options.labels]
    for outcome in run_tasks(tasks, options.jobs):
        if outcome.error:
            raise SystemExit(f"{outcome.task.name}: {outcome.error}")


def measure(count: int, options: argparse.Namespace) -> None:
    """Train a few steps on random images with `count` labels, of which three an image are present; print the last."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    names = [f"label {number}" for number in range(count)]
    more: dict[str, torch.Tensor] = {}
    if options.prototypes:
        more = {"label_prototypes": torch.rand(count, _CLASSES), "class_vectors": torch.randn(_CLASSES, 1280)}
    model = build_model(
        options.backbone,
        names,
        image_size=options.pixels,
        label_vectors=encode_labels(names, "random"),
        scorer="label",
        hidden_size=256,
        encoder_ffn_dim=512,
        **more,  # type: ignore[arg-type]
    )
    model.backbone.requires_grad_(options.full)
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], fused=True)
    images = torch.randn(options.batch_size, 3, options.pixels, options.pixels)
    targets = (torch.rand(options.batch_size, count) < 3 / count).float()
    with PeakMemory() as before:
        pass
    for _ in range(options.steps):
        with PeakMemory() as peak:
            started = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
                loss = model(images, targets).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            seconds = time.process_time() - started
    memory = f"{peak.megabytes:,.0f} | {before.megabytes:,.0f}"
    print(f"{count:,} | {seconds:.2f} | {1e6 * seconds / count:.0f} | {memory}", flush=True)


if __name__ == "__main__":
    main()
