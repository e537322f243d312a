"""Run one cell of a benchmark: what mmsa bench starts for each.

The folder holds spec.json; the results lie beside it.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="a folder that mmsa bench made")
    parser.add_argument(
        "--feature-file", default=None, metavar="FILE", help="where it is on this machine"
    )
    parser.add_argument("--text-encoder", default=None, metavar="NAME_OR_PATH", help="likewise")


def handle(options: argparse.Namespace) -> int:
    from mmsa_suparc.cli.options import quiet_libraries
    from mmsa_suparc.errors import UserError

    if hasattr(signal, "SIGUSR2"):  # Slurm's word to a whole job; who started this one answers it
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    quiet_libraries(1)
    from mmsa_suparc.bench.folder import CellFolder
    from mmsa_suparc.bench.run_cell import run_cell

    folder = CellFolder(Path(options.folder))
    if not folder.has_spec():
        raise UserError(f"{options.folder}: no spec.json; expected a folder that mmsa bench made")
    parent = os.environ.get("MMSA_BENCH_PARENT")
    if parent is not None:  # which may have been killed while the libraries were loaded
        threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    named = {"featurePath": options.feature_file, "pretrained": options.text_encoder}
    run_cell(folder, {key: name for key, name in named.items() if name is not None})
    return 0


def _end_with(parent: int) -> None:
    """Stop, saving the state, when the benchmark has been killed: nobody waits any more."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
