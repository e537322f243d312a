"""Score clips with a trained model, and say what each modality did.

  mmsa predict --run runs/mine --video clip.mp4 --text "I liked it a lot"
  mmsa predict --run runs/mine --csv clips.csv --out scores.csv     columns path, text
  mmsa predict --run runs/mine --video talk.mp4 --every 5 --out talk.csv    and talk.png
  mmsa predict --run runs/mine --features clips.pkl --out scores.csv
  mmsa predict --run runs/mine --text "I liked it a lot"      words without a video

Without words text is a missing modality; --speech-recognition takes them from the sound, with a
model of yours. A video needs a model that was trained on a file of mmsa extract: its features are
then made in the same way. A model of the toolkit also needs its text encoder, where the run had it;
a modality that is left out is zeros to it, which is said.

Exit status: 0 done, 1 a clip of --csv could not be scored, 2 bad input.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mmsa_suparc.cli import values
from mmsa_suparc.cli.options import add_extraction
from mmsa_suparc.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run", type=values.path, required=True, metavar="DIR", help="the --run-dir of mmsa run"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--video", type=values.path, metavar="FILE", help="one clip")
    source.add_argument(
        "--csv", type=values.path, metavar="FILE", help="many: columns path, text (and id)"
    )
    source.add_argument(
        "--features", type=values.path, metavar="FILE", help="all clips of a feature file"
    )
    words = parser.add_mutually_exclusive_group()
    words.add_argument("--text", metavar="WORDS", help="what is said in the video, or words alone")
    words.add_argument(
        "--text-file", type=values.path, metavar="FILE", help="likewise, from a file"
    )
    words.add_argument(
        "--speech-recognition", metavar="NAME_OR_PATH",
        help="a wav2vec2 or whisper model that writes down what is said",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=values.seed, default=None, metavar="N",
        help="which training of the run; default the best on validation",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--out", type=values.path, default=None, metavar="FILE", help="also write a CSV"
    )
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu, cuda, cuda:N")
    parser.add_argument(
        "--precision", default=None, choices=("auto", "fp32", "bf16", "fp16"),
        help="in which the text encoder computes; default as in the run's own predictions",
    )  # fmt: skip
    parser.add_argument(
        "--classes", type=int, choices=(2, 3, 5, 7), default=None,
        help="labels of so many classes, with the bins of the metrics; default negative, neutral, "
        "positive, where neutral is 5%% around the middle",
    )  # fmt: skip
    parser.add_argument(
        "--every", type=values.number(0.01, 600), default=None, metavar="SECONDS",
        help="of one --video: a score a window of so many seconds; --out also writes the curve as "
        "PNG beside its CSV",
    )  # fmt: skip
    add_extraction(parser, recipe=False)
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    from mmsa_suparc.cli.options import end_cleanly, extraction_limits, quiet_libraries
    from mmsa_suparc.runs.records import Records

    words = options.text is not None or options.text_file is not None
    if words and (options.csv or options.features):
        raise UserError("--text and --text-file say what one --video says")
    if not (words or options.video or options.csv or options.features):
        raise UserError(
            "one of the arguments --video --csv --features is required, or words alone: --text"
        )
    if options.every and not options.video:
        raise UserError("--every divides one --video into windows")
    limits = extraction_limits(options)
    end_cleanly()
    quiet_libraries(options.verbose)
    values.device(options.device)
    run = Records(Path(options.run).expanduser())
    record = run.to_serve(options.seed, any_model=True)  # or refuse it at once
    clips = _refuse_early(options, run.path, record["model"])
    from mmsa_suparc.serving.any_model import load_predictor
    from mmsa_suparc.training.runtime import find_device

    predictor = load_predictor(
        options.run, seed=options.seed, fet_python=options.fet_python, limits=limits,
        device=str(find_device(options.device)), precision=options.precision,
        classes=options.classes,
    )  # fmt: skip
    try:
        if options.every:
            _tell_over_time(options, clips, predictor, limits)
            return 0
        faults: list[str] = []
        if options.features:
            names, found = predictor.predict_file(options.features)
        else:
            names, found, faults = _of_videos(clips, predictor, options, limits)
    finally:
        predictor.close()
    _tell(options, names, found)
    for fault in faults:
        print(f"skipped: {fault}", file=sys.stderr)
    return 1 if faults else 0


#: (name, video, words) of each; words may stand without a video.
Clips = list[tuple[str, "Path | None", "str | None"]]


def _refuse_early(options: argparse.Namespace, run: Path, model: str) -> Clips:
    """What can be found wrong before torch is loaded; the clips that are to be scored.

    Raises:
        UserError: a file that is not there or not what it should be, a model that takes no videos,
            or MMSA-FET is not there to read them.
        DiskError: --out cannot be written.
    """
    from mmsa_suparc.cli.options import file_to_write
    from mmsa_suparc.data import reader
    from mmsa_suparc.data.files import try_writing
    from mmsa_suparc.runs.records import NOT_OF_VIDEOS, made_of_videos, require_clips
    from mmsa_suparc.videos.fet import find_python, require_fet

    if options.out is not None:
        try_writing(file_to_write(options.out).parent)
    if options.features:
        reader.read(Path(options.features).expanduser())
        return []
    require_clips(model)
    clips = _clips(options)
    if clips[0][1] is None:
        return clips
    if not made_of_videos(run):
        raise UserError(f"{NOT_OF_VIDEOS}. Use --features")
    if options.video and not clips[0][1].is_file():
        raise UserError(f"--video {options.video}: no such file")
    require_fet(find_python(options.fet_python))
    return clips


def _clips(options: argparse.Namespace) -> Clips:
    """What is to be scored."""
    if not options.csv:
        text = options.text
        if options.text_file:
            try:
                text = Path(options.text_file).expanduser().read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(f"--text-file {options.text_file}: {_said(error)}") from None
        if not options.video:
            return [("words", None, text)]
        return [(Path(options.video).name, Path(options.video).expanduser(), text)]
    import pandas as pd

    path = Path(options.csv).expanduser()
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"--csv {path}: {_said(error)}") from None
    if "path" not in table or table.empty:
        raise UserError(f"--csv {path}: expected a column 'path' and a clip a row")
    texts = table["text"] if "text" in table else [""] * len(table)
    names = table["id"] if "id" in table else table["path"]
    return [
        (str(name), path.parent / str(video), str(text) or None)
        for name, video, text in zip(names, table["path"], texts, strict=True)
    ]


def _said(error: Exception) -> str:
    """What is wrong with a file, in a line that does not name it again."""
    return getattr(error, "strerror", None) or str(error).splitlines()[0]


def _of_videos(
    clips: Clips, predictor: Any, options: argparse.Namespace, limits: Any
) -> tuple[list[str], list[Any], list[str]]:
    from mmsa_suparc.progress import progress
    from mmsa_suparc.videos.media import ClipError

    listener = _listener(options, limits)
    names, found, faults = [], [], []
    bar = progress(None, "clips", len(clips))
    for name, video, text in clips:
        try:
            words = text
            if words is None and listener is not None and video is not None:
                words = listener(video)
            prediction = predictor.predict(video=video, text=words)
        except ClipError as error:
            if not options.csv:
                raise UserError(f"{name}: {error}") from None
            faults.append(f"{name}: {error}")
        else:
            names.append(name)
            found.append(prediction)
        bar.update()
    bar.close()
    return names, found, faults


def _tell_over_time(options: argparse.Namespace, clips: Clips, predictor: Any, limits: Any) -> None:
    """``--every``: a row a window, and the curve."""
    from mmsa_suparc.cli.json_output import print_json
    from mmsa_suparc.serving import timeline
    from mmsa_suparc.videos.media import ClipError

    ((name, video, text),) = clips
    assert video is not None  # --every needs one
    listener = _listener(options, limits)
    try:
        words = listener(video) if text is None and listener is not None else text
        table = predictor.predict_over_time(video, every=options.every, text=words)
    except ClipError as error:
        raise UserError(f"{name}: {error}") from None
    picture = None
    if options.out:
        out = Path(options.out).expanduser()
        picture = timeline.write(table, out, predictor.serving.score_range)
    if options.json:
        print_json(table.to_dict("records"))
        return
    for row in table.itertuples():
        said = row.error or f"{row.score:+.3f}  {row.label}"
        print(f"{row.start:7.1f} to {row.end:.1f} s  {said}")
    if picture:
        print(f"curve: {picture}")


def _listener(options: argparse.Namespace, limits: Any) -> Any:
    if not options.speech_recognition:
        return None
    from mmsa_suparc.videos.speech import Listener

    return Listener(options.speech_recognition, limits=limits)


def _tell(options: argparse.Namespace, names: list[str], found: list[Any]) -> None:
    from mmsa_suparc.serving.prediction import scores_table

    rows = scores_table(names, found)
    if options.out:
        import pandas as pd

        from mmsa_suparc.data.files import write_text

        write_text(Path(options.out).expanduser(), pd.DataFrame(rows).to_csv(index=False))
    if options.json:
        content = [{"clip": n, **p.as_dict()} for n, p in zip(names, found, strict=True)]
        many = options.csv or options.features
        print(json.dumps(content if many else content[0], ensure_ascii=False))
        return
    from rich.markup import escape
    from rich.table import Table

    from mmsa_suparc.cli.console import print_whole

    made_in = ", ".join(sorted({row["precision"] for row in rows}))
    table = Table(caption=f"text encoder in {made_in}", caption_justify="left")
    for column in ("clip", "score", "label", "without text", "without audio", "without vision"):
        table.add_column(column, overflow="fold", justify="left" if column == "clip" else "right")
    for row in rows:
        numbers = [row["score"], row["without_text"], row["without_audio"], row["without_vision"]]
        score, *without = ["–" if value is None else f"{value:+.3f}" for value in numbers]
        table.add_row(escape(row["clip"]), score, row["label"], *without)
    print_whole(table)
    of_all = set.intersection(*(set(one.warnings) for one in found)) if len(found) > 1 else set()
    for warning in sorted(of_all):
        print(f"all clips: {warning}")
    for name, one in zip(names, found, strict=True):
        if warnings := [warning for warning in one.warnings if warning not in of_all]:
            print(f"{name}: {'; '.join(warnings)}")
