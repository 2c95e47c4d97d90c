"""The formats of an export against the model itself: accuracy, size and time on the same images."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from sct_hf.benchmark.tables import markdown_table, write_rows
from sct_hf.benchmark.timing import Case, columns, interleaved
from sct_hf.data import ImageDataset, LabelledImages, eval_transform
from sct_hf.export.checkpoint import file_size
from sct_hf.export.formats import exported_files, open_file
from sct_hf.export.runners import eager_runner
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.model.backbone_sct import BackbonePreTrainedModel
from sct_hf.progress import progress_bar
from sct_hf.training.devices import cpu_kind

_NAME = "evaluation"


def compare_formats(
    model: BackbonePreTrainedModel,
    folder: Path,
    images: LabelledImages,
    *,
    threads: int = 1,
    rounds: int = 20,
    num_workers: int = 0,
) -> str:
    """Score the model and every format of its export, time them in turns, and write evaluation.md and .parquet.

    Args:
        model: The checkpoint that was exported, in float32 on the CPU.
        folder: Folder of the export.
        images: The images, with targets for the model's labels.
        threads: CPU threads of the model and of every format.
        rounds: Timing rounds; in each, every format gets the same image.
        num_workers: Processes that load images.

    Returns:
        The table as Markdown: mAP in %, the largest difference of a logit from the model's, the file's size, and
        milliseconds per image (median and quartiles), without reading the image.
    """
    torch.set_num_threads(threads)
    model.backbone.to(memory_format=torch.channels_last)  # the model at its best
    config = model.config
    files = exported_files(folder)
    runners = {"model": eager_runner(model)} | {name: open_file(name, path, threads) for name, path in files.items()}
    dataset = ImageDataset(images, eval_transform(config.image_size, config.image_mean, config.image_std))
    loader: DataLoader[Any] = DataLoader(dataset, num_workers=num_workers)  # one at a time, as it is timed
    logits: dict[str, list[np.ndarray]] = {name: [] for name in runners}
    pixels = np.empty(0)
    for batch in progress_bar(loader, shown=True, desc=images.split, unit="image", leave=False):
        pixels = batch["pixel_values"].numpy()
        for name, run in runners.items():
            logits[name].append(run(pixels)[0])
    scored = {name: np.concatenate(parts) for name, parts in logits.items()}
    times = interleaved({name: Case(partial(run, pixels)) for name, run in runners.items()}, rounds=rounds)
    sizes = {name: file_size(path) for name, path in files.items()}
    sizes["model"] = sum(tensor.nbytes for tensor in model.state_dict().values())
    rows = [
        {
            "format": name,
            "mAP": 100 * multilabel_metrics(torch.from_numpy(values).sigmoid().numpy(), images.targets())["mAP"],
            "max_logit_difference": float(np.abs(values - scored["model"]).max()),
            "MB": sizes[name] / 1e6,
            **columns("image", times[name], times["model"]),
        }
        for name, values in scored.items()
    ]
    caption = (
        f"{len(images):,} images of {images.name} {images.split}, {rounds} rounds of timing on {threads} threads of "
        f"{cpu_kind()}."
    )
    write_rows(folder, _NAME, rows, caption=caption)
    return f"{caption}\n\n{markdown_table(rows)}"
