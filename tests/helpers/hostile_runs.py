"""Run folders that a stranger could have made: one part of a good one is changed in each."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from safetensors.torch import load_file, save_file

Change = Callable[[Path], None]


class Hostile(NamedTuple):
    """A way to spoil a run folder, and a word of the line that has to come of it."""

    name: str
    spoil: Change
    says: str


#: Files of a run folder by a short name.
FILES = {
    "records": "records.jsonl",
    "serving": "serving.json",
    "environment": "seed-1/environment.json",
    "config": "seed-1/config.yaml",
    "weights": "seed-1/model.safetensors",
    "encoder": "encoder/config.json",
    "tokenizer": "encoder/tokenizer.json",
    "tokenizer's settings": "encoder/tokenizer_config.json",
}
#: Code that would leave a file where the command runs.
CODE = "import pathlib\npathlib.Path('ran').write_text('')\n"
#: Nine lists of nine of the one before: a billion values.
BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


def hostile_runs() -> Iterator[Hostile]:
    """All of them."""
    for kind, path in FILES.items():
        for name, spoil in _NOT_A_FILE.items():
            if (kind, name) not in _ALL_THE_SAME:
                yield Hostile(f"{kind}: {name}", _at(path, spoil), "")
    for kind, texts in _TEXTS.items():
        for name, text in texts.items():
            yield Hostile(f"{kind}: {name}", _at(FILES[kind], _write(text)), "")
    for kind, changes in _VALUES.items():
        for name, (values, says) in changes.items():
            yield Hostile(f"{kind}: {name}", _at(FILES[kind], _update(values)), says)
    for name, (change, says) in _RECORDS.items():
        yield Hostile(f"records: {name}", _record(change), says)
    for name, (weights, says) in _WEIGHTS.items():
        yield Hostile(f"weights: {name}", weights, says)
    for name, (folder, says) in _FOLDERS.items():
        yield Hostile(f"folder: {name}", folder, says)


def _at(path: str, spoil: Change) -> Change:
    return lambda run: spoil(run / path)


def _write(text: str | bytes) -> Change:
    content = text if isinstance(text, bytes) else text.encode()
    return lambda path: path.write_bytes(content) and None


def _update(values: dict[str, Any]) -> Change:
    """Some values of a JSON or YAML file (which JSON is); one that is ``...`` is removed."""

    def spoil(path: Path) -> None:
        read = json.loads if path.suffix == ".json" else yaml.safe_load
        content = read(path.read_text()) | values
        path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))

    return spoil


def _record(change: Callable[[dict], Any]) -> Change:
    def spoil(run: Path) -> None:
        path = run / FILES["records"]
        record = json.loads(path.read_text())
        changed = change(record)
        path.write_text(json.dumps(record if changed is None else changed) + "\n")

    return spoil


def _weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    """Other tensors, with the checksum that belongs to them."""

    def spoil(run: Path) -> None:
        path = run / FILES["weights"]
        tensors = load_file(path)
        change(tensors)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
        _sign(run)

    return spoil


def _bytes(change: Callable[[bytes], bytes], *, signed: bool = True) -> Change:
    """Other bytes of the weights file."""

    def spoil(run: Path) -> None:
        path = run / FILES["weights"]
        path.write_bytes(change(path.read_bytes()))
        if signed:
            _sign(run)

    return spoil


def _sign(run: Path) -> None:
    checksum = sha256((run / FILES["weights"]).read_bytes()).hexdigest()
    _record(lambda record: record.update(weights=checksum))(run)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _endless(path: Path) -> None:
    """Larger than memory by what it says; on disk it takes nothing."""
    with path.open("r+b") as file:
        file.truncate(1 << 40)


_NOT_A_FILE: dict[str, Change] = {
    "absent": Path.unlink,
    "a pipe": _pipe,
    "a device": _device,
    "a folder": _folder,
    "a tebibyte": _endless,
    "bytes": _write(bytes(range(256)) * 4),
}
#: Without its settings a tokenizer still works.
_ALL_THE_SAME = {("tokenizer's settings", "absent")}

_DEEP = "[" * 100_000
_TEXTS: dict[str, dict[str, str]] = {
    "records": {"nothing": "", "deep": _DEEP + "\n", "many": "{}\n" * 1_300_000},
    "serving": {"a list": "[1]", "a word": '"x"', "deep": _DEEP, "no object": "{"},
    "environment": {"a list": "[1]", "deep": _DEEP},
    "config": {
        "a list": "[1]",
        "a word": "x",
        "a bomb": BOMB,
        "itself": "a: &a [*a]",
        "code": "!!python/object/apply:os.system ['touch ran']",
        "deep": "a: " + _DEEP,
    },
    "encoder": {"a list": "[1]", "nothing": "{}", "deep": _DEEP},
    "tokenizer": {"a list": "[1]", "nothing": "{}", "deep": _DEEP},
    "tokenizer's settings": {"a list": "[1]", "deep": _DEEP},
}
_RECIPE = {"audio": {"tool": "opensmile"}, "video": None}
_VALUES: dict[str, dict[str, tuple[dict[str, Any], str]]] = {
    "serving": {
        "no widths": ({"widths": ...}, "widths"),
        "width of no number": ({"widths": {"audio": "x", "vision": 16}}, "widths.audio"),
        "width 0": ({"widths": {"audio": 0, "vision": 16}}, "widths.audio"),
        "width of a thousand million": ({"widths": {"audio": 10**9, "vision": 16}}, "widths.audio"),
        "width of another": ({"widths": {"audio": 13, "vision": 16}}, "not the weights"),
        "no token": ({"tokens": 0}, "tokens"),
        "a thousand million tokens": ({"tokens": 10**9}, "tokens"),
        "more tokens than places": ({"tokens": 4_000}, "it does not compute"),
        "range of NaN": ({"score_range": [float("nan"), 3]}, "score_range"),
        "range without end": ({"score_range": [-3, float("inf")]}, "score_range"),
        "range of one": ({"score_range": [3]}, "score_range"),
        "range reversed": ({"score_range": [3, -3]}, "lowest score first"),
        "features of a list": ({"features": [1]}, "features"),
        "recipe of a word": ({"features": {"recipe": "x"}}, "recipe"),
        "recipe of a program": (
            {"features": {"recipe": {"audio": {"tool": "sh -c 'touch ran'"}}}},
            "audio.tool",
        ),
        "normalisation of others": (
            {"features": {"recipe": _RECIPE, "audio": {"mean": [0], "deviation": [1]}}},
            "12 means",
        ),
        "normalisation by 0": (
            {"features": {"recipe": _RECIPE, "audio": {"mean": [0] * 12, "deviation": [0] * 12}}},
            "deviations > 0",
        ),
    },
    "environment": {"precision of none": ({"precision": "int4"}, "precision")},
    "config": {
        "a million layers": ({"lstm_layers": 10**6}, "lstm_layers"),
        "width of a thousand million": ({"fusion_width": 10**9}, "fusion_width"),
        "width of another": ({"fusion_width": 64}, "not the weights"),
        "units of no number": ({"audio_hidden": "x"}, "audio_hidden"),
        "a modality of none": ({"modalities": ["smell"]}, "modalities"),
        "dropout 2": ({"dropout": 2}, "dropout"),
        "batches of 20 digits": ({"batch_size": 10**19}, "batch_size"),
    },
    "encoder": {
        "no type": ({"model_type": ...}, "cannot be loaded"),
        "type of none": ({"model_type": "none"}, "cannot be loaded"),
        "type of a list": ({"model_type": ["bert"]}, "cannot be loaded"),
        "type of pictures": ({"model_type": "resnet"}, ""),
        "a million layers": ({"num_hidden_layers": 10**6}, "num_hidden_layers"),
        "a broken number of layers": ({"num_hidden_layers": 1e6}, "num_hidden_layers"),
        "fewer layers": ({"num_hidden_layers": 1}, "not the weights"),
        "layers of no number": ({"num_hidden_layers": "x"}, "cannot be loaded"),
        "width of a thousand million": ({"hidden_size": 10**9}, "hidden_size"),
        "inner width of 200,000": ({"intermediate_size": 200_000}, "not the weights"),
        "words of 10^12": ({"vocab_size": 10**12}, "vocab_size"),
        "fewer words": ({"vocab_size": 50}, "not the weights"),
        "7 heads": ({"num_attention_heads": 7}, "cannot be loaded"),
        "no head": ({"num_attention_heads": 0}, "cannot be loaded"),
        "a thousand million classes": ({"num_labels": 10**9}, "num_labels"),
        "attention of a repository": ({"attn_implementation": "a/b"}, "code from elsewhere"),
        "activation of none": ({"hidden_act": "none"}, "cannot be loaded"),
        "numbers of none": ({"dtype": "float99"}, "cannot be loaded"),
    },
}


def _with_code(model_type: str | None) -> Change:
    """An encoder that brings code of its own, as the hub's do."""

    def spoil(run: Path) -> None:
        (run / "encoder" / "evil.py").write_text(CODE)
        names = ("AutoConfig", "AutoModel", "AutoTokenizer")
        values = {"auto_map": dict.fromkeys(names, "evil.Evil"), "model_type": model_type}
        _update(values)(run / FILES["encoder"])
        _update({"auto_map": {"AutoTokenizer": ["evil.Evil", None]}, "tokenizer_class": "Evil"})(
            run / FILES["tokenizer's settings"]
        )

    return spoil


