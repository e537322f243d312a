"""Trainers whose own source ends them."""

from __future__ import annotations

import ast
import contextlib
import inspect
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from mmsa_suparc.toolkit.modules import trainer_modules
from mmsa_suparc.toolkit.patching import patch, replace

#: What the three trainers of models with unimodal labels log before they have measured it.
EARLY = "train_results"


@patch(
    "log-after-measuring",
    does="MLF_DNN, MTFN and MLMF log an epoch's metrics after measuring them, not before",
    answers="trains/multiTask/MLF_DNN.py:80, MTFN.py:81, MLMF.py:82",
)
def log_after_measuring(undo: contextlib.ExitStack) -> None:
    for module in trainer_modules():
        for trainer in [one for one in vars(module).values() if isinstance(one, type)]:
            train = vars(trainer).get("do_train")
            if trainer.__module__ == module.__name__ and inspect.isfunction(train):
                mended = _mended(train)
                if mended is not None:
                    replace(undo, trainer, "do_train", mended)


def _mended(train: Callable[..., Any]) -> Callable[..., Any] | None:
    """The function with the log line behind the loop that measures what it logs; None where it
    is not before it, as in the toolkit's newer version."""
    path = inspect.getsourcefile(train) or ""
    tree = ast.parse("".join(inspect.findsource(train)[0]))
    function = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.lineno == train.__code__.co_firstlineno
    )
    for node in ast.walk(function):
        body = getattr(node, "body", None)
        for line, loop in list(pairwise(body if isinstance(body, list) else [])):
            if _reads(line, ast.Load) and isinstance(loop, ast.For) and _reads(loop, ast.Store):
                place = body.index(line)  # type: ignore[union-attr]
                body[place : place + 2] = [loop, line]  # type: ignore[index]
                made: dict[str, Any] = {}
                only = ast.Module(body=[function], type_ignores=[])
                exec(compile(only, path, "exec"), train.__globals__, made)
                return made[function.name]
    return None


def _reads(node: ast.AST, context: type[ast.expr_context]) -> bool:
    """Whether :data:`EARLY` occurs in it in this way, and is not measured there itself."""
    uses = {
        type(name.ctx) for name in ast.walk(node) if isinstance(name, ast.Name) and name.id == EARLY
    }
    return context in uses and (context is ast.Store or ast.Store not in uses)
