"""scripts/export.py --evaluate: the table of formats, against the model's own scores."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from sct_hf import build_model, image_processor
from sct_hf.data import ImageDataset, eval_transform, load_data
from sct_hf.metrics.functional import multilabel_metrics
from sct_hf_cli import run

SCRIPT = Path(__file__).parents[2] / "scripts" / "export.py"


def test_formats_are_scored_on_the_same_images(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    images = load_data("jsonl", "test", data_dir=table)
    torch.manual_seed(0)
    model = build_model("test_resnet", images.label_names, image_size=32, head="linear").eval()
    model.save_pretrained(tmp_path / "checkpoint")
    image_processor(model.config).save_pretrained(tmp_path / "checkpoint")

    data = [f"--data_dir={table}", "--dataset=jsonl", "--eval_split=test", "--num_workers=0"]
    words = [f"--model={tmp_path / 'checkpoint'}", f"--output_dir={tmp_path / 'out'}", "--format=torch_export"]
    assert run("export", *words, *data, "--evaluate", "--rounds=2") == 0

    rows = pd.read_parquet(tmp_path / "out" / "evaluation.parquet").set_index("format")
    assert list(rows.index) == ["model", "torch_export"]
    dataset = ImageDataset(images, eval_transform(32, model.config.image_mean, model.config.image_std))
    with torch.no_grad():
        logits = model(torch.stack([dataset[row]["pixel_values"] for row in range(len(dataset))])).logits
    expected = 100 * multilabel_metrics(logits.numpy(), images.targets())["mAP"]
    assert rows["mAP"].to_list() == pytest.approx([expected, expected], abs=1e-6)
    assert rows.loc["torch_export", "max_logit_difference"] < 1e-4
    assert rows.loc["torch_export", "MB"] == pytest.approx((tmp_path / "out" / "model.pt2").stat().st_size / 1e6)
    assert (rows["image_ms"] > 0).all()
    text = (tmp_path / "out" / "evaluation.md").read_text()
    assert "11 images" in text
    assert text.strip() in capsys.readouterr().out
