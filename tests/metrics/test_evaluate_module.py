import socket
from pathlib import Path

import numpy as np
import pytest

import sct_hf.metrics
from sct_hf.errors import InputError
from sct_hf.metrics import METRICS, multilabel_metrics

evaluate = pytest.importorskip("evaluate")

FOLDER = Path(sct_hf.metrics.__file__).parent / "evaluate_module" / "multilabel_metrics"


@pytest.fixture
def metric(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("the module must load without network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(evaluate.config, "HF_MODULES_CACHE", tmp_path / "modules")
    return evaluate.load(str(FOLDER), cache_dir=str(tmp_path))


def test_batches_give_what_the_function_gives(metric):
    rng = np.random.default_rng(0)
    scores, targets = rng.random((20, 3), dtype=np.float32), rng.integers(-1, 2, (20, 3)).astype(np.float32)
    targets[3, 1] = np.nan
    for rows in (slice(0, 12), slice(12, 20)):
        metric.add_batch(predictions=scores[rows], references=targets[rows])
    options = dict(threshold=[0.4, 0.5, 0.6], label_names=["cat", "dog", "cow"])
    assert metric.compute(**options) == multilabel_metrics(scores, targets, **options)


def test_takes_lists_and_integers(metric):
    scores, targets = [[0.9, 0.2], [0.4, 0.7]], [[1, 0], [-1, 1]]
    assert metric.compute(predictions=scores, references=targets) == multilabel_metrics(scores, targets)


def test_bad_input_is_named(metric):
    with pytest.raises(InputError, match="targets has 1 values outside"):
        metric.compute(predictions=[[0.9, 0.2]], references=[[1, 0.5]])


def test_lists_every_key(metric):
    for key, meaning in METRICS.items():
        assert f"{key}: {meaning}" in metric.inputs_description
