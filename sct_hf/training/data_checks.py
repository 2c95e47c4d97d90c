"""The checks of a run's data, before anything of it is loaded."""

from typing import Any

from sct_hf.data.checks import check_listings
from sct_hf.data.listing import Listing, read_label_names
from sct_hf.data.problems import Problems
from sct_hf.data.registry import list_data, lists_files
from sct_hf.errors import InputError
from sct_hf.training.arguments import HELD_OUT, DataArguments


def check_run_data(data: DataArguments) -> list[Listing]:
    """Check the user's own files that a run would train on and be scored on.

    Data sets of other kinds, which are checked by their readers, are let pass.

    Args:
        data: Which images.

    Returns:
        The training split and, unless it is the part held out, the split that is scored; nothing for other data sets.

    Raises:
        DataError: All that is wrong with the files.
    """
    if not lists_files(data.dataset):
        return []
    label_names = None if data.labels_file is None else read_label_names(data.labels_file)
    problems = Problems()
    training = _listing(data, data.train_split, data.train_file, problems)
    evaluation = None
    if data.eval_split != HELD_OUT:
        evaluation = _listing(data, data.eval_split, data.eval_file, problems)
    check_listings(
        training,
        evaluation,
        problems,
        label_names=label_names,
        allow_unlabelled=data.allow_unlabelled,
        skip_missing_images=data.skip_missing_images,
    )
    problems.raise_if_any()
    return [listing for listing in (training, evaluation) if listing is not None]


def _listing(data: DataArguments, split: str, file: str | None, problems: Problems) -> Listing | None:
    options: dict[str, Any] = {name: getattr(data, name) for name in ("data_dir", "image_column", "label_column")}
    try:
        return list_data(data.dataset, split, problems, files=file, labels_file=data.labels_file, **options)
    except InputError as error:
        problems.add("no such split", f"split {split!r}", str(error), "")
        return None
