"""The page of the demo: tags with bars, thresholds to move, heatmaps to look at, other labels to type."""

from html import escape
from typing import Any

import gradio as gr

from .viewer import Seen, Viewer, read_labels

_CSS = """
.confidence-set {cursor: pointer; padding: 2px 4px; border-radius: 6px}
.confidence-set:hover {background: var(--color-accent-soft)}
.confidence-set .inner-wrap {background: linear-gradient(var(--neutral-100) 0 0) 0 0 / 100% 12px no-repeat}
.confidence-set .bar {height: 12px; border-radius: 6px}
.confidence-set .label {font-family: var(--font); font-size: 16px}
"""

LAUNCH: dict[str, Any] = {
    "theme": gr.themes.Soft(primary_hue="orange", font=("system-ui", "sans-serif"), font_mono=("monospace",)),
    "css": _CSS,
    "max_file_size": "20mb",
    "footer_links": ["api", "gradio", "settings"],
}
"""What `launch` of the page is given."""

_TITLE = "SCT tags images"
_WHERE = "Where a tag was seen"
_EXPLANATION = (
    "Click a tag to see its transport plan over the image: it tells where to look, not where an object ends."
)
_HEIGHT = 380
_LONGEST_TEXT = 1000
_KEPT_SECONDS = 3600
# Of events: no forward pass, the last of many counts; the model, one call at a time, files as they came; no interface.
_QUICK: dict[str, Any] = {"trigger_mode": "always_last", "show_progress": "hidden"}
_MODEL: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model", "preprocess": False}
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}