def _hundred_files(run: Path) -> None:
    for number in range(100):
        (run / "encoder" / f"{number}.txt").write_text("")


def _loop(run: Path) -> None:
    shutil.rmtree(run / "encoder")
    (run / "encoder").symlink_to("encoder")


def _encoder_is_a_file(run: Path) -> None:
    shutil.rmtree(run / "encoder")
    (run / "encoder").write_text("")


_FOLDERS: dict[str, tuple[Change, str]] = {
    "encoder with code of an unknown type": (_with_code("evil"), ""),
    "encoder with code of no type": (_with_code(None), ""),
    "no encoder": (lambda run: shutil.rmtree(run / "encoder"), "encoder"),
    "encoder of a file": (_encoder_is_a_file, "encoder"),
    "encoder of itself": (_loop, "encoder"),
    "encoder of a hundred files": (_hundred_files, "files"),
    "no seed": (lambda run: shutil.rmtree(run / "seed-1"), "not complete"),
}
_RECORDS: dict[str, tuple[Callable[[dict], Any], str]] = {
    "a number": (lambda record: 1, "line 1"),
    "a list": (lambda record: [record], "line 1"),
    "empty": (lambda record: {}, "line 1"),
    "no seed": (lambda record: record.pop("seed") and None, "seed"),
    "seed of a path": (lambda record: record.update(seed="../../etc"), "seed"),
    "seed true": (lambda record: record.update(seed=True), "seed"),
    "seed -1": (lambda record: record.update(seed=-1), "seed"),
    "no model": (lambda record: record.pop("model") and None, "model"),
    "metrics of a list": (lambda record: record.update(metrics=[1]), "metrics"),
    "metrics of words": (
        lambda record: record["metrics"]["valid"].update(MAE="x"),
        "metrics.valid.MAE",
    ),
    "weights of a number": (lambda record: record.update(weights=1), "weights"),
    "no identity": (lambda record: record.pop("identity") and None, "identity"),
    "other weights": (lambda record: record.update(weights="0" * 64), "checksum differs"),
}
_HEAD = b'{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,99999999]}}'
_WIDE = b'{"a":{"dtype":"F32","shape":[1000000000000,0],"data_offsets":[0,0]}}'
_NAME = "Model.fusion.1.weight"
_WEIGHTS: dict[str, tuple[Change, str]] = {
    "empty": (_bytes(lambda content: b""), "safetensors"),
    "7 bytes": (_bytes(lambda content: content[:7]), "safetensors"),
    "a header of 2^60": (_bytes(lambda c: struct.pack("<Q", 1 << 60) + c[8:]), "safetensors"),
    "a header beyond the end": (
        _bytes(lambda c: struct.pack("<Q", 1 << 21) + c[8:]),
        "safetensors",
    ),
    "a header of bytes": (_bytes(lambda c: c[:8] + b"\xff" * 9 + c[17:]), "safetensors"),
    "a tensor beyond the end": (
        _bytes(lambda c: struct.pack("<Q", len(_HEAD)) + _HEAD),
        "safetensors",
    ),
    "a tensor of no bytes": (_bytes(lambda c: struct.pack("<Q", len(_WIDE)) + _WIDE), ""),
    "cut": (_bytes(lambda content: content[:-100]), "safetensors"),
    "a bit flipped": (
        _bytes(lambda c: c[:-1] + bytes([c[-1] ^ 1]), signed=False),
        "checksum differs",
    ),
    "a pickle": (_bytes(lambda c: b"\x80\x04cos\nsystem\n(X\x09\0\0\0touch rantR."), "safetensors"),
    "a tensor missing": (_weights(lambda t: t.pop(_NAME)), _NAME.removeprefix("Model.")),
    "a tensor more": (_weights(lambda t: t.update(more=torch.ones(1))), "more"),
    "a tensor reshaped": (
        _weights(lambda t: t.update({_NAME: t[_NAME].T})),
        _NAME.removeprefix("Model."),
    ),
    "NaN": (_weights(lambda t: t[_NAME].view(-1)[:1].fill_(float("nan"))), "not finite"),
    "infinite": (_weights(lambda t: t[_NAME].view(-1)[:1].fill_(float("inf"))), "not finite"),
    "too large to multiply": (_weights(lambda t: t[_NAME].fill_(1e38)), "not finite"),
}
