import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sct_hf.data import load_data
from sct_hf.errors import InputError


def region(kind: str, *labels: str, control: str = "label") -> dict[str, Any]:
    """A result as Label Studio writes it, https://labelstud.io/guide/task_format."""
    box = {"x": 50.8, "y": 5.9, "width": 12.4, "height": 10.5, "rotation": 0} if kind != "choices" else {}
    return {
        **{"id": "Dx_aB91ISN", "from_name": control, "to_name": "img", "type": kind, "origin": "manual"},
        **{"original_width": 40, "original_height": 30, "image_rotation": 0, "value": {**box, kind: list(labels)}},
    }


def task(number: int, image: str, *annotations: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    made = [
        {"id": 10 * number + place, "completed_by": place, "result": result, "was_cancelled": False, "lead_time": 4.3}
        for place, result in enumerate(annotations)
    ]
    return {"id": number, "data": {"image": image}, "annotations": made, "predictions": [], "project": 83, **fields}


def write(path: Path, tasks: Any) -> Path:
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def test_choices_and_regions_of_every_kind_of_address(
    tmp_path: Path, save_image: Callable[..., Path], names_by_id: Callable[..., Any]
) -> None:
    places = {
        "/data/upload/3/1a2b3c4d-cat.png": "cat.png",
        "/data/upload/3/5e6f7a8b-kept.png": "images/5e6f7a8b-kept.png",
        "/data/local-files/?d=shots%2Fday/dog.png": "shots/day/dog.png",
        "s3://bucket/folder/far.png": "folder/far.png",
        "https://example.com/a/sofa%201.png?token=x": "sofa 1.png",
    }
    for seed, place in enumerate(places.values()):
        save_image(tmp_path / "images" / place, seed=seed)
    results = [
        [region("choices", "indoors", control="scene"), region("rectanglelabels", "cat")],
        [region("choices", "indoors", "night", control="scene")],
        [region("rectanglelabels", "dog"), region("rectanglelabels", "dog"), region("polygonlabels", "sofa")],
        [region("brushlabels", "sofa"), {"type": "textarea", "from_name": "note", "value": {"text": ["hm"]}}],
        [],
    ]
    tasks = [task(n, image, result) for n, (image, result) in enumerate(zip(places, results, strict=True), start=1)]
    file = write(tmp_path / "export.json", tasks)
    images = load_data("labelstudio", "train", files=file, data_dir=tmp_path / "images")
    assert images.label_names == ["cat", "dog", "indoors", "night", "sofa"]
    wanted = [{"indoors", "cat"}, {"indoors", "night"}, {"dog", "sofa"}, {"sofa"}, set()]
    assert names_by_id(images) == {image: (labels, set()) for image, labels in zip(places, wanted, strict=True)}
    paths = [Path(images.encoded(row)["path"]) for row in range(len(images))]
    assert paths == [tmp_path / "images" / place for place in places.values()]
    scenes = load_data("labelstudio", "train", files=file, data_dir=tmp_path / "images", label_column="scene")
    assert scenes.label_names == ["indoors", "night"]


def test_annotators_who_disagree_and_annotations_that_were_skipped(
    tmp_path: Path, save_image: Callable[..., Path], names_by_id: Callable[..., Any]
) -> None:
    for number in range(3):
        save_image(tmp_path / f"{number}.png", seed=number)
    skipped = task(3, "2.png", [region("choices", "dog")])
    skipped["annotations"][0]["was_cancelled"] = True
    tasks = [
        task(1, "0.png", [region("choices", "dog", "cat")], [region("choices", "dog", "cow")]),
        task(2, "1.png", [region("choices", "cow")]),
        skipped,
        task(4, "2.png"),
    ]
    write(tmp_path / "train.json", tasks)
    images = load_data("labelstudio", "train", data_dir=tmp_path)
    assert names_by_id(images) == {"0.png": ({"dog"}, {"cat", "cow"}), "1.png": ({"cow"}, set())}


def test_what_is_wrong(tmp_path: Path, save_image: Callable[..., Path], problems_of: Callable[..., Any]) -> None:
    save_image(tmp_path / "0.png")
    tasks = [
        {"image": "0.png", "choice": "dog", "id": 1, "annotator": 1},
        task(2, "0.png", [region("choices", "dog", "cat")], data={"a": "0.png", "b": "1.png"}),
        {**task(3, "0.png"), "annotations": [{"result": ["odd"]}]},
    ]
    problems = problems_of("labelstudio", "train", files=write(tmp_path / "x.json", tasks))
    assert [(problem.kind, problem.place.removeprefix(f"{tmp_path}/")) for problem in problems] == [
        ("wrong format", "x.json, entry 1"),
        ("no path", "x.json, entry 2 (task 2)"),
        ("wrong format", "x.json, entry 3 (task 3)"),
    ]
    assert problems[0].remedy == "export as JSON, not JSON-MIN"
    assert problems[1].text == "2 images among 'a', 'b'"
    (problem,) = problems_of("labelstudio", "train", files=write(tmp_path / "x.json", {}))
    assert problem.text == "there is no list of tasks"
    (tmp_path / "x.json").write_text("[1,\n2")
    (problem,) = problems_of("labelstudio", "train", files=tmp_path / "x.json")
    assert problem.place == f"{tmp_path / 'x.json'}, line 2"
    with pytest.raises(InputError, match=r"none of val.json: give another folder"):
        load_data("labelstudio", "val", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (region("taxonomy"), "the results of 'label' are a taxonomy, which is not read: name the control"),
        ({"type": "choices", "value": {"choices": ["dog", 0]}}, "label 0 is a number: labels are text"),
        ({"type": "choices", "value": {"choices": ["dog", None]}}, "label None is nothing"),
        ({"type": "choices", "value": {"choices": ["dog", ""]}}, "a label is empty"),
        ({"type": "choices", "value": {"choices": "dog"}}, "choices is 'dog', text"),
        ({"type": "choices", "value": {"choices": [["dog"]]}}, r"label \['dog'\] is a list"),
        ({"type": "choices", "value": 3}, "no annotations of Label Studio"),
    ],
)
def test_results_that_hold_no_names(
    tmp_path: Path, save_image: Callable[..., Path], problems_of: Callable[..., Any], result: Any, words: str
) -> None:
    save_image(tmp_path / "0.png")
    problems = problems_of("labelstudio", "train", files=write(tmp_path / "x.json", [task(1, "0.png", [result])]))
    assert re.search(words, str(problems[0]))


def test_a_taxonomy_beside_choices_is_left_out_where_the_choices_are_named(
    tmp_path: Path, save_image: Callable[..., Path], problems_of: Callable[..., Any]
) -> None:
    tasks = []
    for number, place in enumerate(("indoors", "outdoors ")):
        save_image(tmp_path / f"{number}.png", seed=number)
        results = [region("taxonomy", control="kind"), region("choices", place, control="place")]
        tasks.append(task(number, f"{number}.png", results))
    file = write(tmp_path / "x.json", tasks)
    assert {problem.kind for problem in problems_of("labelstudio", "train", files=file)} == {"taxonomy"}
    images = load_data("labelstudio", "train", files=file, label_column="place")
    assert images.label_names == ["indoors", "outdoors"]
