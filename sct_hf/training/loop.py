"""One run of training: from arguments to a folder with the selected model and its report."""

import json
import math
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import set_seed
from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from sct_hf.errors import InputError
from sct_hf.factory import build_model, image_processor
from sct_hf.files import atomic_write
from sct_hf.label_text.encoders import encode_labels
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.training.arguments import Arguments
from sct_hf.training.checkpoints import (
    TrainerState,
    load_checkpoint,
    newest_checkpoint,
    room_to_save,
    save_checkpoint,
)
from sct_hf.training.ema import AveragedModel, load_weights, save_weights
from sct_hf.training.evaluation import evaluate_model, model_inputs
from sct_hf.training.optim import one_cycle, parameter_groups
from sct_hf.training.pictures import Loaders, Pictures, load_pictures, make_loaders
from sct_hf.training.report import Predictions, format_table, write_json, write_report
from sct_hf.training.run_folder import BEST, HISTORY, METRICS, RunFolder

_SAMPLES = 8


def train(arguments: Arguments) -> dict[str, Any]:
    """Train the model that `arguments` describe, and the head to compare it with, and report on both.

    Every process of a distributed run calls this.

    Args:
        arguments: All arguments.

    Returns:
        The content of metrics.json in the output folder.

    Raises:
        InputError: Arguments, data or an output folder that cannot be used, a loss that is not finite, a full disk.
    """
    accelerator = make_accelerator(arguments)
    _share_cores(accelerator, arguments.train.cpu_threads)
    folder = RunFolder(arguments)
    accelerator.wait_for_everyone()
    with accelerator.main_process_first():
        pictures = load_pictures(arguments.data, arguments.train.seed)
    metrics = _train_one(arguments, folder, pictures, accelerator)
    other = arguments.model.compare_head
    if other != "none":
        inner = replace(
            arguments,
            model=replace(arguments.model, head=other, compare_head="none"),
            train=replace(
                arguments.train, output_dir=str(folder.path / other), resume=True, overwrite_output_dir=False
            ),
        )
        _say(accelerator, f"\nNow the {other} head on the same data")
        rival = _train_one(inner, RunFolder(inner), pictures, make_accelerator(inner))
        metrics["comparison"] = {other: rival}
        if accelerator.is_main_process:
            write_json(folder.path / METRICS, metrics)
        _say(accelerator, "\n" + format_table(metrics, pictures.whole.label_names, comparison=metrics["comparison"]))
    accelerator.end_training()
    return metrics


def make_accelerator(arguments: Arguments) -> Accelerator:
    """Make the `Accelerator` of a run.

    Raises:
        InputError: The device does not know the number format, or there is no such tracker.
    """
    train = arguments.train
    try:
        return Accelerator(
            mixed_precision=train.mixed_precision,
            gradient_accumulation_steps=train.gradient_accumulation,
            log_with=train.trackers or None,
            project_dir=train.output_dir,
            dataloader_config=DataLoaderConfiguration(
                split_batches=True, use_seedable_sampler=True, data_seed=train.seed
            ),
        )
    except ValueError as error:
        raise InputError(
            f"mixed_precision is {train.mixed_precision!r} and report_to {train.report_to!r}: {error}"
        ) from error


