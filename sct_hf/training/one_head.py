"""One head of a run: trained, unless its folder has it finished, and reported."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from sct_hf.data.hierarchies import write_hierarchy
from sct_hf.data.masks import save_known
from sct_hf.data.shards.images import listed
from sct_hf.data.summary import Summary
from sct_hf.errors import InputError
from sct_hf.progress import say
from sct_hf.training.arguments import Arguments
from sct_hf.training.checkpoints import room_to_save
from sct_hf.training.decide import decide_by_folds
from sct_hf.training.finished_run import note_training_images
from sct_hf.training.label_figure import label_figure
from sct_hf.training.run import Run
from sct_hf.training.run_data import RunData
from sct_hf.training.run_files import RunFile
from sct_hf.training.run_folder import RunFolder
from sct_hf.training.run_report import report_run
from sct_hf.training.stopping import StopSignals


def _metrics_of(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}; start again with --overwrite_output_dir") from error


def train_one(
    arguments: Arguments,
    folder: RunFolder,
    run_data: RunData,
    accelerator: Accelerator,
    signals: StopSignals,
    summaries: Sequence[Summary],
) -> dict[str, Any]:
    """Train one head, unless its folder has it finished; return its metrics.

    Summaries, if any, are drawn into the folder.
    """
    if folder.finished:
        say(accelerator, f"{folder.path} has this run, which is finished: nothing to do")
        if accelerator.is_main_process:
            folder.finish()  # where that was interrupted
        return _metrics_of(folder.path / RunFile.METRICS)
    run = Run(arguments, folder, run_data, accelerator, signals)
    if accelerator.is_main_process:
        with room_to_save(folder.path):
            folder.claim()
            note_training_images(folder.path, run_data)
            if run_data.label_parents:
                write_hierarchy(folder.path / RunFile.HIERARCHY, run_data.label_parents)
            if arguments.data.hides_labels:
                save_known(listed(run_data.training, "known_proportion"), folder.path / RunFile.KNOWN_LABELS)
            if summaries and arguments.train.figures:
                label_figure(summaries, folder.path / RunFile.LABELS)
    accelerator.wait_for_everyone()
    run.resume()
    run.fit()
    if arguments.train.calibration_folds:
        decide_by_folds(arguments, run_data, run.average.model.config, accelerator, signals)
    metrics = report_run(run)
    accelerator.free_memory()  # lets go of the model and of the processes that read images
    return metrics
