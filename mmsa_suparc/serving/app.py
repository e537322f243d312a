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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmsa_suparc.errors import UserError
from mmsa_suparc.names import MODALITIES
from mmsa_suparc.serving.guard import FORM, Guard
from mmsa_suparc.serving.prediction import Prediction
from mmsa_suparc.serving.predictor import SupArcPredictor
from mmsa_suparc.videos.fet import ClipFeatures

#: Seconds after which Gradio deletes what was uploaded and not scored.
KEPT = 600
#: Characters of the words that are taken.
MOST_WORDS = 2_000
SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".flv", ".wmv")


class Page:
    """What the page does: a clip is extracted once, then scored as often as boxes are ticked."""

    def __init__(self, predictor: SupArcPredictor) -> None:
        self.predictor = predictor
        self.low, self.high = predictor.serving.score_range

    def extract(self, upload: str | None) -> tuple[ClipFeatures | None, str]:
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
            found = self.predictor.extract(path)
        except UserError as error:
            return None, _words(str(error))
        except FileNotFoundError:
            return None, _words("This clip is gone: upload it again.")
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
                path.parent.rmdir()
        return found, _words(f"{found.seconds:.1f} s read. {'; '.join(found.notes)}")

    def score(self, clip: ClipFeatures | None, words: str, present: list[str]) -> str:
        """The result as HTML; everything that anybody typed is escaped."""
        given = clip or ClipFeatures(None, None, (), 0.0)
        text = (words or "")[:MOST_WORDS]
        chosen = [name for name in MODALITIES if name in present]
        try:
            found = self.predictor.predict_clip(given, text=text, present=chosen)
        except UserError:
            return _words("Nothing to score: upload a clip or type its words, and tick a box.")
        return self.shown(found)

    def shown(self, found: Prediction) -> str:
        """A scale with the score, and a bar a modality."""
        span = self.high - self.low
        share = min(max((found.score - self.low) / span, 0.0), 1.0)
        bars = "".join(
            self._bar(name, found.score, getattr(found, f"without_{name}")) for name in MODALITIES
        )
        warnings = "".join(f"<li>{html.escape(warning)}</li>" for warning in found.warnings)
        return f"""<div id="score" data-score="{found.score:.6f}">
<p><strong style="font-size:1.6em">{found.score:+.2f}</strong> {found.label}</p>
<div style="position:relative;height:14px;border-radius:7px;background:linear-gradient(90deg,
#b2182b,#dddddd,#2166ac)"><div style="position:absolute;left:calc({share:.1%} - 2px);top:-4px;
width:4px;height:22px;background:#111"></div></div>
<div style="display:flex;justify-content:space-between"><span>{self.low:g}</span>
<span>{self.high:g}</span></div>
<p>What each modality adds to the score (with it, less without it):</p>{bars}
<ul>{warnings}</ul></div>"""

    def _bar(self, name: str, score: float, without: float | None) -> str:
        if without is None:
            width, side, text = 0.0, "left:50%", "not used"
        else:
            adds = score - without
            width = min(abs(adds) / (self.high - self.low), 0.5)
            side = "left:50%" if adds >= 0 else "right:50%"
            text = f"{adds:+.2f}"
        color = "#2166ac" if side == "left:50%" else "#b2182b"
        return (
            f'<div style="display:flex;gap:8px;align-items:center" data-bar="{name}">'
            f'<span style="width:4em">{name}</span><div style="position:relative;flex:1;'
            f'height:14px;background:#eee"><div style="position:absolute;{side};width:{width:.1%};'
            f'height:14px;background:{color}"></div></div><span style="width:5em">{text}</span>'
            "</div>"
        )


def _words(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def blocks(page: Page) -> Any:
    """The page's layout."""
    import gradio as gr

    with gr.Blocks(title="mmsa-suparc", analytics_enabled=False, delete_cache=(KEPT, KEPT)) as made:
        gr.Markdown("## How does a clip sound, look and read?")
        clip = gr.State(None)
        with gr.Row():
            with gr.Column():
                upload = gr.File(label="Clip", file_types=list(SUFFIXES), type="filepath")
                told = gr.HTML()
                words = gr.Textbox(
                    label="Words", lines=3, max_length=MOST_WORDS, placeholder="what is said"
                )
                present = gr.CheckboxGroup(
                    list(MODALITIES), value=list(MODALITIES), label="Modalities"
                )
                button = gr.Button("Score", variant="primary")
            with gr.Column():
                result = gr.HTML(_words("Upload a clip or type its words."))
        one = {"concurrency_limit": 1, "concurrency_id": "extraction", "api_visibility": "private"}
        hidden = {"api_visibility": "private"}
        scored = ([clip, words, present], [result])
        upload.upload(page.extract, [upload], [clip, told], **one).then(
            page.score, *scored, **hidden
        )
        upload.clear(lambda: (None, ""), None, [clip, told], **hidden)
        button.click(page.score, *scored, **hidden)
        words.submit(page.score, *scored, **hidden)
        present.change(page.score, *scored, **hidden)
    made.queue(max_size=32)
    return made


def application(
    predictor: SupArcPredictor,
    *,
    port: int,
    most: int,
    uploads: Path,
    hosts: tuple[str, ...] = (),
) -> Guard:
    """The guarded page as an ASGI application."""
    import gradio as gr
    from fastapi import FastAPI

    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    page = blocks(Page(predictor))
    # The guard alone cuts uploads: what Gradio cuts, it leaves on the disk.
    inner = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None), page, path="/",
        server_name="127.0.0.1", server_port=port, max_file_size=most + FORM, show_error=False,
        ssr_mode=False, enable_monitoring=False, theme=theme, footer_links=[],
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


def serve(
    predictor: SupArcPredictor, *, host: str, port: int, most: int, names: tuple[str, ...] = ()
) -> None:
    """Answer until the user stops it.

    Args:
        predictor: the model.
        host: the address to listen at.
        port: likewise.
        most: bytes of an upload.
        names: under which the page is asked for besides, beyond this machine.
    """
    import uvicorn

    with own_upload_folder() as uploads:
        guarded = application(
            predictor, port=port, most=most, uploads=uploads, hosts=(host, *names)
        )
        uvicorn.run(
            guarded, host=host, port=port, log_level="warning", ws="none",
            timeout_graceful_shutdown=3,
        )  # fmt: skip
