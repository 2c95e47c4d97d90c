from pathlib import Path

import pytest

from sct_hf.errors import InputError
from sct_hf.hub.checks import TrainedRun, read_run
from sct_hf.hub.claims import read_notes, unmeasured


@pytest.fixture(scope="module")
def run(trained: Path) -> TrainedRun:
    return read_run(trained)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("mAP 90.5 %, or 0.905, or 91", []),
        ("mAP 90.4 %, or 0.906", ["90.4", "0.906"]),
        ("12,345 images, rate 1e-4, 0.00010", []),
        ("12,346 images, rate 2e-4", ["12,346", "2e-4"]),
        ("ResNet-50, VOC2007, Pascal VOC 2007, F1, arXiv 2507.14918, torch 2.15.0, on 2026-11-24", []),
        ("see [the paper](https://example.org/77.7) and https://example.org/66.6", []),
        ("1. first\n2. second", []),
        ("99% of 2007 %, 3x faster, 88.8mAP", ["99", "2007", "3", "88.8"]),
        ("between 90.5-95.5", ["95.5"]),
    ],
)
def test_numbers_of_a_text(text: str, left: list[str]) -> None:
    assert unmeasured(text, [0.9052, 12345, 1e-4]) == left


def test_no_notes(run: TrainedRun) -> None:
    assert read_notes(run) == ("", {})


def test_notes_and_metadata(run: TrainedRun, folder: Path) -> None:
    figure = f"{100 * run.metrics['mAP']:.1f} %"
    header = "license: cc-by-4.0\ndatasets:\n- me/colours\n"
    (folder / "README.md").write_text(f"---\n{header}---\n\nColours: {figure} after 2 epochs at 32 px, 4 labels.\n")
    notes = read_notes(read_run(folder))
    assert notes.text == f"Colours: {figure} after 2 epochs at 32 px, 4 labels."
    assert notes.metadata == {"license": "cc-by-4.0", "datasets": ["me/colours"]}


MODEL_INDEX = """model-index:
- name: x
  results:
  - task: {{type: image-classification}}
    dataset: {{name: Pascal VOC 2007, type: voc}}
    metrics:
    - {{type: mAP, value: {}}}
"""


@pytest.mark.parametrize(
    ("header", "text", "message"),
    [
        ("license: mit", "It reaches 97.31 % on ImageNet.", r"says 97\.31, which this run did not measure"),
        ("co2_eq_emissions:\n  emissions: 123.4", "Green.", r"says 123\.4,"),
        (MODEL_INDEX.format("0.98765"), "Good.", r"says 0\.98765,"),
        (MODEL_INDEX.format("98.7 ± 0.6"), "Good.", r"says 98\.7,"),
        ("license: [", "Good.", "cannot be used as a card"),
    ],
)
def test_what_was_not_measured_is_refused(folder: Path, header: str, text: str, message: str) -> None:
    (folder / "README.md").write_text(f"---\n{header}\n---\n{text}\n")
    with pytest.raises(InputError, match=message):
        read_notes(read_run(folder))


def test_a_model_index_that_was_measured_gives_way_to_ours(run: TrainedRun, folder: Path) -> None:
    (folder / "README.md").write_text(f"---\n{MODEL_INDEX.format(run.metrics['mAP'])}---\nGood.\n")
    assert read_notes(read_run(folder)).metadata == {}
