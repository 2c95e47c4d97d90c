"""The page of the demo: tags with bars, thresholds to move, heatmaps to look at, other labels to type."""

from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr

from .viewer import Seen, Viewer, read_labels

_CSS = """
.confidence-set {cursor: pointer; padding: 2px 4px; border-radius: 6px}
.confidence-set:hover {background: var(--color-accent-soft)}
.confidence-set .inner-wrap {background: linear-gradient(var(--neutral-200) 0 0) 0 0 / 100% 12px no-repeat}
.dark .confidence-set .inner-wrap {background-image: linear-gradient(var(--neutral-700) 0 0)}
.confidence-set .inner-wrap, .confidence-set meter {border-radius: 6px}
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
_EXPLANATION = "Click a tag to see where it was found: the heatmap tells where to look, not where an object ends."
_HEIGHT = 380
_LONGEST_TEXT = 1000
_MARK = "background: var(--color-accent-soft); outline: 2px solid var(--color-accent)"
_EXAMPLES = [("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")]  # package, place in it; in the public domain
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
        """For an image: what the model sees, the best tag's label, what `tags` gives, and the heatmap of the best."""
        try:
            seen = None if file is None else self._viewer.look(file["path"], labels)
            found = {} if seen is None else self._viewer.tags(seen, thresholds)
            best = next(iter(found), None)
            return seen, best, *self.tags(seen, thresholds, best), self.heatmap(seen, best)
        except ValueError as error:
            raise _message(error) from error

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

    def set_all(
        self, seen: Seen | None, chosen: str | None, labels: list[str], count: int, value: float
    ) -> tuple[Any, ...]:
        """For one threshold of all labels: a higher count, the thresholds, and what `tags` gives."""
        thresholds = dict.fromkeys(labels, value)
        return count + 1, thresholds, *self.tags(seen, thresholds, chosen)

    def reset(
        self, seen: Seen | None, chosen: str | None, labels: list[str], count: int, profile: str | None
    ) -> tuple[Any, ...]:
        """To the thresholds of a profile: what `set_all` gives, and the threshold of all."""
        thresholds = self._viewer.thresholds(labels, profile)
        return count + 1, thresholds, *self.tags(seen, thresholds, chosen), self._viewer.threshold

    def select(self, seen: Seen, event: gr.SelectData) -> tuple[Any, ...]:
        """For a tag that is clicked: its label, its mark, its heatmap."""
        chosen = seen.names[self._viewer.written(seen.names).index(event.value)]
        return chosen, _mark(event.index), self.heatmap(seen, chosen)

    def tags(
        self, seen: Seen | None, thresholds: dict[str, float], chosen: str | None
    ) -> tuple[dict[str, float] | None, str, str]:
        """The tags, the line below them, and the mark of the chosen one."""
        if seen is None:
            return None, "", ""
        tags = self._viewer.tags(seen, thresholds)
        written = dict(zip(seen.names, self._viewer.written(seen.names), strict=True))
        line = f"{len(tags)} of {len(seen.names)} labels reach their threshold."
        mark = _mark([*tags].index(chosen)) if chosen in tags and self._viewer.has_maps else ""
        return {written[name]: score for name, score in tags.items()} or None, line, mark

    def heatmap(self, seen: Seen | None, label: str | None) -> Any:
        """The image of a heatmap with its title, empty without a label."""
        if seen is None or label is None:
            return gr.Image(None, label=_WHERE)
        written = self._viewer.written(seen.names)[seen.names.index(label)]
        return gr.Image(self._viewer.heatmap(seen, label), label=f"Where “{written}” was seen")


