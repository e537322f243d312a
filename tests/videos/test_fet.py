"""From real clips to scores, through the real MMSA-FET, mediapipe and openSMILE.

``make test-fet`` runs these; MMSA_FET_PYTHON names the environment that has MMSA-FET.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from mmsa_suparc.data import reader
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.errors import UserError
from mmsa_suparc.serving.predictor import SupArcPredictor
from mmsa_suparc.videos import recipe
from mmsa_suparc.videos.fet import ClipFeatures, Extractor
from mmsa_suparc.videos.media import ClipError, Limits
from tests.helpers.chromium import program
from tests.helpers.clips import make_clip, make_data_set
from tests.helpers.hostile import SECRET, make_hostile

pytestmark = pytest.mark.fet


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    with Extractor(recipe.load("default")) as one:
        yield one


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data_set(tmp_path_factory.mktemp("clips") / "set")


@pytest.fixture(scope="module")
def features(clips: Path) -> Path:
    from mmsa_suparc.cli import main

    assert main(["extract", str(clips), "--out", str(clips.parent / "clips.pkl")]) == 0
    return clips.parent / "clips.pkl"


@pytest.fixture(scope="module")
def run(features: Path, demo: Demo) -> Path:
    import mmsa_suparc
    from mmsa_suparc.cli import main

    folder = features.parent / "run"
    status = main(
        ["-m", "suparc", "-d", "custom", "--features", str(features), "-s", "1", "--epochs", "2",
         "--text-encoder", str(demo.encoder), "--run-dir", str(folder),
         "--res-save-dir", str(folder / "table"), "--set", "precision=fp32"]
    )  # fmt: skip
    mmsa_suparc.unregister()
    assert status == 0
    return folder


def same(a: ClipFeatures, b: ClipFeatures) -> bool:
    return all(
        (one is None and other is None)
        or (np.shape(one) == np.shape(other) and np.allclose(one, other, atol=1e-5))
        for one, other in ((a.audio, b.audio), (a.vision, b.vision))
    )


def test_what_cannot_be_used_is_listed_and_what_is_missing_is_marked(features: Path) -> None:
    report = pd.read_csv(f"{features}.report.csv", keep_default_na=False)
    skipped = report[report["status"] == "skipped"].set_index("clip")["note"]
    assert len(skipped) == 2
    assert skipped["line 18, v0$_$9"] == "path: no file Raw/v0/9.mp4"
    assert "no video that ffmpeg can read" in skipped["v0$_$8"]
    notes = report.set_index("clip")["note"]
    assert notes["v1$_$1"] == "vision missing: no face was found"
    assert notes["v2$_$0"] == "audio missing: no sound in the file"
    content = reader.read(features)
    lengths = {
        clip: (int(audio), int(vision))
        for fields in content.values()
        for clip, audio, vision in zip(
            fields["id"], fields["audio_lengths"], fields["vision_lengths"], strict=True
        )
    }
    assert len(lengths) == 15
    assert lengths["v1$_$1"][1] == 0
    assert lengths["v2$_$0"][0] == 0
    assert min(lengths["v0$_$0"]) > 5
    videos = [{clip.split("$_$")[0] for clip in fields["id"]} for fields in content.values()]
    assert not (videos[0] & videos[1])
    assert not (videos[0] & videos[2])
    assert not (videos[1] & videos[2])


def test_a_clip_done_is_not_done_again(features: Path, clips: Path, mmsa: Callable) -> None:
    parts = Path(f"{features}.parts")
    before = {path.name: path.stat().st_mtime_ns for path in parts.iterdir()}
    assert len(before) == 15
    next(parts.iterdir()).unlink()
    content = features.read_bytes()
    status, out, _ = mmsa("extract", clips, "--out", features)
    assert status == 0
    assert "2 skipped" in out
    after = {path.name: path.stat().st_mtime_ns for path in parts.iterdir()}
    assert set(after) == set(before)
    assert sum(after[name] != before[name] for name in before) == 1
    assert features.read_bytes() == content


@pytest.mark.parametrize("model", ["lf_dnn", "tfn", "self_mm"])
def test_baselines_train_on_the_same_file(
    model: str, features: Path, demo: Demo, mmsa: Callable
) -> None:
    status, out, err = mmsa(
        "-m", model, "-d", "custom", "--features", features, "-s", "1", "--epochs", "1",
        "--text-encoder", demo.encoder, "--run-dir", "run", "--res-save-dir", "table",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert "MAE" in out


def test_a_new_clip_is_scored(run: Path, tmp_path: Path, mmsa: Callable) -> None:
    clip = make_clip(tmp_path / "new.mp4", seed=77, tone=210)
    status, out, _ = mmsa("predict", "--run", run, "--video", clip, "--text", "i love it", "--json")
    assert status == 0
    found = json.loads(out)
    assert np.isfinite([found[f"without_{m}"] for m in ("text", "audio", "vision")]).all()
    assert found["warnings"] == []
    assert found["label"] in {"negative", "neutral", "positive"}
    status, out, _ = mmsa("predict", "--run", run, "--video", clip, "--json")
    less = json.loads(out)
    assert less["score"] == pytest.approx(found["without_text"], abs=1e-5)
    assert less["warnings"] == ["text is missing"]


def test_a_training_clip_gets_the_features_that_it_had(
    run: Path, features: Path, clips: Path
) -> None:
    content = reader.read(features)
    predictor = SupArcPredictor.from_run(run)
    try:
        for split, fields in content.items():
            video, clip = fields["id"][0].split("$_$")
            found = predictor.predict(
                video=clips / "Raw" / video / f"{clip}.mp4", text=fields["raw_text"][0]
            )
            (expected,) = predictor.predict_features(
                {
                    "raw_text": fields["raw_text"][:1],
                    **{
                        name: fields[name][:1]
                        for name in ("audio", "vision", "audio_lengths", "vision_lengths")
                    },
                }
            )
            assert found.score == pytest.approx(expected.score, abs=1e-4), split
    finally:
        predictor.close()


def test_many_by_a_table(run: Path, clips: Path, mmsa: Callable) -> None:
    table = "path,text\nRaw/v0/0.mp4,good\nRaw/v0/8.mp4,broken\nRaw/v1/1.mp4,\n"
    (clips / "many.csv").write_text(table)
    status, _, err = mmsa("predict", "--run", run, "--csv", clips / "many.csv", "--out", "s.csv")
    assert status == 1
    assert "skipped: Raw/v0/8.mp4: no video that ffmpeg can read" in err
    scores = pd.read_csv("s.csv")
    assert scores["clip"].tolist() == ["Raw/v0/0.mp4", "Raw/v1/1.mp4"]
    assert "vision missing: no face was found" in scores["warnings"][1]


def test_silence_is_a_missing_modality(extractor: Extractor, tmp_path: Path) -> None:
    found = extractor(make_clip(tmp_path / "a.mp4", sound=False))
    assert found.audio is None
    assert found.notes[0].startswith("audio missing: silence")
    with pytest.raises(ClipError, match=r"silence.*no face"):
        extractor(make_clip(tmp_path / "b.mp4", sound=False, face=False))


def test_hostile_files_end_in_time_and_memory(extractor: Extractor, tmp_path: Path) -> None:
    extractor(make_clip(tmp_path / "first.mp4"))  # the libraries are loaded
    told = []
    for name, path in make_hostile(tmp_path).items():
        started = time.monotonic()
        try:
            told.append(str(extractor(path)).replace("\n", " "))
        except ClipError as error:
            told.append(str(error))
        assert time.monotonic() - started < 30, name
        used = [
            child.memory_info().rss for child in psutil.Process().children(recursive=True)
            if child.is_running()
        ]  # fmt: skip
        assert max(used, default=0) < 1 << 30, name
    assert not [text for text in told if SECRET in text or "\n" in text]


@pytest.mark.slow
def test_ten_at_once_equal_each_alone(tmp_path: Path) -> None:
    clips = [
        make_clip(tmp_path / f"{n}.mp4", seed=n, tone=100 + 15 * n, seconds=1 + n / 10)
        for n in range(10)
    ]
    with Extractor(recipe.load("default")) as one:
        alone = [one(clip) for clip in clips]
        with ThreadPoolExecutor(10) as pool:
            shared = list(pool.map(one, clips))
    with (
        Extractor(recipe.load("default")) as one,
        Extractor(recipe.load("default")) as other,
        ThreadPoolExecutor(10) as pool,
    ):
        places = [one, other] * 5
        pairs = list(pool.map(lambda place, clip: place(clip), places, clips))
    for place in range(10):
        assert same(alone[place], shared[place])
        assert same(alone[place], pairs[place])
    assert not any(same(alone[0], other) for other in alone[1:])


@pytest.mark.slow
def test_a_worker_that_hangs_or_dies_is_replaced(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    with Extractor(recipe.load("default"), limits=Limits(wait=25)) as one:
        expected = one(clip)
        assert one._worker is not None
        process = psutil.Process(one._worker._process.pid)
        process.suspend()
        object.__setattr__(one.limits, "wait", 2.0)
        with pytest.raises(ClipError, match="no features within 2 s"):
            one(clip)
        assert not process.is_running()
        object.__setattr__(one.limits, "wait", 25.0)
        assert same(one(clip), expected)
        one._worker._process.kill()
        with pytest.raises(ClipError, match="MMSA-FET ended"):
            one(clip)
        assert same(one(clip), expected)


@pytest.mark.slow
def test_nothing_is_left_in_temporary_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"x")
    with Extractor(recipe.load("default")) as one:
        one(make_clip(tmp_path / "a.mp4"))
        with pytest.raises(ClipError):
            one(bad)
    assert list(folder.iterdir()) == []


def test_without_mmsa_fet_the_user_is_told_what_to_do(tmp_path: Path) -> None:
    python = shutil.which("python3")
    with Extractor(recipe.load("default"), python=python) as one, pytest.raises(UserError) as told:
        one(make_clip(tmp_path / "a.mp4"))
    assert "MMSA-FET does not run in" in str(told.value)
    assert "--fet-python or MMSA_FET_PYTHON" in str(told.value)


@pytest.mark.slow
def test_in_a_browser_a_clip_is_scored_and_rescored_without_audio(
    run: Path, tmp_path: Path
) -> None:
    browser = program()
    from playwright.sync_api import sync_playwright

    clip = make_clip(tmp_path / "clip.mp4", seed=5)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "mmsa_suparc", "app", "--run", str(run), "--port", str(port)],
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    asked: list[str] = []
    try:
        with sync_playwright() as driver:
            flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
            page = driver.chromium.launch(executable_path=browser, args=flags).new_page()
            page.on("request", lambda request: asked.append(request.url))
            for _ in range(120):
                try:
                    page.goto(f"http://127.0.0.1:{port}/")
                    break
                except Exception:
                    assert process.poll() is None
                    time.sleep(0.5)
            page.wait_for_selector("textarea", timeout=60_000)
            page.set_input_files("input[type=file]", str(clip))
            page.wait_for_selector("#score", timeout=120_000)
            page.fill("textarea", "<b>i love it</b>")
            before = page.get_attribute("#score", "data-score")
            page.click("button:has-text('Score')")
            page.wait_for_function(
                "old => document.querySelector('#score').dataset.score !== old", arg=before
            )
            whole = page.get_attribute("#score", "data-score")
            assert page.locator("[data-bar]").count() == 3
            page.get_by_label("audio").uncheck()
            page.wait_for_function(
                "old => document.querySelector('#score').dataset.score !== old", arg=whole
            )
            assert "not used" in page.locator("[data-bar=audio]").inner_text()
        uploads = [path for path in tmp_path.glob("mmsa-app-*/**/*") if path.is_file()]
        assert [path for path in uploads if path.suffix == ".mp4"] == []
    finally:
        process.terminate()
        process.wait(60)
    assert asked
    own = (f"http://127.0.0.1:{port}/", f"blob:http://127.0.0.1:{port}/", "data:")
    assert [url for url in asked if not url.startswith(own)] == []
