"""Training of one head, from the first step to the scores of the selected weights."""

import math
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from sct_hf.errors import InputError
from sct_hf.files import atomic_write, sha256_of_file
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.model.backbone_sct import BackbonePreTrainedModel
from sct_hf.objectives.base import Context, make_objective
from sct_hf.objectives.unknown_labels import label_counts, unknown_are_negative
from sct_hf.progress import progress_bar, say
from sct_hf.training.arguments import HELD_OUT, Arguments
from sct_hf.training.checkpoints import Trained, load_checkpoint, newest_checkpoint, room_to_save, save_checkpoint
from sct_hf.training.collage import collage, require_double_width
from sct_hf.training.ema import AveragedModel, load_weights, save_weights
from sct_hf.training.evaluation import evaluate_model, model_inputs
from sct_hf.training.loaders import Loaders, make_loaders
from sct_hf.training.manifest import require_unchanged
from sct_hf.training.models import new_model, observe_training, round_weights, set_train_mode
from sct_hf.training.optim import one_cycle, parameter_groups
from sct_hf.training.report import (
    write_json,
)
from sct_hf.training.run_data import RunData
from sct_hf.training.run_files import RunFile
from sct_hf.training.run_folder import RunFolder
from sct_hf.training.sharding import average_scalar_gradients, is_sharded, prepare, whole
from sct_hf.training.starting import classifier_source
from sct_hf.training.step_losses import IMAGES, NotFiniteError, StepLosses
from sct_hf.training.stopping import StopSignals
from sct_hf.training.trainer_state import RunLength, TrainerState
from sct_hf.training.waiting import TimedLoader
from sct_hf.training.zero_shot import UnseenLabels


