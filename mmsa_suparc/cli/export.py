"""Write a trained SupArc as ONNX or torch.export.

  mmsa export --run runs/mine --out model.onnx
  mmsa export --run runs/mine --out model.pt2 --format torch --with-text-encoder

The file takes features that are normalised as in training; without --with-text-encoder also the
text encoder's vector of the first token instead of tokens.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmsa_suparc.cli import values


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run", type=values.path, required=True, metavar="DIR", help="the --run-dir of mmsa run"
    )
    parser.add_argument(
        "--out", type=values.path, required=True, metavar="FILE", help="the file to write"
    )
    parser.add_argument("--format", choices=("onnx", "torch"), default="onnx", help="default onnx")
    parser.add_argument(
        "--with-text-encoder", action="store_true", help="tokens in, instead of their vector"
    )
    parser.add_argument(
        "--seed", type=values.seed, default=None, metavar="N", help="as in mmsa predict"
    )
    parser.add_argument("-v", "--verbose", type=int, choices=(0, 1, 2), default=1)


def handle(options: argparse.Namespace) -> int:
    from mmsa_suparc import extras
    from mmsa_suparc.cli.options import file_to_write, quiet_libraries
    from mmsa_suparc.data.files import try_writing

    out = file_to_write(options.out)
    quiet_libraries(options.verbose)
    from mmsa_suparc.runs.records import Records

    run = Path(options.run).expanduser()
    Records(run).to_serve(options.seed)  # or refuse it at once
    if options.format == "onnx":
        extras.require("onnxscript", "--format onnx")
    try_writing(out.parent)
    from mmsa_suparc.runs import servable
    from mmsa_suparc.serving.export import NAMES, export

    served = servable.load(run, options.seed)
    export(served, out, kind=options.format, with_text_encoder=options.with_text_encoder)
    text = "text" if options.with_text_encoder else "text_vector"
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB; in: {', '.join((text, *NAMES))}")
    print("out: score, fusion")
    return 0
