"""List and check a run's data, and open each image once, before loading."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from sct_hf.data.boxes import BoxedImage
from sct_hf.data.checks import check_listings
from sct_hf.data.listing import Listing, read_label_names
from sct_hf.data.problems import Problems, SplitError
from sct_hf.data.registry import find_reader, list_boxes, list_data, open_stream
from sct_hf.data.shards.images import StreamedImages
from sct_hf.data.shards.notes import notes_of_stream
from sct_hf.errors import InputError
from sct_hf.training.arguments import HELD_OUT, DataArguments, EvaluationDataArguments
from sct_hf.training.data_arguments import HOLDOUT

Part = Literal["train", "eval"]


@dataclass(frozen=True)
class RunListings:
    """The listings of a run, input of `load_run_data`.

    Attributes:
        training: The training split, or its shards.
        evaluation: The split to score; None if a held-out part of training is scored.
    """

    training: Listing | StreamedImages
    evaluation: Listing | None

    @property
    def notes(self) -> list[list[str]]:
        """The readers' notes for each split."""
        training, evaluation = self.training, self.evaluation
        first = notes_of_stream(training, evaluation) if isinstance(training, StreamedImages) else training.notes
        return [first, *([evaluation.notes] if evaluation else [])]


def check_run_data(data: DataArguments) -> RunListings:
    """List and check the data that a run would train on and score.

    Args:
        data: Options of the data.

    Returns:
        The listings, with the looks of their images.

    Raises:
        DataError: The data has errors; the message lists all.
    """
    reader = find_reader(data.dataset)
    label_names = None if data.labels_file is None else read_label_names(data.labels_file)
    names = None if label_names is None else list(label_names)
    problems = Problems()
    stream = stream_training(data, names, problems)
    training = None
    if stream is None:
        training = _listing(data, "train", names, problems, size=data.train_size or None)
    evaluation = None
    if data.eval_split != HELD_OUT:
        evaluation = _listing(data, "eval", names, problems)
    training, evaluation = check_listings(
        training,
        evaluation,
        problems,
        label_names=label_names,
        allow_unlabelled=data.allow_unlabelled,
        skip_missing_images=data.skip_missing_images,
        published=reader.published,
    )
    found = [listing for listing in (training, evaluation) if listing is not None]
    problems.raise_if_any([note for listing in found for note in listing.notes])
    listed_or_streamed = stream or training
    assert listed_or_streamed is not None
    return RunListings(listed_or_streamed, evaluation)


def stream_training(data: DataArguments, label_names: list[str] | None, problems: Problems) -> StreamedImages | None:
    """Open the training split if its format is streamed, else return None.

    Raises:
        InputError: An option is missing or not accepted by the reader.
    """
    options = _reader_options(data) | {"files": data.train_file, "label_names": label_names}
    with _option_of_split("train"):
        found: StreamedImages | None = open_stream(data.dataset, data.train_split, problems, **options)
    return found


def list_split(
    data: EvaluationDataArguments, part: Part, label_names: list[str] | None, problems: Problems, **options: Any
) -> Listing:
    """List one split of a run's data.

    Args:
        data: Options of the data.
        part: "train" for `train_split` and `train_file`, "eval" for `eval_split` and `eval_file`.
        label_names: All labels in order, if they are given.
        problems: Collects the errors of the data.
        **options: Further fields of the reader's request.

    Raises:
        InputError: There is no such split, or an option is missing or not accepted by the reader.
    """
    split, file = (getattr(data, f"{part}_{name}") for name in ("split", "file"))
    options |= {"files": file, "label_names": label_names, **_reader_options(data)}
    with _option_of_split(part):
        return list_data(data.dataset, split, problems, **options)


def read_boxes(data: EvaluationDataArguments) -> dict[str, BoxedImage]:
    """Read the boxes of the split to score, by image id.

    Raises:
        DataError: The data has errors; the message lists all.
        InputError: The data set has no boxes.
    """
    problems = Problems()
    with _option_of_split("eval"):
        boxes = list_boxes(data.dataset, data.eval_split, problems, files=data.eval_file, **_reader_options(data))
    problems.raise_if_any()
    return boxes


def _reader_options(data: EvaluationDataArguments) -> dict[str, Any]:
    separator = None if data.separator == "auto" else data.separator
    named = {name: getattr(data, name) for name in ("data_dir", "image_column", "label_column")}
    return named | {"separator": separator}


@contextmanager
def _option_of_split(part: Part) -> Iterator[None]:
    """Call a split by its option in the errors of this block; readers know it as `split`."""
    try:
        yield
    except SplitError as error:
        raise SplitError(error.split, error.reason, f"{part}_split") from error


def _listing(
    data: DataArguments, part: Part, names: list[str] | None, problems: Problems, **options: Any
) -> Listing | None:
    try:
        return list_split(data, part, names, problems, **options)
    except InputError as error:
        place, text = f"split {getattr(data, f'{part}_split')!r}", str(error)
        if isinstance(error, SplitError):  # it names the split itself
            place = ""
            if part == "eval":
                share = data.holdout or HOLDOUT
                text += f"; or score a part held out of training, by --eval_split {HELD_OUT} --holdout {share}"
        problems.add("no such split", place, text, "")
        return None
