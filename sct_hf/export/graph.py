"""A model as one graph, the source of every format."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from sct_hf.errors import InputError
from sct_hf.model.backbone_sct import BackbonePreTrainedModel, capability
from sct_hf.model.outputs_sct import label_scores

INPUT = "pixel_values"
LOGITS = "logits"
SCORES = "scores"
PLAN = "transport_plan"
HEATMAP = "heatmap"


@dataclass(frozen=True)
class Graph:
    """A model's evaluation as a graph of tensor operations.

    Attributes:
        program: From `pixel_values` (B, channels, H, W) float32 to `outputs`.
        outputs: Names of the outputs: "logits" and "scores" (B, C), then maps (B, C, H', W') if asked for. Scores are
            calibrated if the checkpoint is.
        open_axes: Names of the input's axes with variable length, by position.
    """

    program: ExportedProgram
    outputs: tuple[str, ...]
    open_axes: dict[int, str]

    @property
    def any_size(self) -> bool:
        """Whether height and width may vary."""
        return len(self.open_axes) > 1


class _Outputs(nn.Module):
    """A tagger that returns plain tensors."""

    def __init__(self, model: BackbonePreTrainedModel, maps: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.maps = maps

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        return plain_outputs(self.model, pixel_values, self.maps)


def plain_outputs(model: BackbonePreTrainedModel, pixel_values: Tensor, maps: tuple[str, ...]) -> tuple[Tensor, ...]:
    """What a graph computes, by the model itself: logits and scores (B, C), and maps (B, C, H', W')."""
    out = model(pixel_values, return_dict=True, **({"output_maps": True} if maps else {}))
    return out.logits, label_scores(out.logits, model.config), *(getattr(out, name) for name in maps)


def make_graph(model: BackbonePreTrainedModel, *, maps: tuple[str, ...] = (), fixed_size: bool = False) -> Graph:
    """Trace a model with `torch.export`. The batch size may vary, and height and width if the backbone allows it.

    Args:
        model: The model, on the CPU in float32. It is set to evaluation mode.
        maps: Further outputs: "transport_plan", the region-to-label plan, or "heatmap", see `MultiLabelOutput`.
        fixed_size: Whether to fix height and width to the model's input size.

    Raises:
        InputError: The plan is asked of a model that has none.
    """
    if PLAN in maps and not capability(model, "gives_maps"):
        raise InputError(
            f"maps: a model of type {model.config.model_type!r} has no transport plan; leave out maps, or use SCT"
        )
    model.eval()
    outputs = (LOGITS, SCORES, *maps)
    height, width = model.config.input_size
    channels = model.config.num_channels

    def traced(example: Tensor, open_axes: dict[int, str]) -> Graph:
        with torch.no_grad():
            program = torch.export.export(
                _Outputs(model, maps),
                (),
                {INPUT: example},
                dynamic_shapes={INPUT: dict.fromkeys(open_axes, Dim.DYNAMIC)},
            )
        return Graph(program, outputs, open_axes)

    if not fixed_size and model.backbone.fixed_size is None and not _pads_by_size(model.backbone):
        try:  # not square, so that neither side is taken for the other
            graph = traced(torch.zeros(2, channels, height, 2 * width), {0: "batch", 2: "height", 3: "width"})
            graph.program.module()(**{INPUT: torch.zeros(1, channels, height, width)})
            return graph
        except (torch._dynamo.exc.UserError, AssertionError, RuntimeError, TypeError, ValueError):
            pass  # a backbone that computes with its input's size, or takes only larger ones so
    return traced(torch.zeros(2, channels, height, width), {0: "batch"})


def gives_heatmaps(model: nn.Module) -> bool:
    """Whether a model has a map of each label over the image."""
    return capability(model, "gives_maps") or capability(model, "scores_regions")


def _pads_by_size(backbone: nn.Module) -> bool:
    """Whether the backbone has timm's layers with TensorFlow's padding: tracing them for any size never ends."""
    return any(type(module).__name__.endswith("Same") for module in backbone.modules())
