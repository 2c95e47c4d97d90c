"""Training in one call: from arguments to folders with the selected models and their reports."""

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from sct_hf.data import LabelledImages
from sct_hf.data.registry import find_reader
from sct_hf.data.summary import format_summary, summarise
from sct_hf.errors import InputError
from sct_hf.label_text.text_models import texts_encoded_once
from sct_hf.name_lists import PRINTED, some
from sct_hf.progress import say
from sct_hf.training.accelerators import accelerator_of
from sct_hf.training.arguments import Arguments
from sct_hf.training.checkpoints import newest_checkpoint
from sct_hf.training.data_checks import check_run_data
from sct_hf.training.launch import command_to_go_on, runs_alone
from sct_hf.training.one_head import train_one
from sct_hf.training.report import format_table, training_note, write_json
from sct_hf.training.run_data import load_run_data
from sct_hf.training.run_files import RunFile
from sct_hf.training.run_folder import RunFolder
from sct_hf.training.run_lock import run_lock
from sct_hf.training.stopping import StoppedError, StopSignals


@texts_encoded_once()
def train(arguments: Arguments) -> dict[str, Any]:
    """Train the model of `arguments`, and the head to compare it with, and report on both.

    Every process of a distributed run calls this.

    Args:
        arguments: All arguments.

    Returns:
        The content of metrics.json in the output folder.

    Raises:
        InputError: Arguments, data or the output folder cannot be used, a loss is not finite, or the disk is full.
        StoppedError: A `SystemExit` after Ctrl-C or SIGTERM; a line has printed the command that continues.
    """
    accelerator = accelerator_of(arguments)
    if runs_alone(accelerator.num_processes):
        say(
            accelerator,
            "accelerate was asked for several processes but started one: for several on CPU, give "
            "ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 -m sct_hf.cli train …; on GPUs, accelerate launch "
            "--multi_gpu …",
        )
    go_on = command_to_go_on(resumes=arguments.train.resume)  # while there is a launcher to ask
    with StopSignals(accelerator) as signals:
        try:
            with run_lock(Path(arguments.train.output_dir), accelerator):
                metrics = _train_heads(arguments, accelerator, signals)
        except StoppedError as stopped:
            say(accelerator, f"stopped by {stopped.name}; {_left(arguments)}; to continue: {go_on}")
            accelerator.end_training()
            raise
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            reason = "a process that reads images ended, of too little memory perhaps; lower num_workers"
            raise InputError(f"{reason}. To continue: {go_on}") from error
    accelerator.end_training()
    return metrics


def _train_heads(arguments: Arguments, accelerator: Accelerator, signals: StopSignals) -> dict[str, Any]:
    """Train the model and the head to compare it with; return the content of metrics.json."""
    folder = RunFolder(arguments)
    if folder.note:
        say(accelerator, folder.note)
    accelerator.wait_for_everyone()
    with accelerator.main_process_first():
        listings = check_run_data(arguments.data) if arguments.data.check_data else None
        run_data = load_run_data(arguments.data, arguments.train.seed, listings)
    if parents := run_data.label_parents:
        over = dict.fromkeys(parent for above in parents.values() for parent in above)
        say(accelerator, f"{len(parents)} labels with a parent; the parents: {some(over, PRINTED)}")
    own = not find_reader(arguments.data.dataset).published and not folder.finished
    parts = (run_data.all_training, run_data.evaluation) if own else ()
    summaries = [summarise(images) for images in parts if isinstance(images, LabelledImages)]
    notes = listings.notes if listings else []
    for summary, noted in zip(summaries, [*notes, [], []], strict=False):
        say(accelerator, format_summary(summary, noted) + "\n")
    for note in chain.from_iterable(() if own else notes):
        say(accelerator, f"note: {note}")
    if note := training_note(run_data.scored_in_training(), len(run_data.evaluation)):
        say(accelerator, note)
    metrics = train_one(arguments, folder, run_data, accelerator, signals, summaries)
    other = arguments.model.compare_head
    if other == "none":
        return metrics
    inner = replace(
        arguments,
        model=arguments.model.with_head(other),
        train=replace(arguments.train, output_dir=str(folder.path / other), resume=True, overwrite_output_dir=False),
    )
    say(accelerator, f"\nNow the {other} head on the same data")
    with run_lock(folder.path / other, accelerator):
        rival = train_one(inner, RunFolder(inner), run_data, accelerator_of(inner), signals, [])
    metrics["comparison"] = {other: rival}
    if accelerator.is_main_process:
        write_json(folder.path / RunFile.METRICS, metrics)
    say(accelerator, "\n" + format_table(metrics, run_data.all_training.label_names, comparison=metrics["comparison"]))
    return metrics


def _left(arguments: Arguments) -> str:
    """The files that a stopped run leaves, in words."""
    path, other = Path(arguments.train.output_dir), arguments.model.compare_head
    newest = newest_checkpoint(path / other) or newest_checkpoint(path)
    return f"{newest} is whole" if newest else "there was no checkpoint yet"
