"""Open a local page: upload a clip, type its words, untick modalities, watch the score.

  mmsa app --run runs/mine

The page is for this machine only unless --host says otherwise. It takes videos and words, nothing
else; uploads are deleted as soon as they are read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmsa_suparc.cli import values
from mmsa_suparc.cli.options import add_extraction
from mmsa_suparc.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run", type=values.path, required=True, metavar="DIR", help="the --run-dir of mmsa run"
    )
    parser.add_argument(
        "--seed", type=values.seed, default=None, metavar="N",
        help="serve this seed alone; default the one with the best validation MAE, and an "
        "interval over the run's seeds",
    )  # fmt: skip
    parser.add_argument(
        "--most-seeds", type=values.whole(1, 100), default=5, metavar="N",
        help="of the interval, each a model in memory; default 5, 1 shows none",
    )  # fmt: skip
    parser.add_argument(
        "--example", type=values.path, default=None, metavar="VIDEO",
        help="the clip of the example button, for all who open the page",
    )  # fmt: skip
    parser.add_argument(
        "--example-words", default=None, metavar="TEXT", help="and what is said in it"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="default 127.0.0.1: here only"
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="with --host 0.0.0.0: a name or address by which others ask for the page; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=values.whole(1, 65_535), default=7860, metavar="N", help="default 7860"
    )
    parser.add_argument(
        "--max-megabytes",
        type=values.whole(1, 1_000_000),
        default=100,
        metavar="N",
        help="largest upload; default 100",
    )
    add_extraction(parser, recipe=False)
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    import os

    from mmsa_suparc import extras
    from mmsa_suparc.cli.options import end_cleanly, extraction_limits, quiet_libraries
    from mmsa_suparc.runs.records import NOT_OF_VIDEOS, Records, made_of_videos, require_clips

    limits = extraction_limits(options)
    # Refuse at once what cannot be served.
    run = Path(options.run).expanduser()
    require_clips(Records(run).to_serve(options.seed, any_model=True)["model"])
    video = None if options.example is None else Path(options.example).expanduser()
    if video is not None and not video.is_file():
        raise UserError(f"--example {video}: no such file")
    if video is not None and not made_of_videos(run):
        raise UserError(f"--example: {NOT_OF_VIDEOS}")
    _check_port(options.host, options.port)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    extras.require("gradio", "mmsa app")
    quiet_libraries(options.verbose)
    from mmsa_suparc.serving import app, example, seeds
    from mmsa_suparc.serving.any_model import load_predictor

    end_cleanly()
    how = {"fet_python": options.fet_python, "limits": limits}
    predictor = load_predictor(run, seed=options.seed, **how)
    shown = example.of(predictor.serving, video, options.example_words)
    more = options.most_seeds - 1 if options.seed is None else 0
    page = app.Page(predictor, seeds.others(run, predictor.serving.seed, more, **how), shown)
    print(f"http://{options.host}:{options.port}  (Ctrl-C ends it)", flush=True)
    try:
        app.serve(
            page, host=options.host, port=options.port, most=options.max_megabytes << 20,
            names=tuple(options.allow_host),
        )  # fmt: skip
    finally:
        predictor.close()
    return 0


def _check_port(host: str, port: int) -> None:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise UserError(f"--host {host} --port {port}: {error.strerror}") from None
