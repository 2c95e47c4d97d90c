"""What cannot be exported is said in a line, and leaves nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sct_hf.cli import export
from sct_hf.errors import InputError
from sct_hf.export import checkpoint as checkpoint_module
from sct_hf.export import optional
from sct_hf.own_checkpoint import own_checkpoint


@pytest.fixture
def refused(script: Callable[..., int], checkpoint: Path, tmp_path: Path, capsys) -> Callable[..., str]:
    """Run the script, which must fail and leave its folder as it was; give the line that it says."""

    def run(*words: object, **options: object) -> str:
        given = {"model": checkpoint, "output_dir": tmp_path / "out"} | options
        before = sorted(tmp_path.rglob("*"))
        options = {name: value for name, value in given.items() if value is not None}
        assert script(*(f"--{name}={value}" for name, value in options.items()), *words) == 2
        assert sorted(tmp_path.rglob("*")) == before
        out, errors = capsys.readouterr()
        assert out == ""
        assert errors.startswith("error: ")
        return errors

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format=tflite"], "format is ['tflite']: give one or more of onnx, openvino, torch_export, browser"),
        (["--int8"], "calibration_images is missing: int8 needs about a hundred typical images"),
        (["--int8", "--format=torch_export", "--calibration_images=x"], "it needs onnx or openvino"),
        (["--model=/no/such/folder"], "there is no such folder"),
        (["--int8", "--format=onnx", "--calibration_images=/no/such/folder"], "matches no file"),
        (["--calibration_count=0"], "calibration_count is 0: give a number > 0"),
    ],
)
def test_options(refused: Callable[..., str], words: list[str], message: str) -> None:
    assert message in refused(*words)


@pytest.mark.parametrize(("given", "taken"), [(None, str(own_checkpoint())), ("", "")])
def test_without_a_model_the_checkpoint_of_the_package_is_exported(
    refused: Callable[..., str], monkeypatch, given: str | None, taken: str
) -> None:
    """An empty name, as of a variable that is not set, is no missing one."""

    def stop(name: object, *, field: str) -> None:
        raise InputError(f"{field} is {str(name)!r}")

    monkeypatch.setattr(export, "load_model", stop)
    assert refused(model=given) == f"error: --model is {taken!r}\n"


@pytest.mark.parametrize(
    ("name", "missing", "extra"), [("onnx", "onnxscript", "export"), ("openvino", "openvino", "openvino")]
)
def test_missing_package(checkpoint: Path, tmp_path: Path, monkeypatch, name: str, missing: str, extra: str) -> None:
    """As the command itself says it; `sct-hf` names what is not installed before it."""
    monkeypatch.setattr(optional, "find_spec", lambda package: None if package == missing else object())
    with pytest.raises(InputError) as refused:
        export.main(["--model", str(checkpoint), "--output_dir", str(tmp_path / "out"), "--format", name])
    assert f"the format {name} needs {missing}" in str(refused.value)
    assert f'pip install "sct_hf[{extra}]"' in str(refused.value)


def test_model_without_a_plan(refused: Callable[..., str], make_checkpoint) -> None:
    assert "has no transport plan" in refused("--maps", model=make_checkpoint("test_resnet", head="linear"))


def test_foreign_folder_is_never_touched(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for words in ([], ["--overwrite_output_dir"]):
        assert "has files of something else" in refused(*words, output_dir=tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_an_export_is_replaced_only_when_told(
    refused: Callable[..., str], script: Callable[..., int], checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "export.json").write_text("{}")
    (tmp_path / "out" / "model.xml").write_text("former")
    assert "--overwrite_output_dir" in refused(format="torch_export")
    words = [f"--model={checkpoint}", f"--output_dir={tmp_path / 'out'}", "--format=torch_export"]
    assert script(*words, "--overwrite_output_dir") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"export.json", "model.pt2"}
    assert json.loads((tmp_path / "out" / "export.json").read_text())["labels"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_that_computes_something_else_is_not_kept(refused: Callable[..., str], monkeypatch) -> None:
    monkeypatch.setattr(checkpoint_module, "MAX_DIFFERENCE", -1.0)
    assert "torch_export differs from the model" in refused(format="torch_export")


def test_broken_calibration_image(refused: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "half.jpg").write_bytes(b"\xff\xd8 and nothing more")
    assert "half.jpg cannot be read" in refused(
        "--int8", "--fixed_size", calibration_images=tmp_path / "images", format="onnx"
    )


def test_int8_plans_far_from_the_model_are_refused(
    refused: Callable[..., str], images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(checkpoint_module, "MAX_PLAN_DIFFERENCE", 1e-9)
    message = refused("--int8", "--maps", "--fixed_size", calibration_images=images, format="onnx")
    assert "maps is True: the transport plan of onnx_int8 is up to 0.0" in message
    assert "Leave out --maps here" in message
