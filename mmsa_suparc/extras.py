"""Libraries that come with an extra: said to be absent before anything is loaded."""

from __future__ import annotations

from importlib.util import find_spec

from mmsa_suparc.errors import UserError

#: What Python imports: what it is called, and the extra that brings it.
EXTRAS = {
    "gradio": ("Gradio", "app"),
    "onnxscript": ("ONNX", "export"),
    "optuna": ("Optuna", "tune"),
    "ray": ("Ray", "ray"),
    "submitit": ("submitit", "slurm"),
}


def require(package: str, asked: str) -> None:
    """Refuse what needs a library that is not installed; nothing of it is loaded.

    Args:
        package: one of ``EXTRAS``.
        asked: the command or option that needs it.

    Raises:
        UserError: names the extra.
    """
    name, extra = EXTRAS[package]
    if find_spec(package) is None:
        raise UserError(f"{asked}: {name} is not installed; pip install 'mmsa-suparc[{extra}]'")