def build(tagger: Any, name: str, *, label_encoder: str | None = None) -> gr.Blocks:
    """Build the page; `launch(**LAUNCH)` serves it.

    Args:
        tagger: A pipeline "multi-label-image-classification".
        name: The model's name, in Markdown.
        label_encoder: Name or folder of the text encoder of labels, where the checkpoint cannot tell.
    """
    viewer = Viewer(tagger, label_encoder)
    answers, first = Answers(viewer), viewer.label_names
    with gr.Blocks(title=_TITLE, analytics_enabled=False, delete_cache=(_KEPT_SECONDS, _KEPT_SECONDS)) as page:
        names, thresholds = gr.State(first), gr.State(viewer.thresholds(first))
        seen = gr.State(None, time_to_live=_KEPT_SECONDS)
        chosen = gr.State(None)  # the label of the heatmap
        count = gr.State(0)  # how often all thresholds were set together
        gr.Markdown(f"# {_TITLE}\n{name}, {len(first)} labels. {_EXPLANATION if viewer.has_maps else ''}")
        with gr.Row():  # its columns follow each other on a phone
            with gr.Column():
                image = gr.Image(label="Image", type="filepath", height=_HEIGHT, buttons=[])
                if examples := example_images():
                    gr.Examples([[path] for path in examples], image, label="Example", api_visibility="private")
                tags = gr.Label(label="Tags", show_heading=False)
                line = gr.Markdown()
                mark = gr.HTML(visible="hidden")
                shown = [tags, line, mark]
            with gr.Column():
                where = gr.Image(label=_WHERE, interactive=False, height=_HEIGHT, buttons=[], visible=viewer.has_maps)
                threshold = gr.Slider(0, 1, viewer.threshold, step=0.01, label="Threshold of all labels")
                several = len(viewer.profiles) > 1
                profile = gr.Dropdown(
                    viewer.profiles,
                    value=next(iter(viewer.profiles), None),
                    label="Profile",
                    info="Thresholds that keep what their name says.",
                    visible=several,
                )
                with gr.Accordion("Threshold of each label", open=False):
                    reset = gr.Button("Reset", size="sm")

                    @gr.render(inputs=[names])
                    def sliders_of(labels: list[str]) -> None:
                        with gr.Row():
                            sliders = [
                                gr.Slider(0, 1, min(value, 1), step=0.01, label=words, min_width=200, interactive=True)
                                for words, value in zip(
                                    viewer.written(labels), viewer.thresholds(labels).values(), strict=True
                                )
                            ]

                        def move(seen: Seen | None, chosen: str | None, *values: float) -> tuple[Any, ...]:
                            moved = dict(zip(labels, values, strict=True))
                            return moved, *answers.tags(seen, moved, chosen)

                        def follow(thresholds: dict[str, float]) -> dict[Any, float]:
                            return {
                                one: min(value, 1) for one, value in zip(sliders, thresholds.values(), strict=True)
                            }

                        each = [event for slider in sliders for event in (slider.input, slider.release)]
                        gr.on(each, move, [seen, chosen, *sliders], [thresholds, *shown], **_QUICK, **_PRIVATE)
                        # Not an event that is listened to elsewhere: gradio lets one made in here replace others.
                        count.change(follow, thresholds, sliders, **_QUICK, **_PRIVATE)

                words = gr.Textbox(
                    label="Other labels",
                    info="With commas between them; nothing for the checkpoint's own.",
                    placeholder="horse, wild boar, fire engine",
                    visible=viewer.closed is None,
                    max_length=_LONGEST_TEXT,
                )
                button = gr.Button("Tag with these labels", visible=viewer.closed is None)

        after = [seen, chosen, *shown, where]
        found = image.change(answers.look, [image, names, thresholds], after, api_name="tag", **_MODEL)
        found.failure(lambda: None, None, image, **_PRIVATE)
        gr.on(
            [button.click, words.submit],
            answers.relabel,
            [image, words, names, thresholds],
            [names, thresholds, threshold, *after],
            api_name="labels",
            **_MODEL,
        )
        gr.on(
            [threshold.input, threshold.release],
            answers.set_all,
            [seen, chosen, names, count, threshold],
            [count, thresholds, *shown],
            api_name="threshold",
            **_QUICK,
        )
        outputs = [count, thresholds, *shown, threshold]
        reset.click(answers.reset, [seen, chosen, names, count, profile], outputs, **_QUICK, **_PRIVATE)
        profile.input(answers.reset, [seen, chosen, names, count, profile], outputs, api_name="profile", **_QUICK)
        tags.select(answers.select, seen, [chosen, mark, where], api_name="heatmap", show_progress="hidden")
    return page


def example_images() -> list[str]:
    """Free images to try that come with other packages, of those that are installed."""
    folders = [(find_spec(package), place) for package, place in _EXAMPLES]
    paths = [Path(spec.origin).parent / place for spec, place in folders if spec and spec.origin]
    return [str(path) for path in paths if path.is_file()]


def _mark(place: int) -> str:
    """A style that marks the tag at a place, from 0."""
    return f"<style>.confidence-set:nth-of-type({place + 1}) {{{_MARK}}}</style>"


def _message(reason: Any) -> gr.Error:
    """What the page shows, which takes HTML, without a traceback on the server."""
    return gr.Error(escape(str(reason), quote=False), print_exception=False)
