"""SCT: semantic-aware representation learning via conditional transport, for multi-label image classification.

A reconstruction from the abstract and a summary of arXiv 2507.14918, whose equations and code were not at hand. What
is the paper's, its kin's (CLSL, arXiv 2510.10055), the theory's or ours is said part by part. Shapes: B images,
S input side, P = H·W regions, C labels, D feature width, D_t label-text width.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.utils import can_return_tuple

from .backbone_sct import TimmBackbone
from .base_sct import SCTModel, SCTPreTrainedModel, as_map, as_regions
from .configuration_sct import SCTConfig
from .contrast_sct import label_contrast_loss
from .erasing_sct import erase_regions, statistics_kept
from .hierarchy_sct import make_hierarchy
from .known_labels_sct import check_known_labels, draw_known_labels, known_logits, without_known
from .label_graph_sct import graph_of_labels
from .label_parents_sct import LabelParents, check_label_parents
from .layers_sct import PooledScorer, RegionScorer, aggregate
from .losses_sct import asymmetric_loss, known_targets, loss_options
from .new_labels_sct import LabelTexts, describe_new_labels, encode_new_labels, label_texts
from .outputs_sct import MultiLabelOutput
from .streaming_sct import streamed_logits


class SCTForMultiLabelClassification(SCTPreTrainedModel):
    """SCT with its region scores and losses: images to one logit a label.

    Args:
        config (`SCTConfig`): The configuration.
    """

    def __init__(self, config: SCTConfig) -> None:
        super().__init__(config)
        self.sct = SCTModel(config)
        dim = self.sct.hidden_size
        self.scorer = RegionScorer(dim, config)
        wide = self.sct.backbone.num_features
        self.pooled_scorer = PooledScorer(wide, dim, config) if config.label_pooling else None
        self.hierarchy = make_hierarchy(config)
        self.post_init()
        self._keys_to_ignore_on_load_unexpected = set()  # the base model's, that has no scorer, are not this one's

    @property
    def backbone(self) -> TimmBackbone:
        """The timm backbone."""
        return self.sct.backbone

    gives_maps = True

    @property
    def takes_known_labels(self) -> bool:
        """Whether known labels inform the scores of others."""
        return self.config.label_states

    def pipeline(self, image_processor: Any, **options: Any) -> Any:
        """Make the pipeline "multi-label-image-classification" of this model as it is in memory, trained further, say.

        `options` are arguments of `MultiLabelImageClassificationPipeline`; the model stays on its device.
        `transformers.pipeline` makes one only of a folder or of a name on the Hub.
        """
        from .pipeline_sct import MultiLabelImageClassificationPipeline  # so that transformers copies its file too

        if getattr(self, "hf_device_map", None) is None:
            options.setdefault("device", self.device)
        return MultiLabelImageClassificationPipeline(model=self, image_processor=image_processor, **options)

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        backbone_features: Tensor | None = None,
        label_embeddings: Tensor | None = None,
        label_prototypes: Tensor | None = None,
        known_labels: Tensor | None = None,
        output_maps: bool = False,
        output_label_features: bool = False,
        output_branches: bool = False,
        output_hidden_states: bool | None = None,
        erasing: bool = True,
        labels_at_once: int | None = None,
        **kwargs: Any,
    ) -> MultiLabelOutput:
        """Score images; with targets, also compute the loss.

        Args:
            pixel_values (`Tensor` of shape (B, 3, S_h, S_w), *optional*): Normalised images.
            labels (`Tensor` of shape (B, C), *optional*): Targets: 1, 0, soft values in [0, 1], −1 or NaN unknown.
            backbone_features (`Tensor` of shape (B, D₀, H, W), *optional*): The backbone's map, instead of images.
            label_embeddings (`Tensor` of shape (C, D_t), *optional*): Text of other labels than the model's own, for
                this call alone; for `scorer="label"`. The model's hierarchy says nothing of them.
            label_prototypes (`Tensor` of shape (C, D₀), *optional*): Their prototypes, where the model has prototypes.
            known_labels (`Tensor` of shape (B, C), *optional*): What is known beforehand and informs the scores of the
                other labels, where the model has `label_states`: 1 present, 0 absent, −1 or NaN unknown. Known
                labels take no part in any loss. In evaluation their logits say what is known, ±`KNOWN_LOGIT`, and what
                follows from them in the hierarchy is known too. In training on targets they are drawn, if not given.
            output_maps (`bool`, *optional*, defaults to `False`): Whether to return maps (B, C, H, W): semantic map,
                both transport plans, the prototypes' plan where there are prototypes, and region logits.
            output_label_features (`bool`, *optional*, defaults to `False`): Whether to return Fˢ (B, C, D).
            output_branches (`bool`, *optional*, defaults to `False`): Whether to return the logits that have a loss of
                their own, and the features that the pooled ones are made of.
            output_hidden_states (`bool`, *optional*): Whether to return the regions before and after each layer.
            erasing (`bool`, *optional*, defaults to `True`): Whether to train on images with erased regions too,
                where the configuration says so.
            labels_at_once (`int`, *optional*): Labels that go through the head together, for many labels: the same
                logits in bounded memory, and nothing else, see `streamed_logits`. For `scorer="label"`.

        Returns:
            `MultiLabelOutput`: loss and its parts where targets are given, logits (B, C), and what was asked for.

        Raises:
            ValueError: An input of a wrong shape, size or value.
        """
        if labels_at_once is not None:
            more = output_maps or output_label_features or output_branches or output_hidden_states
            if labels is not None or known_labels is not None or more:
                raise ValueError(
                    f"labels_at_once={labels_at_once} gives logits alone: leave out labels, known_labels and output_…."
                )
            images_and_text = (pixel_values, backbone_features, label_embeddings, label_prototypes)
            logits = streamed_logits(self, *images_and_text, labels_at_once)
            return MultiLabelOutput(logits=self._raised(logits, label_embeddings))
        images = pixel_values if backbone_features is None else backbone_features
        batch_size = 0 if images is None else images.shape[0]
        if labels is not None:
            self.check_targets(labels, batch_size)
        known_labels = self._known_labels(known_labels, labels, label_embeddings, batch_size)  # (B, C), or none
        label_weights = None
        if labels is not None:
            labels = labels if known_labels is None else without_known(labels, known_labels)
            label_weights = known_targets(labels)[1]  # (B, C)
        erasing = erasing and labels is not None and self.training and self.config.erasing_loss_weight > 0
        if erasing:  # the backbone's map is needed twice
            pixel_values, backbone_features = None, self.feature_map(pixel_values, backbone_features)
        out = self.sct(
            pixel_values,
            label_weights,
            backbone_features=backbone_features,
            label_embeddings=label_embeddings,
            label_prototypes=label_prototypes,
            known_labels=known_labels,
            output_backward_plan=output_maps or erasing,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        plan = as_regions(out.transport_plan)  # (B, P, C)
        label_text = self.sct.centred_text(label_embeddings)  # (C, D_t)
        region_scores = self.scorer(out.last_hidden_state, out.label_features, plan, label_text)  # (B, P, C)
        prototype_plan = None if out.prototype_plan is None else as_regions(out.prototype_plan)  # (B, P, C)
        logits, region_logits, pooled_logits = self.label_logits(
            region_scores,
            out.map_logits,
            out.pooled_features,
            out.label_features,
            prototype_plan,
            label_text,
            self.sct.familiarity(label_embeddings),
        )  # each (B, C), the last one or none
        branches = {"region": region_logits, "map": out.map_logits, "pooled": pooled_logits}

        loss = losses = None
        if labels is not None:
            config = self.config
            focus = loss_options(config, region_logits.device)
            losses = {
                "classification": asymmetric_loss(region_logits, labels, **focus),
                "semantic": asymmetric_loss(out.map_logits, labels, **focus),
                "transport": out.transport_loss,
            }
            loss = (
                losses["classification"]
                + config.semantic_loss_weight * losses["semantic"]
                + config.transport_loss_weight * losses["transport"]
            )
            if pooled_logits is not None:
                losses["pooled"] = asymmetric_loss(pooled_logits, labels, **focus)
                loss = loss + losses["pooled"]
            if self.hierarchy is not None and config.hierarchy_loss_weight:
                losses["hierarchy"] = self.hierarchy.loss(logits, labels, **focus)
                loss = loss + config.hierarchy_loss_weight * losses["hierarchy"]
            if self.pooled_scorer is not None and config.contrast_loss_weight:
                embedded = self.pooled_scorer.embed(out.pooled_features)  # (B, C, 2D)
                losses["contrast"] = label_contrast_loss(embedded, labels, config.contrast_temperature)
                loss = loss + config.contrast_loss_weight * losses["contrast"]
            if erasing and backbone_features is not None:
                rest, judged = erase_regions(backbone_features, out.backward_plan, labels, config.erasing_share)
                same: Any = {"label_embeddings": label_embeddings, "label_prototypes": label_prototypes}
                same |= {"known_labels": known_labels, "erasing": False, "return_dict": True}
                with statistics_kept(self):
                    again = self(labels=judged, backbone_features=rest, **same)
                losses["erasing"] = again.loss
                loss = loss + config.erasing_loss_weight * again.loss
        if known_labels is not None and not self.training:
            logits = known_logits(logits, known_labels)
        return MultiLabelOutput(
            loss=loss,
            logits=self._raised(logits, label_embeddings),
            losses=losses,
            semantic_map=out.semantic_map if output_maps else None,
            transport_plan=out.transport_plan if output_maps else None,
            backward_plan=out.backward_plan if output_maps else None,
            prototype_plan=out.prototype_plan if output_maps else None,
            region_logits=as_map(region_scores, out.semantic_map.shape[2:]) if output_maps else None,
            label_features=out.label_features if output_label_features else None,
            branch_logits={name: each for name, each in branches.items() if each is not None}
            if output_branches
            else None,
            pooled_features=out.pooled_features if output_branches else None,
            hidden_states=out.hidden_states,
        )

    def _known_labels(
        self, known_labels: Tensor | None, labels: Tensor | None, label_embeddings: Tensor | None, batch_size: int
    ) -> Tensor | None:
        """Known labels (B, C): as given, in evaluation with what they imply; drawn of the targets in training."""
        config = self.config
        if known_labels is not None:
            count = len(config.label_names if label_embeddings is None else label_embeddings)
            check_known_labels(known_labels, (batch_size, count), config.label_states)
            if self.hierarchy is not None and not self.training and label_embeddings is None:
                return self.hierarchy.implied(known_labels)
        elif config.label_states and self.training and labels is not None:
            return draw_known_labels(labels, config.known_share_max)
        return known_labels

    def _raised(self, logits: Tensor, label_embeddings: Tensor | None) -> Tensor:
        """Logits (B, C) of the model's own labels as its hierarchy wants them in evaluation; others as they are."""
        if self.hierarchy is None or self.training or label_embeddings is not None:
            return logits
        return self.hierarchy(logits)

    def label_logits(
        self,
        region_scores: Tensor,
        map_logits: Tensor,
        pooled_features: Tensor | None,
        label_features: Tensor,
        prototype_plan: Tensor | None,
        label_text: Tensor,
        familiarity: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Average what scores labels: region scores (B, P, C), M's (B, C) and those of pooled features (B, C, D₀).

        With `familiarity` (C,), the average counts to that share; M's scores, in which prototypes are, to the rest.

        Returns:
            Logits (B, C), and the region logits and pooled logits, or none, among them.
        """
        region_logits = aggregate(region_scores, prototype_plan, self.config.prototype_pooling)  # (B, C)
        pooled_logits = None
        if self.pooled_scorer is not None:
            pooled_logits = self.pooled_scorer(pooled_features, label_features, label_text)  # (B, C)
        own_map_logits = map_logits if self.config.fuse_map_scores else None  # (B, C)
        kinds = [scores for scores in (region_logits, own_map_logits, pooled_logits) if scores is not None]
        logits = sum(kinds[1:], kinds[0]) / len(kinds)  # (B, C)
        if familiarity is not None:
            logits = torch.lerp(map_logits, logits, familiarity.to(logits.dtype))
        return logits, region_logits, pooled_logits

    def set_labels(
        self,
        names: LabelTexts,
        embeddings: Tensor | None = None,
        recipe: dict[str, Any] | None = None,
        prototypes: Tensor | None = None,
        label_parents: LabelParents | None = None,
        *,
        label_encoder: str | None = None,
        label_templates: list[str] | None = None,
        to_train: bool = False,
    ) -> None:
        """Change the labels: the embeddings in the checkpoint, `id2label` and `label2id` together.

        Thresholds and hierarchy of the former labels go. Without `embeddings`, they and the prototypes are made by
        what made the checkpoint's own, see `encode_new_labels`. `config.seen_labels` then keeps the names of the
        labels that the weights were trained on, unless these are to be trained (`to_train`), or the former ones' text
        was lost when another `num_labels` was loaded. Messages between labels (`label_graph`) go on among those that
        stay, by their names; nobody counted the new ones. A linear scorer's labels keep theirs by their places.

        Args:
            names (`list[str]`, or `dict` of texts by name): The labels' names, each once; with texts that stand for
                them, where embeddings are to be made.
            embeddings (`Tensor` of shape (C, D_t), *optional*): Their text embeddings, any float dtype.
            recipe (`dict`, *optional*): How the embeddings were made, kept as `config.label_text`.
            prototypes (`Tensor` of shape (C, D₀), *optional*): Their prototypes, needed where the checkpoint has
                prototypes (`config.label_prototypes`), see `sct_hf.make_label_prototypes`.
            label_parents (`dict[str, list[str]]`, *optional*): Their hierarchy, see `set_hierarchy`.
            label_encoder (`str`, *optional*): Name or folder of the text encoder, where `config.label_text` cannot
                tell.
            label_templates (`list[str]`, *optional*): Prompts such as `"a photo of a {}"`, to be averaged, in place of
                the checkpoint's template.
            to_train (`bool`, *optional*, defaults to `False`): Whether the weights are about to be trained on these
                labels, which then count as seen.

        Raises:
            ValueError: A name twice, embeddings or prototypes of another count or width, prototypes missing or given
                to a checkpoint without them, another number of labels than the weights of a linear scorer have, or a
                hierarchy of other names.
        """
        if embeddings is None:
            texts = label_texts(names)
            embeddings, prototypes = encode_new_labels(texts, self, label_encoder, label_templates)
            recipe = describe_new_labels(texts, self.config, label_templates)
        names = list(names)
        count = len(self.config.label_names)
        if len(set(names)) != len(names):
            raise ValueError(f"names repeat {sorted({n for n in names if names.count(n) > 1})}: give each label once.")
        self.sct.check_label_text(len(names), embeddings, prototypes)
        if self.config.scorer == "linear" and len(names) != count:
            raise ValueError(
                f"{len(names)} names for the {count} labels of a linear scorer, whose weights are bound to them: "
                "train with scorer='label' to change the number of labels, or make a new model."
            )
        check_label_parents(label_parents or {}, names)
        if to_train:
            self.config.seen_labels = self.sct.seen_embeddings = None
        elif self.config.seen_labels is None and names != self.config.label_names and not self.label_text_lost:
            self.config.seen_labels = self.config.label_names
            self.sct.seen_embeddings = self.sct.label_embeddings
        if self.sct.label_graph is not None and self.config.scorer == "label":  # a linear scorer's are only renamed
            self.sct.label_graph = graph_of_labels(self.sct.label_graph, self.config.label_names, names)
        if prototypes is not None:
            self.sct.label_prototypes = prototypes.detach().to(self.sct.label_prototypes, copy=True)
        self.sct.label_embeddings = embeddings.detach().to(self.sct.label_embeddings, copy=True)
        self.config.thresholds = self.config.label_losses = None  # they belonged to the former labels
        self.config.id2label = dict(enumerate(names))
        self.config.label2id = {name: index for index, name in enumerate(names)}
        self.config.label_text = recipe
        self.label_text_lost = False
        self.set_hierarchy(label_parents)


__all__ = ["SCTForMultiLabelClassification", "SCTModel", "SCTPreTrainedModel"]