def _share_cores(accelerator: Accelerator, threads: int) -> None:
    """Set the threads of a process on CPU: `accelerate launch` and torchrun leave it one, however many cores there are."""
    if accelerator.device.type == "cpu":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        torch.set_num_threads(threads or max(cores // local, 1))


def _train_one(
    arguments: Arguments, folder: RunFolder, pictures: Pictures, accelerator: Accelerator
) -> dict[str, Any]:
    """Train one head, unless its folder says that it is trained already; return its metrics."""
    if folder.finished:
        _say(accelerator, f"{folder.path} holds this run, and it is finished: nothing is left to do")
        return json.loads((folder.path / METRICS).read_text(encoding="utf-8"))
    if accelerator.is_main_process:
        with room_to_save(folder.path):
            folder.claim()
    accelerator.wait_for_everyone()
    run = _Run(arguments, folder, pictures, accelerator)
    run.resume()
    run.fit()
    return run.report()


class _Run:
    """What the phases of one run share: model, optimizer, loaders and where training stands."""

    def __init__(
        self, arguments: Arguments, folder: RunFolder, pictures: Pictures, accelerator: Accelerator
    ) -> None:
        self.arguments, self.folder, self.pictures, self.accelerator = arguments, folder, pictures, accelerator
        options = arguments.train
        self.state = TrainerState()
        self.bare = _new_model(arguments, pictures.whole.label_names, accelerator)
        self.bare.to(accelerator.device)
        self.loaders: Loaders = make_loaders(pictures, self.bare, arguments, accelerator)
        self.average = AveragedModel(self.bare, options.ema_decay, options.ema_warmup)
        batches = len(self.loaders.training)
        self.steps_an_epoch = math.ceil(batches / options.gradient_accumulation)
        self.total_steps = options.epochs * self.steps_an_epoch
        groups = parameter_groups(
            self.bare,
            learning_rate=options.learning_rate,
            backbone_learning_rate=options.backbone_learning_rate,
            weight_decay=options.weight_decay,
        )
        self.rates = {group["name"]: place for place, group in enumerate(groups)}
        optimizer, self.schedule = one_cycle(groups, total_steps=self.total_steps, pct_start=options.pct_start)
        self.model, self.optimizer = accelerator.prepare(self.bare, optimizer)
        accelerator.register_for_checkpointing(self.schedule)
        self.trained = [parameter for parameter in self.bare.parameters() if parameter.requires_grad]
        set_seed(options.seed, device_specific=True)
        count = sum(parameter.numel() for parameter in self.trained)
        processes = f"{accelerator.num_processes} process{'es' if accelerator.num_processes > 1 else ''}"
        held_out = len(pictures.held_out) if pictures.held_out else 0
        _say(
            accelerator,
            f"{arguments.model.head} head on {arguments.model.backbone}, {count / 1e6:.1f} M trained weights; "
            f"{len(pictures.training)} pictures to train on, {held_out} to select by, {len(pictures.evaluation)} to "
            f"score; {processes} on {accelerator.device}, {torch.get_num_threads()} threads each",
        )

    def resume(self) -> None:
        """Go back to the newest checkpoint, if there is one."""
        checkpoint = newest_checkpoint(self.folder.path)
        if checkpoint:
            self.state = load_checkpoint(checkpoint, self.accelerator, self.average.model)
            _say(self.accelerator, f"resumed from {checkpoint}, step {self.state.step} of {self.total_steps}")

    def fit(self) -> None:
        """Train the epochs that are left."""
        options, state = self.arguments.train, self.state
        if options.trackers:
            settings = {name: _plain(value) for name, value in self.arguments.to_dict().items()}
            self.accelerator.init_trackers("logs", config=settings)
        an_epoch = len(self.loaders.training) * options.batch_size
        with tqdm(
            total=options.epochs * an_epoch,
            initial=state.epoch * an_epoch + state.images,
            unit="image",
            smoothing=0.05,
            mininterval=0.5 if os.isatty(2) else 30,
            disable=None if self.accelerator.is_main_process else True,
        ) as progress:
            while state.epoch < options.epochs:
                self._epoch(progress)
                self._select(self._close_epoch())
                self._checkpoint()
        for tracker in self.accelerator.trackers:
            tracker.finish()

    def _epoch(self, progress: "tqdm[Any]") -> None:
        """Train what is left of the epoch in progress."""
        options, state, loader = self.arguments.train, self.state, self.loaders.training
        loader.set_epoch(state.epoch)  # type: ignore[attr-defined]
        self.loaders.dataset.set_epoch(state.epoch)
        batches, window = len(loader), options.gradient_accumulation
        progress.set_description(f"epoch {state.epoch + 1}/{options.epochs}")
        _set_train_mode(self.model, self.bare, options.freeze_backbone, options.freeze_batch_norm)
        sums: Counter[str] = Counter()
        rest = self.accelerator.skip_first_batches(loader, state.batch) if state.batch else loader
        started = time.perf_counter()
        for batch in rest:
            # A last, shorter window counts its own batches.
            share = window / min(window, batches - state.batch // window * window)
            with self.accelerator.accumulate(self.model):
                losses = self._step(batch, share)
            count = len(batch["index"]) * self.accelerator.num_processes
            sums.update({name: value * count for name, value in losses.items()})
            state.batch += 1
            state.images += count
            progress.update(count)
            if not self.accelerator.sync_gradients:
                continue
            if state.step % options.log_every == 0:
                rates = {f"learning rate/{name}": self.schedule.get_last_lr()[at] for name, at in self.rates.items()}
                self.accelerator.log({f"train/{name}": value for name, value in losses.items()} | rates, state.step)
                progress.set_postfix(loss=f"{losses['loss']:.4f}", refresh=False)
            if options.checkpoint_every and state.step % options.checkpoint_every == 0 and state.batch < batches:
                started = self._fold(sums, started)
                self._checkpoint()
        self._fold(sums, started)

    def _step(self, batch: dict[str, torch.Tensor], share: float) -> dict[str, float]:
        """Forward and backward of a batch, and the optimizer step at the end of a window; return the losses."""
        accelerator, options, state = self.accelerator, self.arguments.train, self.state
        output = self.model(**model_inputs(batch, channels_last=options.channels_last))
        losses = {f"losses/{name}": value.item() for name, value in output.losses.items()}
        losses["loss"] = output.loss.item()
        if not all(map(math.isfinite, losses.values())):
            self._stop_at("loss", ", ".join(f"{name.removeprefix('losses/')} {value}" for name, value in losses.items()))
        accelerator.backward(output.loss * share)
        if accelerator.sync_gradients:
            norm = accelerator.clip_grad_norm_(self.trained, options.max_grad_norm or math.inf)
            if accelerator.scaler is None and not norm.isfinite():
                self._stop_at("gradient", ", ".join(f"{name} {value:.4g}" for name, value in losses.items()))
        self.optimizer.step()
        self.optimizer.zero_grad()
        if accelerator.sync_gradients:
            if not accelerator.optimizer_step_was_skipped:
                self.schedule.step()
            state.step += 1
            self.average.update(self.bare, state.step)
        return losses

    def _stop_at(self, what: str, values: str) -> None:
        newest = newest_checkpoint(self.folder.path)
        raise InputError(
            f"the {what} is not finite at step {self.state.step + 1}, epoch {self.state.epoch + 1} ({values}): lower "
            f"learning_rate={self.arguments.train.learning_rate}, set max_grad_norm, or use another mixed_precision; "
            f"{f'the last good checkpoint is {newest}' if newest else 'there is no checkpoint yet'}"
        )

    def _fold(self, sums: "Counter[str]", started: float) -> float:
        """Move the losses and the time of this process into the state, over all processes; return the time now."""
        names = sorted(sums)
        values = torch.tensor([sums[name] for name in names], dtype=torch.float64)
        if self.accelerator.num_processes > 1:
            values = self.accelerator.reduce(values.to(self.accelerator.device), "mean").cpu()
        for name, value in zip(names, values.tolist(), strict=True):
            self.state.loss_sums[name] = self.state.loss_sums.get(name, 0.0) + value
        sums.clear()
        now = time.perf_counter()
        self.state.seconds += now - started
        return now

    def _close_epoch(self) -> dict[str, Any]:
        """Score the held-out part; return the epoch's row of the history, which the state has then."""
        state = self.state
        means = {name: value / state.images for name, value in state.loss_sums.items()}
        row: dict[str, Any] = {"epoch": state.epoch + 1, "step": state.step, "loss": means.pop("loss"), **means}
        row["lr"] = self.schedule.get_last_lr()[0 if "head" not in self.rates else self.rates["head"]]
        row["images_per_second"] = state.images / state.seconds
        if self.loaders.held_out:
            self.average.synchronise()
            scores, targets, _ = self._score(self.loaders.held_out, "held-out part")
            row["holdout_mAP"] = multilabel_metrics(scores, targets)["mAP"]
        state.total_seconds += state.seconds
        state.epoch, state.batch, state.images, state.seconds = state.epoch + 1, 0, 0, 0.0
        state.loss_sums = {}
        state.history.append(row)
        self.accelerator.log({f"epoch/{name}": value for name, value in row.items() if value is not None}, state.step)
        selected = f", held-out mAP {100 * row['holdout_mAP']:.2f} %" if row.get("holdout_mAP") is not None else ""
        _say(
            self.accelerator,
            f"epoch {row['epoch']}: loss {row['loss']:.5f}{selected}, {row['images_per_second']:.1f} images/s",
        )
        return row

    def _select(self, row: dict[str, Any]) -> None:
        """Keep the averaged weights if they are the best so far."""
        state, quality = self.state, row.get("holdout_mAP")
        main = self.accelerator.is_main_process
        if quality is not None and quality > state.best_mAP:
            state.best_mAP, state.best_epoch = quality, row["epoch"]
            if main:
                with room_to_save(self.folder.path), atomic_write(self.folder.path / BEST) as temporary:
                    save_weights(self.average.model, temporary)
        if main:
            with room_to_save(self.folder.path):
                write_json(self.folder.path / HISTORY, state.history)

    def _checkpoint(self) -> None:
        keep = self.arguments.train.keep_checkpoints
        save_checkpoint(self.folder.path, self.state, self.accelerator, self.average.model, keep=keep)

    def _score(self, loader: Any, description: str) -> tuple[Any, Any, Any]:
        channels_last = self.arguments.train.channels_last
        return evaluate_model(
            self.average.model, loader, self.accelerator, channels_last=channels_last, description=description
        )

    def report(self) -> dict[str, Any]:
        """Score the selected weights on the evaluation split, once; save and report them; return the metrics."""
        arguments, state, pictures, path = self.arguments, self.state, self.pictures, self.folder.path
        self.average.synchronise()
        if state.best_epoch:
            load_weights(self.average.model, path / BEST)
        evaluation, names = pictures.evaluation, pictures.whole.label_names
        scores, targets, _ = self._score(self.loaders.evaluation, evaluation.split)
        metrics = multilabel_metrics(scores, targets, label_names=names)
        metrics |= {
            "head": arguments.model.head,
            "dataset": evaluation.name,
            "split": evaluation.split,
            "selected_epoch": state.best_epoch or arguments.train.epochs,
            "holdout_mAP": state.best_mAP if state.best_epoch else None,
            "train_seconds": round(state.total_seconds, 1),
            "skipped_images": {
                part.split: list(part.skipped) for part in (pictures.whole, evaluation) if part.skipped
            },
        }
        if self.accelerator.is_main_process:
            predictions = Predictions(evaluation.image_ids, scores, targets, names)
            with room_to_save(path):
                _save_model(self.average.model, path)
                write_report(
                    path,
                    metrics=metrics,
                    history=state.history,
                    predictions=predictions,
                    model=self.average.model,
                    samples=_samples(evaluation),
                )
                self.folder.finish()
            table = format_table(metrics, names, predictions=predictions)
            minutes = state.total_seconds / 60
            _say(self.accelerator, f"\n{evaluation.name} {evaluation.split}, trained in {minutes:.1f} min\n\n{table}")
            _say(self.accelerator, f"\nThe model and its report are in {path}")
        self.accelerator.wait_for_everyone()
        return metrics


def _new_model(arguments: Arguments, label_names: list[str], accelerator: Accelerator) -> PreTrainedModel:
    """Build the model, its backbone frozen and laid out as the arguments say."""
    model_arguments, train = arguments.model, arguments.train
    with accelerator.main_process_first():
        label_text = None
        if model_arguments.head == "sct":
            encoder, template = model_arguments.label_encoder, model_arguments.label_template
            label_text = encode_labels(label_names, encoder, template=template, seed=train.seed)
        set_seed(train.seed)
        model = build_model(
            model_arguments.backbone,
            label_names,
            image_size=model_arguments.input_size,
            head=model_arguments.head,
            backbone_weights=model_arguments.backbone_weights,
            label_text=label_text,
            **model_arguments.config_options(model_arguments.head),
        )
    if train.freeze_backbone:
        model.backbone.requires_grad_(False)
    if train.channels_last:
        model.backbone.to(memory_format=torch.channels_last)
    return model


def _set_train_mode(model: nn.Module, bare: PreTrainedModel, freeze_backbone: bool, freeze_batch_norm: bool) -> None:
    """Put a model in training mode, but what is frozen of its backbone in evaluation mode."""
    model.train()
    backbone: nn.Module = bare.backbone  # type: ignore[assignment]
    if freeze_backbone:
        backbone.eval()
    elif freeze_batch_norm:
        for module in backbone.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def _save_model(model: PreTrainedModel, folder: Path) -> None:
    """Write config.json, model.safetensors and preprocessor_config.json, each whole or not at all."""
    with TemporaryDirectory(dir=folder, prefix=".model-") as temporary:
        model.save_pretrained(temporary)
        image_processor(model.config).save_pretrained(temporary)
        for file in Path(temporary).iterdir():
            with atomic_write(folder / file.name) as target:
                os.replace(file, target)


def _samples(images: Any) -> list[tuple[str, Any]]:
    """A few pictures from all over a split, with their ids."""
    places = sorted({round(place) for place in torch.linspace(0, len(images) - 1, _SAMPLES).tolist()})
    return [(row["image_id"], row["image"]) for row in images.dataset.select(places)]


def _plain(value: Any) -> Any:
    """A value that every tracker takes."""
    return value if isinstance(value, bool | int | float | str) else str(value)


def _say(accelerator: Accelerator, text: str) -> None:
    if accelerator.is_main_process:
        tqdm.write(text)
