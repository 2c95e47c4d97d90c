"""The label graph of a run: counted on what is trained on, learned with, and saved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from sct_hf.training.arguments import Arguments
from sct_hf.training.loop import train
from sct_hf.training.run_data import load_run_data


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"shots": 3, "known_proportion": 0.7}, id="a few shots, hidden labels"),
        pytest.param({"scorer": "label", "unseen_labels": "white"}, id="seen labels alone"),
        pytest.param({"unknown_labels": "negative", "known_proportion": 0.5}, id="unknown taken as absent"),
    ],
)
def test_the_graph_is_that_of_the_images_trained_on(
    tmp_path: Path, tiny: Callable[..., Arguments], options: dict[str, Any]
) -> None:
    arguments = tiny(output_dir=tmp_path / "run", head="sct_label_graph", epochs=1, **options)
    train(arguments)
    weights = load_file(tmp_path / "run" / "model.safetensors")
    assert weights["sct.label_messages.weight"].count_nonzero() > 0  # it was trained
    targets = load_run_data(arguments.data, seed=arguments.train.seed).training.targets().tolist()
    absent = (0, -1) if options.get("unknown_labels") == "negative" else (0,)
    graph = weights["sct.label_graph"].tolist()
    assert len(graph) == len(targets[0])
    for i, row in enumerate(graph):
        for j, found in enumerate(row):
            both = sum(image[i] == 1 and image[j] == 1 for image in targets)
            judged = both + sum(image[i] == 1 and image[j] in absent for image in targets)
            assert found == (0 if i == j else pytest.approx(both / (judged + 1)))
    assert sum(map(sum, graph)) > 0
