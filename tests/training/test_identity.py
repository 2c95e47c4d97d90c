"""What makes another run: options, and the content of the files that they name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sct_hf.errors import InputError
from sct_hf.training.arguments import Arguments
from sct_hf.training.identity import difference, run_identity
from sct_hf.training.run_folder import RunFolder

Tiny = Callable[..., Arguments]


def test_a_field_that_only_one_run_knows_is_named() -> None:
    assert difference({"epochs": 3}, {"epochs": 3, "flip": None}) == "flip (unknown there, None here)"
    assert difference({"epochs": 3, "flip": None}, {"epochs": 3}) == "flip (None there, unknown here)"


def test_a_setting_that_differs_is_named() -> None:
    theirs = {"epochs": 3, "set": {"rho": 0.5, "clip": 0}}
    assert difference(theirs, {"epochs": 3, "set": {"rho": 0.25, "clip": 0}}) == "set rho (0.5 there, 0.25 here)"
    assert difference(theirs, {"epochs": 3, "set": {"rho": 0.5}}) == "set clip (0 there, not set here)"
    assert difference(theirs, {"epochs": 3}) == "set clip (0 there, unknown here), set rho (0.5 there, unknown here)"
    assert difference({"set": {}}, {"set": {"a": {"b": 1}}}) == "set a (not set there, {'b': 1} here)"
    assert difference(theirs, dict(theirs)) == ""


def test_identity_is_what_decides_the_outcome(tiny: Tiny) -> None:
    run = run_identity(tiny(seed=1))
    same = run_identity(tiny(seed=1, resume=True, output_dir="x", num_workers=1, report_to="tensorboard"))
    assert difference(run, same) == ""
    assert difference(run, run_identity(tiny(seed=2))) == "seed (1 there, 2 here)"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "{}") for name in ("hierarchy", "labels_file", "positive_weights", "train_file", "unseen_labels")),
        *(("label_encoder", "{}"), ("label_encoder", "glove:{}"), ("label_encoder", "shuffled:glove:{}")),
        ("backbone_weights", "{}"),
    ],
)
def test_a_file_that_has_changed_makes_another_run(tmp_path: Path, tiny: Tiny, name: str, value: str) -> None:
    file = tmp_path / "file.txt"
    file.write_text("red,white\n", encoding="utf-8")
    options = {"output_dir": tmp_path / "run", name: value.format(file)}
    RunFolder(tiny(**options)).claim()
    (tmp_path / "run" / "checkpoint-00000001").mkdir()  # without one, any run may start there
    assert not RunFolder(tiny(**options, resume=True)).finished
    file.write_text("red,blue\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"which differs in {name} \(.*SHA-256 \w+' there, .*SHA-256 \w+' here\)"):
        RunFolder(tiny(**options, resume=True))


def test_other_weights_in_a_folder_make_another_run(tmp_path: Path, tiny: Tiny) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    first = run_identity(tiny(init_checkpoint=str(folder)))
    (folder / "model-2.safetensors").write_bytes(b"second")
    second = run_identity(tiny(init_checkpoint=str(folder)))
    (folder / "model-1.safetensors").write_bytes(b"first")
    third = run_identity(tiny(init_checkpoint=str(folder)))
    assert len({identity["init_checkpoint"] for identity in (first, second, third)}) == 3
    (folder / "notes.txt").touch()
    assert difference(third, run_identity(tiny(init_checkpoint=str(folder)))) == ""
