"""A Space: the demo of a published model on the Hugging Face Hub."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import SpaceCard, SpaceCardData

import sct_hf.demo
from sct_hf.errors import InputError
from sct_hf.hub.alone import run_alone
from sct_hf.hub.publish import check_name

_DEMO = Path(sct_hf.demo.__path__[0])
_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_APP = '''\
"""The demo of a model, by the code in its repository at one commit."""

from transformers import pipeline

from demo.interface import LAUNCH, build

MODEL = {model!r}
REVISION = {revision!r}

tagger = pipeline("multi-label-image-classification", model=MODEL, revision=REVISION, trust_remote_code=True)
page = build(tagger, {name!r})

if __name__ == "__main__":
    page.launch(**LAUNCH)
'''
_CARD = """\
---
{card_data}
---

# {title}

The demo of [{repo_id}](https://huggingface.co/{repo_id}): tags of an image with their scores, thresholds to move, and
where each tag was seen. `app.py` names the commit of the model that it runs. For a private model, give this Space a
secret `HF_TOKEN` that may read it.
"""


@contextmanager
def prepared_space(target: Path, repo_id: str, space_id: str) -> Iterator[Path]:
    """Make and check the folder of a Space; it is removed at the end. Nothing is sent.

    A process without this package builds its page once from the model's folder.

    Args:
        target: The model's folder, from `prepared`.
        repo_id: The model's repository, "OWNER/NAME".
        space_id: The Space, "OWNER/NAME".

    Yields:
        The Space's folder. `pin` tells it the model's commit.

    Raises:
        InputError: The name cannot be used, gradio is not installed, the disk is full, or the page cannot be built.
    """
    check_name("space", space_id)
    try:
        gradio = version("gradio")
    except PackageNotFoundError as error:
        raise InputError('space needs gradio, not installed here: pip install "sct_hf[demo]"') from error
    title = f"{repo_id.split('/')[1]} demo"
    data = SpaceCardData(
        title=title,
        emoji="🏷️",
        colorFrom="yellow",
        colorTo="red",
        sdk="gradio",
        sdk_version=gradio,
        python_version=f"{sys.version_info.major}.{sys.version_info.minor}",
        app_file="app.py",
        models=[repo_id],
        license="apache-2.0",
        short_description="Tags of an image, and where each was seen",
    )
    with TemporaryDirectory(prefix="sct_hf-space-") as temporary:
        folder, scratch = Path(temporary) / "space", Path(temporary) / "check"
        try:
            scratch.mkdir()
            shutil.copytree(_DEMO, folder / "demo", ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copyfile(_REQUIREMENTS, folder / _REQUIREMENTS.name)
            card = SpaceCard(_CARD.format(card_data=data, title=title, repo_id=repo_id))
            (folder / "README.md").write_text(str(card), encoding="utf-8")
            pin(folder, str(target), "main")
            reason = run_alone("load_space.py", folder / "app.py", folder=scratch)
            shutil.rmtree(scratch)
            pin(folder, repo_id, "main")
        except OSError as error:
            raise InputError(
                f"the Space's folder cannot be written to {str(folder)!r} ({error.strerror or error}): make room, or "
                "set TMPDIR to a folder of another disk"
            ) from error
        if reason:
            raise InputError(f"space is {space_id!r}, whose page cannot be built without sct_hf: {reason}")
        yield folder


def pin(folder: Path, model: str, commit: str) -> None:
    """Let a Space run a model at a commit."""
    name = f"[{model}](https://huggingface.co/{model})"
    (folder / "app.py").write_text(_APP.format(model=model, revision=commit, name=name), encoding="utf-8")