class Run:
    """Training of one head: its phases and their shared state.

    Args:
        arguments: Arguments of the run.
        folder: Its claimed output folder.
        run_data: Its images.
        accelerator: The accelerator of this process, made for this run.
        signals: Signals that stop it.
    """

    def __init__(
        self,
        arguments: Arguments,
        folder: RunFolder,
        run_data: RunData,
        accelerator: Accelerator,
        signals: StopSignals,
    ) -> None:
        self.arguments, self.folder, self.run_data, self.accelerator = arguments, folder, run_data, accelerator
        self.signals = signals
        self.tell = partial(say, accelerator)
        options = arguments.train
        self.state = TrainerState()
        self.losses = StepLosses()
        self.model = new_model(arguments, run_data.all_training.label_names, accelerator, run_data.label_parents)
        names, counts = run_data.all_training.label_names, run_data.training.counts()
        context = Context(self.model, self._averaged, counts, names, arguments.objectives, options.seed, self.tell)
        self.counts = label_counts(context)
        observe_training(self.model, run_data.training, unknown_are_negative=unknown_are_negative(context))
        self.unseen: UnseenLabels | None = None
        if run_data.split is not None and self.model.takes_new_labels:
            split, options_of_model = run_data.split, arguments.model
            self.unseen = UnseenLabels(
                self.model,
                split.seen,
                split.unseen,
                options_of_model.label_encoder,
                classifier_source(options_of_model),
            )
        elif run_data.split is not None:
            self.tell("unseen labels are not scored: this head has weights only for the labels of training")
        if arguments.data.collage and not options.cache_features:
            require_double_width(self.model)
        self.model.to(accelerator.device)
        self.loaders: Loaders = make_loaders(run_data, self.model, arguments, accelerator)
        self.average = AveragedModel(self.model, options.ema_decay, options.ema_warmup)
        batches = len(self.loaders.training)
        self.length = RunLength(options.epochs, batches, options.gradient_accumulation, options.batch_size)
        self.total_steps = options.epochs * self.length.steps_an_epoch
        objective = make_objective(context)
        self.needs_teacher = objective.needs_teacher
        groups = parameter_groups(
            objective,
            learning_rate=options.learning_rate,
            backbone_learning_rate=options.backbone_learning_rate,
            weight_decay=options.weight_decay,
        )
        self.rates = {group["name"]: place for place, group in enumerate(groups)}
        optimizer, self.schedule = one_cycle(groups, total_steps=self.total_steps, pct_start=options.pct_start)
        self.objective, self.optimizer = prepare(accelerator, objective, optimizer)
        self.saved = Trained(accelerator, self.objective, self.optimizer, self.schedule, self.average.model)
        self.trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        set_seed(options.seed, device_specific=True)
        count = sum(parameter.numel() for parameter in self.trained)
        processes = f"{accelerator.num_processes} process{'es' if accelerator.num_processes > 1 else ''}"
        threads = f"{torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"
        selecting = f"{len(run_data.held_out)} held out to select by, " if run_data.held_out else ""
        apart = "held out " if arguments.data.eval_split == HELD_OUT else ""
        self.tell(
            f"{arguments.model.head} head on {arguments.model.backbone}, {count / 1e6:.1f} M trained weights; "
            f"{len(run_data.training)} images to train on, {selecting}{len(run_data.evaluation)} {apart}to "
            f"score; {processes} on {accelerator.device.type}, {threads} each"
            f"{', weights sharded over them' if is_sharded(accelerator) else ''}"
        )

    def _averaged(self) -> BackbonePreTrainedModel:
        return self.average.model

    def resume(self) -> None:
        """Go back to the newest checkpoint, if there is one."""
        checkpoint = newest_checkpoint(self.folder.path)
        if checkpoint:
            self.state = load_checkpoint(checkpoint, self.saved, self.length)
            self.tell(f"resumed from {checkpoint}, step {self.state.step} of {self.total_steps}")

    def fit(self) -> None:
        """Train the remaining epochs."""
        options, state = self.arguments.train, self.state
        if options.trackers:
            settings = {
                name: value if isinstance(value, bool | int | float | str) else str(value)  # what every tracker takes
                for name, value in self.arguments.to_dict().items()
            }
            self.accelerator.init_trackers(RunFile.LOGS.value, config=settings)
        an_epoch = self.loaders.training.images
        progress_of_all = progress_bar(
            total=options.epochs * an_epoch,
            initial=state.epoch * an_epoch + state.images,
            unit="image",
            smoothing=0.05,
            shown=self.accelerator.is_main_process,
        )
        try:
            with self.signals.at_steps(), progress_of_all as progress:
                while state.epoch < options.epochs:
                    self._epoch(progress)
                    self._select(self._close_epoch())
                    self._checkpoint()
                    if self.signals.stopped():
                        self.signals.stop()
        finally:
            for tracker in self.accelerator.trackers:
                tracker.finish()

    def _epoch(self, progress: Any) -> None:
        """Train the rest of the current epoch."""
        options, state = self.arguments.train, self.state
        batches, window = self.length.batches, options.gradient_accumulation
        progress.set_description(f"epoch {state.epoch + 1}/{options.epochs}")
        set_train_mode(self.objective, self.model, options.freeze_backbone, options.freeze_batch_norm)
        rest = TimedLoader(self.loaders.training.batches(state.epoch, state.batch))
        started = time.perf_counter()
        for batch in rest:
            # A last, shorter window counts its own batches.
            share = window / min(window, batches - state.batch // window * window)
            count = len(batch["index"]) * self.accelerator.num_processes
            with self.accelerator.accumulate(self.objective):
                self._step(batch, share, count)
            state.batch += 1
            progress.update(count)
            if not self.accelerator.sync_gradients:
                continue
            if state.step % options.log_every == 0:
                losses = self._read_losses()
                rates = {f"learning rate/{name}": self.schedule.get_last_lr()[at] for name, at in self.rates.items()}
                self.accelerator.log({f"train/{name}": value for name, value in losses.items()} | rates, state.step)
                progress.set_postfix(loss=f"{losses['loss']:.4f}", refresh=False)
            if state.batch == batches:  # the epoch is closed first
                continue
            stopped = self.signals.stopped()
            if stopped or (options.checkpoint_every and state.step % options.checkpoint_every == 0):
                state.waited += rest.take_seconds()
                started = self._fold(started)
                self._checkpoint()
            if stopped:
                self.signals.stop()
        state.waited += rest.take_seconds()
        self._fold(started)

    def _step(self, batch: dict[str, torch.Tensor], share: float, count: int) -> None:
        """Run forward and backward for a batch of `count` images, and the optimizer step at the end of a window.

        Nothing here waits for the device: `_read_losses` checks losses and gradient.
        """
        accelerator, options, state = self.accelerator, self.arguments.train, self.state
        inputs = model_inputs(batch, channels_last=options.channels_last)
        share_of_collages = self.arguments.data.collage
        if share_of_collages and torch.rand(()) < share_of_collages:
            inputs = collage(inputs)
        try:
            with accelerator.autocast():
                losses = self.objective(progress=state.step / self.total_steps, **inputs)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):  # torch's words
                raise
            raise InputError(
                f"batch_size is {options.batch_size}, which gives a process {len(batch['index'])} image at a time, "
                "and batch norm cannot train on one: give a larger batch_size or image_size, more images, or "
                "--freeze_batch_norm true"
            ) from error
        accelerator.backward(losses["loss"] * share)
        norm = None
        if accelerator.sync_gradients:
            if is_sharded(accelerator):
                average_scalar_gradients(accelerator, self.trained)
            norm = whole(accelerator.clip_grad_norm_(self.trained, options.max_grad_norm or math.inf))
        # A scaler of losses leaves out the steps whose gradient is not finite.
        named = {name if name == "loss" else f"losses/{name}": value for name, value in losses.items()}
        self.losses.add(state.step + 1, count, named, norm if accelerator.scaler is None else None)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if accelerator.sync_gradients:
            if not accelerator.optimizer_step_was_skipped:
                self.schedule.step()
            state.step += 1
            self.average.update(self.model, state.step)
            if self.needs_teacher and accelerator.num_processes > 1:
                self.average.synchronise()  # it teaches: all processes alike, and a continued run as before

    def _read_losses(self) -> dict[str, float]:
        """Check the losses since the last call; return those of the last batch.

        Raises:
            InputError: A loss or a gradient was not finite. No checkpoint contains its effect.
        """
        try:
            return self.losses.read()
        except NotFiniteError as bad:
            values = ", ".join(f"{name.removeprefix('losses/')} {value:.6g}" for name, value in bad.losses.items())
            what, step = bad.what, bad.step
        newest = newest_checkpoint(self.folder.path)
        raise InputError(
            f"the {what} is not finite at step {step}, epoch {self.state.epoch + 1} ({values}): lower "
            f"learning_rate={self.arguments.train.learning_rate}, set max_grad_norm, or use another mixed_precision; "
            f"{f'the last good checkpoint is {newest}' if newest else 'there is no checkpoint yet'}"
        )

    def _fold(self, started: float) -> float:
        """Add images, losses and time of all processes to the state; return the current time."""
        self._read_losses()
        sums = self.losses.sums
        names = sorted(sums)
        values = torch.tensor([sums[name] for name in names], dtype=torch.float64)
        if self.accelerator.num_processes > 1:
            values = self.accelerator.reduce(values.to(self.accelerator.device), "mean").cpu()
        found = dict(zip(names, values.tolist(), strict=True))
        self.state.images += round(found.pop(IMAGES, 0))
        for name, value in found.items():
            self.state.loss_sums[name] = self.state.loss_sums.get(name, 0.0) + value
        sums.clear()
        now = time.perf_counter()
        self.state.seconds += now - started
        return now

    def _close_epoch(self) -> dict[str, Any]:
        """Score the held-out part; add the epoch's row to the history and return it."""
        state = self.state
        means = {name: value / state.images for name, value in state.loss_sums.items()}
        row: dict[str, Any] = {"epoch": state.epoch + 1, "step": state.step, "loss": means.pop("loss"), **means}
        row["lr"] = self.schedule.get_last_lr()[self.rates.get("head", 0)]
        row["images_per_second"] = state.images / state.seconds
        row["data_wait_share"] = state.waited / state.seconds
        if self.loaders.held_out:
            self.average.synchronise()
            scores, targets, _ = self._score(self.loaders.held_out, "held-out part")
            row["holdout_mAP"] = multilabel_metrics(scores, targets)["mAP"]
        if self.loaders.watched:  # it selects nothing
            scores, targets, _ = self._score(self.loaders.watched, "training images")
            row["training_mAP"] = multilabel_metrics(scores, targets)["mAP"]
        state.total_seconds += state.seconds
        state.epoch, state.batch, state.images, state.seconds, state.waited = state.epoch + 1, 0, 0, 0.0, 0.0
        state.loss_sums = {}
        state.history.append(row)
        self.accelerator.log({f"epoch/{name}": value for name, value in row.items() if value is not None}, state.step)
        selected = f", held-out mAP {100 * row['holdout_mAP']:.2f} %" if row.get("holdout_mAP") is not None else ""
        self.tell(
            f"epoch {row['epoch']}: loss {row['loss']:.5f}{selected}, {row['images_per_second']:.1f} images/s, "
            f"{100 * row['data_wait_share']:.1f} % of the time waiting for images"
        )
        return row

    def _select(self, row: dict[str, Any]) -> None:
        """Keep the averaged weights if they are the best so far."""
        state, quality = self.state, row.get("holdout_mAP")
        main = self.accelerator.is_main_process
        if quality is not None and quality > state.best_mAP:
            state.best_mAP, state.best_epoch = quality, row["epoch"]
            if main:
                with room_to_save(self.folder.path), atomic_write(self.folder.path / RunFile.BEST) as temporary:
                    save_weights(self.average.model.state_dict(), temporary)
                state.best_sha256 = sha256_of_file(self.folder.path / RunFile.BEST)
        if main:
            with room_to_save(self.folder.path):
                write_json(self.folder.path / RunFile.HISTORY, state.history)

    def _checkpoint(self) -> None:
        save_checkpoint(self.folder.path, self.state, self.saved, keep=1)

    def _score(self, loader: Any, description: str) -> tuple[Any, Any, Any]:
        channels_last = self.arguments.train.channels_last
        return evaluate_model(
            self.average.model, loader, self.accelerator, channels_last=channels_last, description=description
        )

    def score(self) -> tuple[np.ndarray, np.ndarray]:
        """Score the selected weights on the evaluation split: scores and targets (N, C)."""
        state, best = self.state, self.folder.path / RunFile.BEST
        self.average.synchronise()
        if state.best_epoch:
            if self.accelerator.is_main_process:
                require_unchanged(best, state.best_sha256)
            load_weights(self.average.model, best)
        round_weights(self.average.model, self.arguments.train.save_dtype)
        scores, targets, _ = self._score(self.loaders.evaluation, self.run_data.evaluation.split)
        return scores, targets
