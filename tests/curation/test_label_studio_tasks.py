"""Tasks for Label Studio: as its import wants them, and read back by the reader of its exports."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from PIL import Image

from sct_hf.curation.label_studio_tasks import Task, labelling_configuration, write_tasks
from sct_hf.data.exports.label_studio import list_label_studio
from sct_hf.data.problems import Problems
from sct_hf.data.registry import Request

NAMES = ["dog", 'cat "tabby"', "<b>&amp;", "Straße 犬"]


def tasks_in(folder: Path) -> list[Task]:
    files = ["a/cat 1.png", "b/cat 1.png", "a/100% ü#?.png"]
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / file)
    labels = [NAMES[:2], [], NAMES[2:]]
    return [Task(str(folder / file), names, 0.5) for file, names in zip(files, labels, strict=True)]


def written(folder: Path) -> tuple[list[Any], Path]:
    path = folder / "tasks.json"
    root = write_tasks(tasks_in(folder), NAMES, path, source="test")
    assert root == folder
    return json.loads(path.read_text(encoding="utf-8")), path


def test_predictions_fit_the_labelling_configuration(tmp_path: Path) -> None:
    tasks, path = written(tmp_path)
    view = ElementTree.fromstring(path.with_suffix(".xml").read_text(encoding="utf-8"))
    image, choices = view.find("Image"), view.find("Choices")
    assert image is not None
    assert choices is not None
    offered = [choice.attrib["value"] for choice in choices.iter("Choice")]
    assert offered == NAMES
    assert image.attrib["value"] == "$image"
    for task in tasks:
        assert set(task) == {"data", "predictions"}
        assert set(task["data"]) == {"image"}
        (prediction,) = task["predictions"]
        assert 0 <= prediction["score"] <= 1
        for result in prediction["result"]:
            assert result["from_name"] == choices.attrib["name"]
            assert result["to_name"] == choices.attrib["toName"] == image.attrib["name"]
            assert result["type"] == "choices"
            assert set(result["value"]["choices"]) <= set(offered)


def test_accepted_predictions_are_read_back(tmp_path: Path) -> None:
    tasks, _ = written(tmp_path)
    for number, task in enumerate(tasks):
        task |= {"id": number, "annotations": [{"result": task["predictions"][0]["result"]}]}
    export = tmp_path / "export.json"
    export.write_text(json.dumps(tasks), encoding="utf-8")
    problems = Problems()
    found = list_label_studio(Request("labelstudio", "train", files=(export,), data_dir=tmp_path), problems)
    assert not problems.found
    assert [(str(record.path), set(record.labels)) for record in found.records] == [
        (task.file, set(task.labels)) for task in tasks_in(tmp_path)
    ]


def test_no_tasks(tmp_path: Path) -> None:
    assert write_tasks([], ["dog", "cat"], tmp_path / "tasks.json", source="test") is None
    assert json.loads((tmp_path / "tasks.json").read_text()) == []


def test_names_stay_within_their_attribute() -> None:
    view = ElementTree.fromstring(labelling_configuration(['"/><x onload="alert(1)', "</View>"]))
    assert [choice.attrib["value"] for choice in view.iter("Choice")] == ['"/><x onload="alert(1)', "</View>"]
