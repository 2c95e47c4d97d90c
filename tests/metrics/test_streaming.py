import multiprocessing

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from sct_hf.errors import InputError
from sct_hf.metrics import MultilabelMetrics, multilabel_metrics

NAMES = ["a", "b", "c", "d"]


def case(rows=37):
    rng = np.random.default_rng(3)
    return rng.random((rows, 4), dtype=np.float32), rng.integers(-1, 2, (rows, 4)).astype(np.float32)


def feed(metrics, order, batch_size=5, with_index=True):
    scores, targets = (torch.from_numpy(array) for array in case())
    for start in range(0, len(order), batch_size):
        rows = torch.tensor(order[start : start + batch_size])
        metrics.update(scores[rows], targets[rows], rows if with_index else None)


def test_batches_give_what_the_whole_gives():
    scores, targets = case()
    expected = multilabel_metrics(scores, targets, [0.3, 0.4, 0.5, 0.6], NAMES)
    for with_index in (True, False):
        metrics = MultilabelMetrics([0.3, 0.4, 0.5, 0.6], NAMES)
        feed(metrics, list(range(37)), with_index=with_index)
        assert metrics.compute() == expected
        assert metrics.compute() == expected


def test_an_index_counts_once_and_orders_the_rows():
    scores, targets = case()
    metrics = MultilabelMetrics()
    feed(metrics, [*range(36, -1, -1), 0, 5, 5])
    gathered = metrics.gather()
    for array, expected in zip(gathered, (scores, targets, np.arange(37)), strict=True):
        np.testing.assert_array_equal(array, expected)
    assert [array.dtype for array in gathered] == [np.float32, np.int8, np.int64]
    assert metrics.compute() == multilabel_metrics(scores, targets)


def test_without_index_every_row_counts():
    metrics = MultilabelMetrics()
    feed(metrics, [0, 1, 1], with_index=False)
    assert metrics.compute()["num_images"] == 3
    assert metrics.gather()[2] is None


def test_reset_forgets():
    metrics = MultilabelMetrics()
    feed(metrics, [0, 1, 2])
    metrics.reset()
    with pytest.raises(InputError, match="call update before compute"):
        metrics.compute()
    metrics.update(np.eye(3), np.eye(3))
    assert metrics.compute()["mAP"] == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_takes_any_real_dtype_and_tensors_with_gradient(dtype):
    scores = torch.tensor([[0.75, 0.25], [0.25, 0.5]], dtype=dtype, requires_grad=True)
    metrics = MultilabelMetrics()
    metrics.update(scores, torch.eye(2, dtype=torch.bool), torch.tensor([0, 1], dtype=torch.int32))
    np.testing.assert_array_equal(metrics.gather()[0], scores.detach().float().numpy())
    assert metrics.compute()["OF1"] == 1


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((np.ones((2, 3)), np.ones((2, 3)), [0, 1]), r"scores of \[2, 3\] labels"),
        ((np.ones((2, 2)), np.ones((2, 2))), "index came with some updates only"),
        ((np.ones((2, 2)), np.ones((2, 2)), [0]), r"index has shape \(1,\)"),
        ((np.ones((2, 2)), np.ones((2, 2)), [0.0, 1.0]), "dtype float64; give \\(2,\\) integers"),
        ((np.full((2, 2), np.nan), np.ones((2, 2)), [0, 1]), "scores has 4 NaN"),
        ((np.ones((2, 2)), np.full((2, 2), 0.5), [0, 1]), "targets has 4 values outside"),
    ],
)
def test_a_bad_batch_is_refused_and_not_kept(batch, message):
    metrics = MultilabelMetrics()
    metrics.update(np.eye(2), np.eye(2), [0, 1])
    with pytest.raises(InputError, match=message):
        metrics.update(*batch)
    assert metrics.compute()["num_images"] == 2


def test_one_index_for_two_images_is_refused():
    metrics = MultilabelMetrics()
    metrics.update(np.eye(2), np.eye(2), [4, 7])
    metrics.update(np.eye(2), 1 - np.eye(2), [9, 7])
    with pytest.raises(InputError, match="index 7 came with two different targets"):
        metrics.compute()


def worker(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    results = {}
    shards = {
        "padded": [list(range(0, 37, 2)), [*range(1, 37, 2), 0]],
        "uneven": [list(range(30)), list(range(30, 37))],
        "one empty": [[], list(range(37))],
    }
    for name, shard in shards.items():
        metrics = MultilabelMetrics(label_names=NAMES)
        feed(metrics, shard[rank])
        results[name] = metrics.compute()
    metrics = MultilabelMetrics(label_names=NAMES)
    feed(metrics, shards["uneven"][rank], with_index=False)
    results["no index"] = metrics.compute()
    metrics = MultilabelMetrics()
    for name, update in {"no rows": False, "index on one process": True}.items():
        if update:
            feed(metrics, [0, 1], with_index=rank == 0)
        with pytest.raises(InputError) as caught:
            metrics.compute()
        results[name] = str(caught.value)
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_give_what_one_gives(tmp_path):
    multiprocessing.set_forkserver_preload([__name__])  # both processes begin with what is imported here
    mp.start_processes(worker, args=(str(tmp_path),), nprocs=2, start_method="forkserver")
    expected = multilabel_metrics(*case(), label_names=NAMES)
    for rank in range(2):
        results = torch.load(tmp_path / f"{rank}.pt")
        assert "call update before compute" in results.pop("no rows")
        assert "index came with some updates only" in results.pop("index on one process")
        assert results == dict.fromkeys(("padded", "uneven", "one empty", "no index"), expected)
