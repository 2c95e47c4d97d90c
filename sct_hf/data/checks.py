"""Checks of a user's own files before training: every error with its place and remedy."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from sct_hf.data.listing import Listing, Record, are_too_many, check_names, names_of
from sct_hf.data.looks import MISSING, examine, none_there
from sct_hf.data.names import plain_name
from sct_hf.data.places import plugin_hint, windows_hint
from sct_hf.data.problems import Problems


def check_listings(
    training: Listing | None,
    evaluation: Listing | None,
    problems: Problems,
    *,
    label_names: Mapping[str, str] | None = None,
    allow_unlabelled: bool = False,
    skip_missing_images: bool = False,
    published: bool = False,
) -> tuple[Listing | None, Listing | None]:
    """Check two listings and their images.

    It finds images that are listed twice, missing, broken, or equal under two names; images without a label; labels
    that are not among the given ones, differ only in spelling, are both present and unknown, or have no training
    image; and images of one split in the other.

    Args:
        training: The training split; None if it could not be listed.
        evaluation: The split to score; None if there is none.
        problems: Collects the errors.
        label_names: All labels if the user gives them, each with its place.
        allow_unlabelled: Accept images without any label.
        skip_missing_images: Skip missing and broken images instead of reporting them.
        published: The data are published and will not be changed: what may be intended is noted, one line per kind.

    Returns:
        The two listings with the looks of their images and further notes.
    """
    listings = [listing for listing in (training, evaluation) if listing is not None]
    if any([are_too_many(listing.found_names(), listing.source, problems) for listing in listings]):
        return training, evaluation
    training, evaluation = (listing and examine(listing) for listing in (training, evaluation))
    listings = [listing for listing in (training, evaluation) if listing is not None]
    odd = Problems() if published else problems
    sound = [_check_images(listing, problems, odd, skip_missing_images) for listing in listings]
    for listing in listings:
        _check_labels(listing, problems, allow_unlabelled or published)
        if label_names is not None:
            check_names(listing, list(label_names), problems)
    if label_names is None:
        _check_spelling(listings, odd)
    if training is not None and training.records:
        _check_positives(training, evaluation, label_names, problems, odd)
    if training is not None and evaluation is not None:
        _check_leaks(sound[0], sound[1], evaluation, odd)
    if published and listings:
        listings[0].notes.extend(_noted(odd))
    return training, evaluation


Prints = dict[bytes, Record]


def _noted(odd: Problems) -> list[str]:
    """One line per kind: the first problem, and the number of further ones."""
    counts = Counter(problem.kind for problem in odd.found)
    first = {problem.kind: problem for problem in reversed(odd.found)}
    more = {kind: f"; {count - 1} more such" if count > 1 else "" for kind, count in counts.items()}
    return [f"{first[kind].place}: {first[kind].text}{more[kind]}" for kind in counts]


def _check_images(listing: Listing, problems: Problems, odd: Problems, skip_missing_images: bool) -> Prints:
    """Check each image; return the first record of each by its fingerprint."""
    first: dict[object, Record] = {}
    found: Prints = {}
    if not skip_missing_images and (text := none_there(listing)):
        hint = _missing_remedy(listing.records[0].image, Path(listing.file_of(0)))
        remedy = hint or "correct the paths, or give the folder of the images by data_dir"
        problems.add("missing image", listing.source, text, remedy)
        return found
    for index, (record, look) in enumerate(zip(listing.records, listing.looks or [], strict=True)):
        known = first.setdefault(record.path or id(record), record)
        if known is not record:
            text = f"image {record.image!r} is already listed at {known.place}{_differing(known, record)}"
            problems.add("image listed twice", record.place, text, "keep one of them, with all its labels")
        elif look.fault:
            if not skip_missing_images:
                _tell_fault(record, listing.file_of(index), look.fault, problems)
        elif look.fingerprint:
            other = found.setdefault(look.fingerprint, record)
            if other is not record:
                text = f"{record.image!r} is the same image as {other.image!r} at {other.place}"
                text += _differing(other, record)
                odd.add("same image twice", record.place, text, "keep one of them, with all its labels")
    return found


def _differing(one: Record, other: Record) -> str:
    return "" if set(one.labels) == set(other.labels) else " with other labels"


def _tell_fault(record: Record, file: str, fault: str, problems: Problems) -> None:
    path = Path(file)
    if fault != MISSING:
        plugin = plugin_hint(path)
        remedy = f"{plugin}, replace the file," if plugin else "replace the file,"
        text = f"image {path} is {fault}"
        problems.add("broken image", record.place, text, f"{remedy} or pass skip_missing_images")
        return
    remedy = (
        _missing_remedy(record.image, path) or "correct the path, or restore the file, or pass skip_missing_images"
    )
    problems.add("missing image", record.place, f"image {path} is missing", remedy)


def _missing_remedy(written: str, path: Path) -> str | None:
    """What the path of a missing image, as written and as looked for, and its folder tell; None for nothing."""
    folder = path.parent
    if hint := windows_hint(written):
        return hint
    if not os.path.isdir(folder):
        return f"there is no folder {folder}: correct the path, or set data_dir"
    near = _files_of(folder).get(_stem(path.name))
    return f"there is {near!r}: correct the path" if near else None


@lru_cache(maxsize=16)
def _files_of(folder: Path) -> dict[str, str]:
    """The first file of each name without its ending."""
    names = sorted(os.listdir(folder), reverse=True) if os.path.isdir(folder) else []
    return {_stem(name): name for name in names}


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].casefold()


def _check_labels(listing: Listing, problems: Problems, allow_unlabelled: bool) -> None:
    for record in listing.records:
        both = sorted(set(record.labels) & set(record.unknown)) if record.unknown else []
        if both:
            text = f"label {', '.join(map(repr, both))} is both present and unknown"
            problems.add("contradictory label", record.place, text, "take it out of one of the two")
        if not record.labels and not allow_unlabelled:
            text = f"image {record.image!r} has no label"
            problems.add("no label", record.place, text, "add its labels, take it out, or pass allow_unlabelled")


def _check_spelling(listings: Sequence[Listing], problems: Problems) -> None:
    """Report labels that differ only in case or spaces; the most frequent one is suggested."""
    counts = Counter(label for listing in listings for record in listing.records for label in record.labels)
    counts.update({label: 0 for listing in listings for label in listing.found_names()})
    meant: dict[str, str] = {}
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        meant.setdefault(plain_name(label), label)
    for listing in listings:
        told: set[str] = set()
        for record in listing.records:
            for label in names_of(record):
                usual = meant[plain_name(label)]
                told.add(label)
                if label != usual:
                    _tell_spelling(record.place, label, usual, counts, problems)
        for label in listing.label_names or []:
            if label not in told and label != meant[plain_name(label)]:
                _tell_spelling(listing.source, label, meant[plain_name(label)], counts, problems)


def _tell_spelling(place: str, label: str, usual: str, counts: Counter[str], problems: Problems) -> None:
    alike = plain_name(label, lookalikes=False) == plain_name(usual, lookalikes=False)
    what = "case or spaces" if alike else "letters that look alike"
    text = f"label {label!r} differs only by {what} from {usual!r}, which {counts[usual]} images have"
    problems.add("two spellings", place, text, f"write {usual!r} everywhere, or give them different names")


def _check_positives(
    training: Listing,
    evaluation: Listing | None,
    label_names: Mapping[str, str] | None,
    problems: Problems,
    odd: Problems,
) -> None:
    shown = {label for record in training.records for label in record.labels}
    place_of = dict(label_names or dict.fromkeys(training.found_names(), training.source))
    for record in evaluation.records if evaluation is not None and label_names is None else []:
        for label in record.labels:
            place_of.setdefault(label, record.place)
    for label, place in place_of.items():
        if label not in shown:
            text = f"label {label!r} has no positive in training"
            remedy = "add training images that show it, or take the label out"
            odd.add("label without positive", place, text, remedy)
    if len(place_of) < 2:
        text = f"there is {len(place_of)} label"
        problems.add("too few labels", training.source, text, "give at least two, as multi-label data have")


def _check_leaks(training: Prints, evaluation: Prints, listing: Listing, odd: Problems) -> None:
    leaks = [content for content in evaluation if content in training]
    if leaks and len(leaks) == len(evaluation):
        text = f"all {len(leaks)} images that are scored are training images too"
        remedy = "name another file or split, or score a part held out of training (eval_split held_out)"
        odd.add("leak between splits", listing.source, text, remedy)
        return
    for content in leaks:
        ours, theirs = evaluation[content], training[content]
        text = f"{ours.image!r} is the same image as {theirs.image!r} at {theirs.place}, in training"
        odd.add("leak between splits", ours.place, text, "take it out of one of the two")
