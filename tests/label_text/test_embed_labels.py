from pathlib import Path

import pytest

from sct_hf.label_text import LabelVectors, encode_labels
from sct_hf_cli import run


def test_names_file_and_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "labels.safetensors"
    assert run("embed", "tvmonitor", "cat", "--encoder", "random:6", "--seed", "3", "--output", str(output)) == 0
    expected = encode_labels(["tvmonitor", "cat"], "random:6", seed=3)
    assert LabelVectors.load(output).embeddings.equal(expected.embeddings)
    printed = capsys.readouterr().out
    assert "tvmonitor → tv monitor" in printed
    assert "2 labels × 6 by random" in printed

    names = tmp_path / "names.txt"
    names.write_text("cat\n\n tvmonitor \n", encoding="utf-8")
    assert (
        run(
            "embed", "--labels_file", str(names), "--encoder", str(output), "--output", str(tmp_path / "b.safetensors")
        )
        == 0
    )
    assert LabelVectors.load(tmp_path / "b.safetensors").embeddings.equal(expected.embeddings.flip(0))

    assert run("embed", "--dataset", "voc2007", "--encoder", "random:6", "--half", "--output", str(output)) == 0
    assert len(LabelVectors.load(output).names) == 20


def test_labels_of_a_data_set_that_is_read(coco_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "coco.safetensors"
    options = ["--dataset", "coco", "--data_dir", str(coco_dir), "--split", "val2017"]
    assert run("embed", *options, "--encoder", "random:6", "--output", str(output)) == 0
    assert LabelVectors.load(output).names[:3] == ["person", "bicycle", "car"]
    assert len(LabelVectors.load(output).names) == 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "exactly one of"),
        (["cat", "--dataset", "voc2007"], "exactly one of"),
        (["--labels_file", "absent.txt"], "labels_file='absent.txt'"),
        (["cat", "cat"], "repeat: cat"),
    ],
)
def test_wrong_input_is_told_on_stderr(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "labels.safetensors"
    assert run("embed", *arguments, "--encoder", "random", "--output", str(output)) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_a_file_of_names_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels.txt").write_bytes(b"dog\nkr\xe4he\n")
    words = ["--labels_file", str(tmp_path / "labels.txt"), "--encoder", "random", "--output", str(tmp_path / "x")]
    assert run("embed", *words) == 2
    assert "labels.txt, line 2: byte 0xe4 is not UTF-8" in capsys.readouterr().err
