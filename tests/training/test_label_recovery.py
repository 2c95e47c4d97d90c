from collections.abc import Callable
from pathlib import Path
import json
import pytest
from sct_hf.training.arguments import Arguments
from sct_hf.training.loop import train


@pytest.mark.parametrize("treatment", ["ignore", "negative", "recover"])
def test_smoke(tmp_path: Path, tiny: Callable[..., Arguments], treatment: str) -> None:
    m = train(tiny(output_dir=tmp_path, known_proportion=0.5, unknown_labels=treatment, figures=False))
    print(m["mAP"], json.loads((tmp_path / "history.json").read_text())[-1])
