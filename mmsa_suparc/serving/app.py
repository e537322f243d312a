"""A local page to try a model: upload a clip, type its words, take modalities away.

What strangers send is met at the door (:mod:`mmsa_suparc.serving.guard`) before Gradio sees it, and
behind it by the fence around every program that reads a video (:mod:`mmsa_suparc.videos.media`).
"""

from __future__ import annotations

import contextlib
import html
import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsa_suparc.errors import UserError
from mmsa_suparc.names import MODALITIES
from mmsa_suparc.serving import example as examples
from mmsa_suparc.serving import shown
from mmsa_suparc.serving.asking import NOTHING, ClipPredictor
from mmsa_suparc.serving.example import Example
from mmsa_suparc.serving.guard import FORM, Guard
from mmsa_suparc.serving.prediction import Prediction
from mmsa_suparc.videos.fet import ClipFeatures

#: Seconds after which Gradio deletes what was uploaded and not scored.
KEPT = 600
#: Characters of the words that are taken.
MOST_WORDS = 2_000
#: Tries that a page keeps.
MOST_TRIES = 20
#: Screen readers say what changes there.
ANNOUNCED = """() => {
  for (const place of ["told", "result"])
    document.getElementById(place)?.setAttribute("aria-live", "polite");
}"""
SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".flv", ".wmv")


@dataclass(frozen=True)
class ReadClip:
    """A clip whose features are there, until the page is closed.

    Args:
        features: of a video; or arrays, as :meth:`ClipPredictor.predict_features` takes them.
        name: as the history calls it.
    """

    features: ClipFeatures | Mapping[str, Any]
    name: str


class Page:
    """What the page does: a clip is extracted once, then scored as often as boxes are ticked.

    Args:
        predictor: the model.
        others: of the run's other seeds, for the interval.
        example: what the example button gives.
    """

    def __init__(
        self,
        predictor: ClipPredictor,
        others: Sequence[ClipPredictor] = (),
        example: Example | None = None,
    ) -> None:
        self.predictor = predictor
        self.all = (predictor, *others)
        self.example = example or examples.of(predictor.serving, None, None)

    def extract(self, upload: str | None) -> tuple[ReadClip | None, str]:
        """The features of an upload, which is then deleted, and what to say of it."""
        if not upload:
            return None, ""
        sweep()
        path = Path(upload)
        try:
            # Gradio keeps one file for equal uploads: this one is nobody else's.
            path = path.replace(path.with_name(f"{uuid.uuid4().hex}{path.suffix}"))
            if path.suffix.lower() not in SUFFIXES:
                return None, _words(f"{path.suffix or 'no suffix'}: expected a video")
            return self._read(path, "clip")
        except FileNotFoundError:
            return None, _words("This clip is gone: upload it again.")
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
                path.parent.rmdir()

    def _read(self, video: Path, name: str) -> tuple[ReadClip | None, str]:
        try:
            found = self.predictor.extract(video)
        except UserError as error:
            return None, _words(str(error))
        seconds = f"{found.seconds:.1f} s"
        return ReadClip(found, f"{name}, {seconds}"), _words(
            f"{seconds} read. {'; '.join(found.notes)}"
        )

    def show_example(self) -> tuple[ReadClip | None, str, str]:
        """The example's clip, what to say of it, and its words."""
        example = self.example
        if example.video is not None:
            return *self._read(example.video, "example"), example.words
        if example.features is not None:
            told = "The example: a clip of the embedded data set, with audio and vision."
            return ReadClip(example.features, "example"), _words(told), example.words
        return None, _words("The example: words alone."), example.words

    def score(
        self, clip: ReadClip | None, words: str, present: list[str], tried: Tried | None = None
    ) -> tuple[str, str, Tried]:
        """The result and the history as HTML, and the history itself."""
        tried = tried or Tried()
        text = (words or "")[:MOST_WORDS]
        chosen = tuple(name for name in MODALITIES if name in present)
        try:
            found = [self._ask(one, clip, text, chosen) for one in self.all]
        except UserError as error:
            told = "Nothing to score: upload a clip or type its words, and tick a box."
            if NOTHING not in str(error):
                told = str(error)
            return _words(told), tried.shown(), tried
        served = self.predictor.serving
        spread = shown.Spread.of([one.score for one in found])
        name = clip.name if clip is not None else ""
        tried = tried.with_one(shown.Try(text, name, chosen, found[0].score, spread))
        return shown.score(found, served.score_range, served.seed), tried.shown(), tried

    @staticmethod
    def _ask(
        predictor: ClipPredictor, clip: ReadClip | None, text: str, chosen: tuple[str, ...]
    ) -> Prediction:
        features = clip.features if clip is not None else ClipFeatures(None, None, (), 0.0)
        if isinstance(features, ClipFeatures):
            return predictor.predict_clip(features, text=text, present=chosen)
        return predictor.predict_features({**features, "raw_text": [text]}, present=chosen)[0]


@dataclass(frozen=True)
class Tried:
    """The last tries of a page, and how many there were before them."""

    tries: tuple[shown.Try, ...] = ()
    dropped: int = 0

    def with_one(self, one: shown.Try) -> Tried:
        """What is asked again is no new try."""
        if self.tries and self.tries[-1] == one:
            return self
        kept = (*self.tries, one)[-MOST_TRIES:]
        return Tried(kept, self.dropped + len(self.tries) + 1 - len(kept))

    def shown(self) -> str:
        """As a table."""
        return shown.history(self.tries, self.dropped)


