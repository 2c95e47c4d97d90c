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
            label_names=["labels"],
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
