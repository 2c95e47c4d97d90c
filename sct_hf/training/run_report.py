"""The report of a run: the selected weights, scored once, saved and described."""

from typing import Any

from sct_hf.data.contents import image_contents
from sct_hf.files import sha256_of_file
from sct_hf.metrics.frequency import frequency_groups, frequency_limits, group_metrics
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf.metrics.hierarchical import hierarchical_metrics
from sct_hf.name_lists import PRINTED, some
from sct_hf.training.acting import acting_metrics
from sct_hf.training.checkpoints import room_to_save
from sct_hf.training.devices import describe_machine
from sct_hf.training.figures import sample_images
from sct_hf.training.models import save_model
from sct_hf.training.report import (
    Predictions,
    RunFacts,
    format_table,
    labels_not_judged,
    training_note,
    write_report,
)
from sct_hf.training.report_page import write_report_page
from sct_hf.training.run import Run
from sct_hf.training.run_files import RunFile
from sct_hf.training.zero_shot import format_zero_shot


def report_run(run: Run) -> dict[str, Any]:
    """Score the selected weights on the evaluation split, once; save and report them; return the metrics."""
    arguments, state, run_data, path = run.arguments, run.state, run.run_data, run.folder.path
    evaluation, names = run_data.evaluation, run_data.all_training.label_names
    scores, targets = run.score()
    metrics = multilabel_metrics(scores, targets, label_names=names)
    if run_data.label_parents:
        metrics |= hierarchical_metrics(scores, targets, run_data.label_parents, names)
    facts: RunFacts = {
        "head": arguments.model.head,
        "dataset": evaluation.name,
        "split": evaluation.split,
        "selected_epoch": state.best_epoch or arguments.train.epochs,
        "holdout_mAP": state.best_mAP if state.best_epoch else None,
        "train_images": len(run_data.training),
        "labels_not_judged": labels_not_judged(targets, names),
        "train_seconds": round(state.total_seconds, 1),
        "machine": describe_machine(run.accelerator),
        "skipped_images": {
            part.split: list(part.skipped) for part in (run_data.all_training, evaluation) if part.skipped
        },
    }
    metrics |= facts
    if seen := run_data.scored_in_training():
        metrics["scored_in_training"] = seen
    positives = groups = None
    if (text := arguments.data.frequency_groups) is not None:
        positives = run.counts.positives
        limits = frequency_limits(text, positives)
        groups = frequency_groups(positives, limits)
        metrics |= {"frequency_limits": limits, **group_metrics(metrics["AP"], names, groups)}
    metrics |= acting_metrics(scores, targets, run.average.model.config, groups)
    if run.unseen is not None and run_data.with_unseen is not None:
        truth = run_data.with_unseen.targets()
        metrics["zero_shot"] = run.unseen.score(run.average.model, run.loaders.evaluation, truth, run.accelerator)
    if run.accelerator.is_main_process:
        contents = image_contents(evaluation)
        predictions = Predictions(evaluation.image_ids, scores, targets, names, positives, groups, contents)
        samples = sample_images(evaluation) if arguments.train.figures else []
        with room_to_save(path):
            save_model(run.average.model, path, arguments.train.save_dtype)
            metrics["weights_sha256"] = sha256_of_file(path / RunFile.WEIGHTS)
            write_report(
                path,
                metrics=metrics,
                history=state.history if arguments.train.figures else [],
                predictions=predictions,
                model=run.average.model,
                samples=samples,
            )
            if arguments.train.figures:
                write_report_page(
                    path, metrics, predictions, run.average.model, run.folder.record, run_data, state.history
                )
            run.folder.finish()
        table = format_table(metrics, names, predictions=predictions)
        minutes = state.total_seconds / 60
        run.tell(f"\n{evaluation.name} {evaluation.split}, trained in {minutes:.1f} min\n\n{table}")
        if "zero_shot" in metrics:
            run.tell(f"\n{format_zero_shot(metrics['zero_shot'])}")
        if seen:
            run.tell(f"\n{training_note(seen, len(evaluation))}")
        if missing := metrics["labels_not_judged"]:
            run.tell(f"\nnot judged in any image of the data set: {some(missing, PRINTED)}")
        run.tell(f"\nThe model and its report are in {path}")
    run.accelerator.wait_for_everyone()
    return metrics