class Answers:
    """What the page does with what its user does; errors of the user become messages of the page.

    Args:
        viewer: The model's.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer

    def look(self, file: Any, labels: list[str], thresholds: dict[str, float]) -> tuple[Any, ...]:
        """For an image: what the model sees, the tags, the line below them, the heatmap of the best tag."""
        try:
            seen = None if file is None else self._viewer.look(file["path"], labels)
            tags, line = self.tags(seen, thresholds)
        except ValueError as error:
            raise _message(error) from error
        return seen, tags, line, self.heatmap(seen, next(iter(tags or ()), None))

    def relabel(self, file: Any, text: str, before: list[str], thresholds: dict[str, float]) -> tuple[Any, ...]:
        """For other labels: these, their thresholds, that of all, and what `look` gives."""
        try:
            labels = read_labels(text) or self._viewer.label_names
        except ValueError as error:
            raise _message(error) from error
        if file is None:
            raise _message("There is no image yet. Drop one first.")
        level: Any = gr.skip()
        if labels != before:
            thresholds, level = self._viewer.thresholds(labels), self._viewer.threshold
        return labels, thresholds, level, *self.look(file, labels, thresholds)

    def set_all(self, seen: Seen | None, labels: list[str], count: int, value: float) -> tuple[Any, ...]:
        """For one threshold of all labels: a higher count, the thresholds, the tags and the line below them."""
        thresholds = dict.fromkeys(labels, value)
        return count + 1, thresholds, *self.tags(seen, thresholds)

    def reset(self, seen: Seen | None, labels: list[str], count: int) -> tuple[Any, ...]:
        """Back to the first thresholds: what `set_all` gives, and the threshold of all."""
        thresholds = self._viewer.thresholds(labels)
        return count + 1, thresholds, *self.tags(seen, thresholds), self._viewer.threshold

    def select(self, seen: Seen, event: gr.SelectData) -> Any:
        """For a tag that is clicked: its heatmap."""
        return self.heatmap(seen, event.value)

    def tags(self, seen: Seen | None, thresholds: dict[str, float]) -> tuple[dict[str, float] | None, str]:
        """The tags, and the line below them."""
        if seen is None:
            return None, ""
        tags = self._viewer.tags(seen, thresholds)
        return tags or None, f"{len(tags)} of {len(seen.names)} labels reach their threshold."

    def heatmap(self, seen: Seen | None, label: str | None) -> Any:
        """The image of a heatmap with its title, empty without a label."""
        if seen is None or label is None:
            return gr.Image(None, label=_WHERE)
        return gr.Image(self._viewer.heatmap(seen, label), label=f"Where “{label}” was seen")


def build(tagger: Any, name: str, *, label_encoder: str | None = None) -> gr.Blocks:
    """Build the page; `launch(**LAUNCH)` serves it.

    Args:
        tagger: A pipeline "multi-label-image-classification".
        name: The model's name, in Markdown.
        label_encoder: Name or folder of the text encoder of labels, where the checkpoint cannot tell.
    """
    viewer = Viewer(tagger, label_encoder)
    answers, first, closed = Answers(viewer), viewer.label_names, viewer.closed
    with gr.Blocks(title=_TITLE, analytics_enabled=False, delete_cache=(_KEPT_SECONDS, _KEPT_SECONDS)) as page:
        names, thresholds = gr.State(first), gr.State(viewer.thresholds(first))
        seen = gr.State(None, time_to_live=_KEPT_SECONDS)
        count = gr.State(0)  # how often all thresholds were set together
        gr.Markdown(f"# {_TITLE}\n{name}, {len(first)} labels. {_EXPLANATION if viewer.has_maps else ''}")
        with gr.Row():
            image = gr.Image(label="Image", type="filepath", height=_HEIGHT, buttons=[])
            where = gr.Image(label=_WHERE, interactive=False, height=_HEIGHT, buttons=[], visible=viewer.has_maps)
        with gr.Row():
            with gr.Column():
                tags = gr.Label(label="Tags", show_heading=False)
                line = gr.Markdown()
            with gr.Column():
                threshold = gr.Slider(0, 1, viewer.threshold, step=0.01, label="Threshold of all labels")
                with gr.Accordion("Threshold of each label", open=False):
                    reset = gr.Button("Reset", size="sm")

                    @gr.render(inputs=[names])
                    def sliders_of(labels: list[str]) -> None:
                        with gr.Row():
                            sliders = [
                                gr.Slider(0, 1, value, step=0.01, label=label, min_width=200, interactive=True)
                                for label, value in viewer.thresholds(labels).items()
                            ]

                        def move(seen: Seen | None, *values: float) -> tuple[Any, ...]:
                            moved = dict(zip(labels, values, strict=True))
                            return moved, *answers.tags(seen, moved)

                        def follow(thresholds: dict[str, float]) -> dict[Any, float]:
                            return dict(zip(sliders, thresholds.values(), strict=True))

                        each = [event for slider in sliders for event in (slider.input, slider.release)]
                        gr.on(each, move, [seen, *sliders], [thresholds, tags, line], **_QUICK, **_PRIVATE)
                        # Not an event that is listened to elsewhere: gradio lets one made in here replace others.
                        count.change(follow, thresholds, sliders, **_QUICK, **_PRIVATE)

                words = gr.Textbox(
                    label="Other labels",
                    info=None if closed else "With commas between them; nothing for the checkpoint's own.",
                    placeholder=closed or "horse, wild boar, fire engine",  # plain text, which info is not
                    lines=2 if closed else 1,
                    interactive=closed is None,
                    max_length=_LONGEST_TEXT,
                )
                button = gr.Button("Tag with these labels", visible=closed is None)

        shown = [tags, line]
        found = image.change(answers.look, [image, names, thresholds], [seen, *shown, where], api_name="tag", **_MODEL)
        found.failure(lambda: None, None, image, **_PRIVATE)
        gr.on(
            [button.click, words.submit],
            answers.relabel,
            [image, words, names, thresholds],
            [names, thresholds, threshold, seen, *shown, where],
            api_name="labels",
            **_MODEL,
        )
        gr.on(
            [threshold.input, threshold.release],
            answers.set_all,
            [seen, names, count, threshold],
            [count, thresholds, *shown],
            api_name="threshold",
            **_QUICK,
        )
        reset.click(answers.reset, [seen, names, count], [count, thresholds, *shown, threshold], **_QUICK, **_PRIVATE)
        tags.select(answers.select, seen, where, api_name="heatmap", show_progress="hidden")
    return page


def _message(reason: Any) -> gr.Error:
    """What the page shows, which takes HTML, without a traceback on the server."""
    return gr.Error(escape(str(reason), quote=False), print_exception=False)
