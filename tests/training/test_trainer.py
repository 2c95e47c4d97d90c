"""transformers' own Trainer runs the model unchanged."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from transformers import Trainer, TrainingArguments

from sct_hf import SCTForMultiLabelClassification, build_model, encode_labels, load_data, multilabel_metrics
from sct_hf.data import ImageDataset, eval_transform

TINY = {"hidden_size": 32, "encoder_ffn_dim": 48, "encoder_attention_heads": 4}


@pytest.fixture
def scenes(tmp_path):
    return load_data("scenes", "train", cache_dir=str(tmp_path), size=24)


@pytest.mark.parametrize("head", ["sct", "sct_known_labels", "sct_label_graph", "linear"])
def test_a_plain_trainer_evaluates_and_keeps_the_best_model(tmp_path, head: str) -> None:
    """Without `label_names`, it takes every argument of `forward` that is named after labels for a target."""
    torch.manual_seed(0)
    names = list("abc")
    sizes = {} if head == "linear" else TINY
    text = encode_labels(names, "random:12")
    model = build_model("test_efficientnet", names, image_size=32, head=head, label_vectors=text, **sizes)
    rows = [{"pixel_values": torch.randn(3, 32, 32), "labels": torch.eye(3)[index % 3]} for index in range(6)]
    told = []

    def metrics(prediction) -> dict[str, float]:
        assert prediction.predictions.shape == prediction.label_ids.shape == (6, 3)
        told.append(prediction.predictions)
        return {"count": len(prediction.label_ids)}

    options = {
        **{"per_device_train_batch_size": 2, "per_device_eval_batch_size": 4, "num_train_epochs": 2},
        **{"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True},
        **{"metric_for_best_model": "loss", "report_to": "none", "use_cpu": True, "disable_tqdm": True},
    }
    trainer = Trainer(
        model,
        TrainingArguments(str(tmp_path), **options),
        train_dataset=rows,
        eval_dataset=rows,
        compute_metrics=metrics,
    )
    found = trainer.evaluate()
    assert found["eval_count"] == 6
    with torch.no_grad():
        out = model.eval()(torch.stack([row["pixel_values"] for row in rows]))
    np.testing.assert_allclose(told[0], out.logits.numpy(), atol=1e-5)
    batches = [rows[:4], rows[4:]]
    losses = []
    for batch in batches:
        pixels, labels = (torch.stack([row[name] for row in batch]) for name in ("pixel_values", "labels"))
        with torch.no_grad():
            losses.append((model(pixels, labels).loss.item(), len(batch)))
    assert found["eval_loss"] == pytest.approx(sum(loss * count for loss, count in losses) / 6, rel=1e-4)
    trainer.train()
    evaluated = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
    assert len(evaluated) == 2
    assert trainer.state.best_metric == min(evaluated)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(evaluated), rel=1e-5)  # the best one again


def test_the_trainer_trains_evaluates_saves_and_loads(scenes, tmp_path) -> None:
    torch.manual_seed(0)
    names = scenes.label_names
    text = encode_labels(names, "random:12")
    model = build_model("test_efficientnet", names, image_size=32, label_vectors=text, **TINY)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    config = model.config

    def metrics(prediction) -> dict[str, float]:
        assert isinstance(prediction.predictions, np.ndarray)  # the logits alone, no maps and no parts of the loss
        return {"mAP": multilabel_metrics(prediction.predictions, prediction.label_ids, threshold=0.0)["mAP"]}

    dataset = ImageDataset(scenes, eval_transform(config.image_size, config.image_mean, config.image_std))
    trainer = Trainer(
        model,
        TrainingArguments(
            str(tmp_path / "run"),
            max_steps=3,
            per_device_train_batch_size=8,
            per_device_eval_batch_size=5,
            learning_rate=1e-3,
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            remove_unused_columns=True,
            save_strategy="no",
        ),
        train_dataset=dataset,
        eval_dataset=dataset,
        compute_metrics=metrics,
    )
    trained = trainer.train()
    assert np.isfinite(trained.training_loss)
    assert not torch.equal(model.scorer.region_proj.weight, before["scorer.region_proj.weight"])
    assert torch.equal(model.sct.label_embeddings, before["sct.label_embeddings"])

    evaluated = trainer.evaluate()
    model.eval()
    with torch.no_grad():
        logits = torch.stack([model(dataset[i]["pixel_values"][None]).logits[0] for i in range(len(dataset))]).numpy()
    targets = scenes.targets()
    present = targets.any(0)
    expected = average_precision_score(targets[:, present], logits[:, present], average="macro")
    assert multilabel_metrics(logits, targets, threshold=0.0)["mAP_sklearn"] == pytest.approx(expected, abs=1e-6)
    assert evaluated["eval_mAP"] == pytest.approx(multilabel_metrics(logits, targets, threshold=0.0)["mAP"], abs=1e-6)

    trainer.save_model(str(tmp_path / "saved"))
    loaded = SCTForMultiLabelClassification.from_pretrained(tmp_path / "saved")
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