def _words(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def blocks(page: Page) -> Any:
    """The page's layout."""
    import gradio as gr

    with gr.Blocks(title="mmsa-suparc", analytics_enabled=False, delete_cache=(KEPT, KEPT)) as made:
        gr.Markdown("# How does a clip sound, look and read?")
        if page.predictor.caution:
            gr.HTML(_words(page.predictor.caution), elem_id="caution")
        clip, tried = gr.State(None), gr.State(None)
        with gr.Row():
            with gr.Column():
                upload = gr.File(label="Clip", file_types=list(SUFFIXES), type="filepath")
                told = gr.HTML(elem_id="told")
                words = gr.Textbox(
                    label="Words", lines=3, max_length=MOST_WORDS, placeholder="what is said",
                    info="Shift+Enter scores",
                )  # fmt: skip
                present = gr.CheckboxGroup(
                    list(MODALITIES), value=list(MODALITIES), label="Modalities"
                )
                with gr.Row():
                    button = gr.Button("Score", variant="primary", min_width=120)
                    example = gr.Button("Example", min_width=120)
            with gr.Column():
                result = gr.HTML(_words("Upload a clip or type its words."), elem_id="result")
        history = gr.HTML(elem_id="history")
        forget = gr.Button(
            "Forget the tries", size="sm", visible=False, elem_id="forget", scale=0, min_width=160
        )
        one = {"concurrency_limit": 1, "concurrency_id": "extraction", "api_visibility": "private"}
        hidden = {"api_visibility": "private"}
        scored = ([clip, words, present, tried], [result, history, tried])
        upload.upload(page.extract, [upload], [clip, told], **one).then(
            page.score, *scored, **hidden
        )
        upload.clear(lambda: (None, ""), None, [clip, told], **hidden)
        button.click(page.score, *scored, **hidden)
        words.submit(page.score, *scored, **hidden)
        present.change(page.score, *scored, **hidden)
        shown_example = (None, [upload, clip, told, words])
        example.click(lambda: (None, *page.show_example()), *shown_example, **one).then(
            page.score, *scored, **hidden
        )
        history.change(lambda rows: gr.update(visible=bool(rows)), [tried], [forget], **hidden)
        forget.click(lambda: ("", None), None, [history, tried], **hidden)
    made.queue(max_size=32)
    return made


def application(
    served: Page,
    *,
    port: int,
    most: int,
    uploads: Path,
    hosts: tuple[str, ...] = (),
) -> Guard:
    """The guarded page as an ASGI application."""
    import gradio as gr
    from fastapi import FastAPI

    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]).set(
        button_primary_background_fill="*primary_600",  # on which white can be read
        button_primary_background_fill_hover="*primary_700",
    )
    page = blocks(served)
    # The guard alone cuts uploads: what Gradio cuts, it leaves on the disk.
    inner = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None), page, path="/",
        server_name="127.0.0.1", server_port=port, max_file_size=most + FORM, show_error=False,
        ssr_mode=False, enable_monitoring=False, theme=theme, footer_links=[],
        css=shown.css(), js=ANNOUNCED,
    )  # fmt: skip
    # A mounted page counts as not launched, and Gradio then opens any file that a request names.
    page.has_launched = page.is_running = True
    allowed = {f"{host}:{port}" for host in ("127.0.0.1", "localhost", *hosts)}
    if port == 80:  # which browsers leave out
        allowed |= {host.removesuffix(":80") for host in allowed}
    return Guard(inner, frozenset(allowed), most, uploads)


def sweep() -> None:
    """Delete uploads that were left: cut off, refused, or never scored."""
    folder = os.environ.get("GRADIO_TEMP_DIR")
    if not folder:
        return
    oldest = time.time() - KEPT
    for path in Path(folder).rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_mtime < oldest:
                path.unlink()


@contextlib.contextmanager
def own_upload_folder() -> Iterator[Path]:
    """Uploads go to a folder that is gone when the page is."""
    with tempfile.TemporaryDirectory(prefix="mmsa-app-") as folder:
        before = os.environ.get("GRADIO_TEMP_DIR")
        os.environ.update(GRADIO_TEMP_DIR=folder, GRADIO_ANALYTICS_ENABLED="False")
        try:
            yield Path(folder)
        finally:
            del os.environ["GRADIO_TEMP_DIR"]
            if before is not None:
                os.environ["GRADIO_TEMP_DIR"] = before


def serve(page: Page, *, host: str, port: int, most: int, names: tuple[str, ...] = ()) -> None:
    """Answer until the user stops it.

    Args:
        page: what it does.
        host: the address to listen at.
        port: likewise.
        most: bytes of an upload.
        names: under which the page is asked for besides, beyond this machine.
    """
    import uvicorn

    with own_upload_folder() as uploads:
        guarded = application(page, port=port, most=most, uploads=uploads, hosts=(host, *names))
        uvicorn.run(
            guarded, host=host, port=port, log_level="warning", ws="none",
            timeout_graceful_shutdown=3,
        )  # fmt: skip
