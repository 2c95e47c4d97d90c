"""Content of the demo's page: one forward pass of a tagger, viewed with any threshold and label.

It needs a pipeline "multi-label-image-classification", but not the package sct_hf: in a Space it uses the checkpoint's
code.
"""

from dataclasses import dataclass
from typing import Any

from PIL import Image


@dataclass(frozen=True)
class Seen:
    """The result of one forward pass for an image.

    Attributes:
        names: The C labels' names.
        outputs: Input of the pipeline's `postprocess`: "scores" (1, C), and for a model with a transport plan "maps"
            (1, C, H', W') and the "image" under heatmaps.
    """

    names: list[str]
    outputs: dict[str, Any]


class Viewer:
    """A tagger that shows one forward pass with other thresholds and heatmaps, without running it again.

    Args:
        tagger: A pipeline "multi-label-image-classification".
        label_encoder: Name or folder of the labels' text encoder, if the checkpoint does not record a usable one.

    Attributes:
        label_names: The names of the checkpoint's labels.
        has_maps: Whether the model has maps of its labels to show.
        threshold: First threshold of labels for which the checkpoint has none.
        profiles: The names of the checkpoint's profiles of thresholds, the default first.
        closed: Why the checkpoint takes no other labels; None if it does.
        words: What the page writes for each of the checkpoint's labels: the words of its label text, or the name.
    """

    def __init__(self, tagger: Any, label_encoder: str | None = None) -> None:
        self._tagger = tagger
        self._label_encoder = label_encoder
        self.label_names: list[str] = tagger.label_names
        self.has_maps: bool = tagger.gives_maps
        self.threshold: float = tagger.THRESHOLD
        thresholds = getattr(tagger.model.config, "thresholds", None)
        names = sorted(thresholds) if isinstance(thresholds, dict) else []
        self.profiles: list[str] = sorted(names, key=lambda name: name != "balanced")
        self.closed: str | None = None
        try:
            self._stages(self.label_names)
        except ValueError as error:
            reason = str(error).removeprefix("labels: ")
            self.closed = reason[0].upper() + reason[1:]
        told = getattr(tagger.model.config, "text_recipe", None) or {}
        words = told.get("words") or []
        clear = len(words) == len(self.label_names) == len({*words})  # each label has words that no other has
        self.words = dict(zip(self.label_names, words if clear else self.label_names, strict=True))

    def written(self, names: list[str]) -> list[str]:
        """What the page writes for labels: words for all labels of the checkpoint, names as they were typed else."""
        return [self.words[name] for name in names] if names == self.label_names else names

    def thresholds(self, names: list[str], profile: str | None = None) -> dict[str, float]:
        """The thresholds of labels, by a profile or the default one; 0.5 for a label that the checkpoint lacks."""
        return dict(zip(names, self._tagger.thresholds(names, None, profile), strict=True))

    def look(self, path: str, names: list[str]) -> Seen:
        """Run the model on an image file, once.

        Raises:
            ValueError: The file is not an image or is too large, or the labels cannot be encoded.
        """
        reading, running, _ = self._stages(None if names == self.label_names else names)
        try:
            inputs = self._tagger.preprocess(path, **reading)
        except ValueError as error:
            if isinstance(error.__cause__, self._tagger.LimitError):
                raise ValueError(f"This is too much: {error.__cause__}.") from error
            raise ValueError("This file cannot be read as an image. Give a whole PNG, JPEG or WebP file.") from error
        outputs = self._tagger.forward(inputs, **running)
        return Seen(names, outputs)

    def tags(self, seen: Seen, thresholds: dict[str, float]) -> dict[str, float]:
        """The labels that reach their thresholds, with their scores, best first."""
        scores = {"scores": seen.outputs["scores"]}
        found = self._tagger.postprocess(scores, threshold=thresholds, labels=seen.names)
        return {tag["label"]: tag["score"] for tag in found}

    def heatmap(self, seen: Seen, name: str) -> Image.Image | None:
        """The map of a label over the image; None if the model has none."""
        if not self.has_maps:
            return None
        one = slice(label := seen.names.index(name), label + 1)
        rows = {key: seen.outputs[key][:, one] for key in ("scores", "maps")}
        (tag,) = self._tagger.postprocess(seen.outputs | rows, threshold=0.0, labels=[name])
        return tag["heatmap"]

    def _stages(self, labels: list[str] | None) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Arguments of the pipeline's stages."""
        options = {} if labels is None else {"labels": labels, "label_encoder": self._label_encoder}
        return self._tagger.stages(heatmaps=self.has_maps, **options)


def read_labels(text: str) -> list[str]:
    """Split names at commas and line breaks.

    Raises:
        ValueError: A name repeats, ignoring case.
    """
    names = [name for part in text.replace("\n", ",").split(",") if (name := " ".join(part.split()))]
    folded = [name.casefold() for name in names]
    for place, name in enumerate(names):
        if folded[place] in folded[:place]:
            raise ValueError(f"“{name}” appears twice. Give each label once.")
    return names
