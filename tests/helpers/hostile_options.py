"""A hundred and twenty-four hostile options and configuration files, by tables."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Nine values, each a list of nine of the one before: a billion of them.
BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
LONG = "x" * 300
#: The byte 255 as Python hands it to a program: half a character.
NO_TEXT = "a\udcff"


@dataclass(frozen=True)
class Case:
    """One hostile command line, with the file ``mine`` that it may name."""

    name: str
    argv: tuple[str, ...]
    word: str  # that the line holds
    file: bytes | None = None

    @property
    def status(self) -> int:
        """4 where a folder cannot be written to, 2 otherwise."""
        return 4 if self.word == "cannot write" else 2

    def prepare(self, folder: Path) -> None:
        """Make what the command line names."""
        if self.file is not None:
            (folder / "mine.yaml").write_bytes(self.file)
            (folder / "mine.json").write_bytes(self.file)
        if "pipe" in self.argv:
            os.mkfifo(folder / "pipe")
        (folder / "folder").mkdir()
        (folder / "text").write_text("text\n")
        (folder / "loop").symlink_to("loop")


#: ``--set`` for SupArc on the demo data, and a word of the refusal.
SUPARC = {
    # sizes
    "batch_size=99999999999999999999": "65536",
    "batch_size=65537": "65536",
    "batch_size=-1": "greater than or equal to 1",
    "batch_size=1e400": "batch_size",
    "batch_size=0x" + "f" * 2_000: "batch_size",
    "batch_size=" + "9" * 5_000: "batch_size",
    "batch_size=1" + ":59" * 900: "batch_size",
    "contrastive_batch_size=4294967296": "65536",
    "accumulation=1000000": "65536",
    "fusion_width=1000000000": "8192",
    "lstm_layers=100000": "16",
    "audio_hidden=8193": "8192",
    "vision_hidden=9223372036854775808": "8192",
    "epochs=1000000000000": "100000",
    "early_stop=0": "greater than or equal to 1",
    # numbers that are none
    "margin=.nan": "finite number",
    "threshold=-.inf": "threshold",
    "learning_rate_text=1e300": "less than or equal to 1000000000",
    "weight_suparc=1e999": "weight_suparc",
    "weight_decay=" + "1" * 400 + ".0": "weight_decay",
    "dropout=1": "less than 1",
    "warmup=-0.1": "greater than or equal to 0",
    "temperature=-0.0": "greater than 0",
    "clip_norm=true": "true or false",
    "margin=2024-13-45": "margin",
    "mask_rate=12:30": "mask_rate",
    # other kinds of values
    "use_finetune=2": "use_finetune",
    "modalities=[]": "modalities",
    "modalities=[text, smell]": "modalities",
    "modalities=text": "modalities",
    "KeyEval=" + "M" * 50_000: "KeyEval",
    "pretrained=[a]": "pretrained",
    "pretrained=" + LONG: "File name too long",
    "pretrained=a/" + LONG: "a/xxx",
    "featurePath={a: b}": "featurePath",
    "featurePath=/dev/zero": "/dev/zero",
    "precision=" + "[" * 10_000: "precision",
    "margin=&a [*a]": "margin",
    "margin=!!python/object/apply:os.getpid []": "margin",
    # keys
    "=1": "key=value",
    "margin": "key=value",
    ".".join("abc" * 100) + "=1": "levels",
    "margin.x=1": "margin",
    "k" * 100_000 + "=1": "unknown key",
    "\x1b[2Jmargin=1": "unknown key",
    "__class__=1": "unknown key",
}

#: The same for models of the toolkit: (model, assignment).
TOOLKIT = {
    ("lf_dnn", "batch_size=99999999999999999999"): "65536",
    ("lf_dnn", "batch_size=true"): "batch_size",
    ("lf_dnn", "epochs=true"): "epochs",
    ("lf_dnn", "early_stop=1e9"): "early_stop",
    ("lf_dnn", "hidden_dims=[1000000000, 1, 1]"): "8192",
    ("lf_dnn", "hidden_dims={a: 1}"): "hidden_dims",
    ("lf_dnn", "dropouts=[.nan, 0, 0, 0]"): "finite",
    ("mult", "nlevels=100000"): "16",
    ("mult", "dst_feature_dim_nheads=[1e9, .inf]"): "dst_feature_dim_nheads",
    ("mult", "learning_rate=.inf"): "learning_rate",
    ("self_mm", "a_lstm_hidden_size=99999999"): "8192",
    ("self_mm", "H=high"): "H",
    ("mfn", "NN1Config.shapes=1000000000"): "8192",
    ("mfn", "NN1Config=3"): "NN1Config",
    ("misa", "hidden_size=-99999999"): "8192",
    ("lmf", "rank=99999999"): "8192",
    ("tfn", "seq_lens=many"): "seq_lens",
}


def _yaml(**content: object) -> bytes:
    """YAML in its JSON form."""
    return json.dumps(content).encode()


_MODEL = {"commonParams": {}, "datasetParams": {}}
#: Contents of a ``-c`` file: (name, suffix) to content and a word of the refusal.
FILES: dict[tuple[str, str], tuple[bytes, str]] = {
    ("a list", "yaml"): (b"[1, 2]", "found list"),
    ("a word", "yaml"): (b"word", "found str"),
    ("a number in JSON", "json"): (b"7", "found int"),
    ("a list as shared", "yaml"): (_yaml(shared=[1, 2]), "shared = [1, 2]"),
    ("a word as datasets", "yaml"): (_yaml(datasets="foo"), "datasets = 'foo'"),
    ("a list as the data set", "yaml"): (_yaml(datasets={"demo": [1]}), "datasets.demo = [1]"),
    ("a number as shared", "yaml"): (_yaml(shared=3, datasets={}), "shared = 3"),
    ("a word as commonParams", "yaml"): (_yaml(commonParams="foo"), "commonParams = 'foo'"),
    ("a list as datasetParams", "yaml"): (_yaml(datasetParams=[{}]), "datasetParams"),
    ("a word as datasetParams.demo", "yaml"): (_yaml(datasetParams={"demo": "x"}), "demo = 'x'"),
    ("a list as datasetCommonParams", "json"): (
        _yaml(datasetCommonParams=[], suparc=_MODEL), "datasetCommonParams = []",
    ),
    ("a word as the toolkit's data set", "json"): (
        _yaml(datasetCommonParams={"demo": "x"}, suparc=_MODEL), "datasetCommonParams.demo = 'x'",
    ),
    ("no unaligned section", "json"): (
        _yaml(datasetCommonParams={"demo": {"aligned": {}}}, suparc=_MODEL), "says nothing",
    ),
    ("a list as unaligned", "json"): (
        _yaml(datasetCommonParams={"demo": {"unaligned": [1]}}, suparc=_MODEL), "unaligned = [1]",
    ),
    ("a word as the model", "json"): (
        _yaml(datasetCommonParams={}, suparc="x"), "suparc = 'x'",
    ),
    ("a list as the model's commonParams", "json"): (
        _yaml(datasetCommonParams={}, suparc={"commonParams": [1]}), "suparc.commonParams = [1]",
    ),
    ("a list as the root", "json"): (
        _yaml(datasetCommonParams={"dataset_root_dir": [1]}, suparc={"commonParams": {"T": 0}}),
        "dataset_root_dir = [1]",
    ),
    ("a list as model_name", "yaml"): (_yaml(model_name=["suparc"]), "is of model"),
    ("a number as a key", "yaml"): (b"shared: {1: 2}", "key 1"),
    ("yes as a key", "yaml"): (b"on: 1", "key True"),
    ("nothing as a key", "yaml"): (b"? \n: 1", "key None"),
    ("a list as a key", "yaml"): (b"? [a]\n: 1", "unhashable"),
    ("a billion values", "yaml"): (BOMB.encode(), "anchor or alias"),
    ("a value in itself", "yaml"): (b"shared: &a {margin: *a}", "anchor or alias"),
    ("a tag", "yaml"): (b"margin: !!python/name:os.system", "tag"),
    ("half a million brackets", "yaml"): (b"margin: " + b"[" * 500_000, "levels"),
    ("half a million braces in JSON", "json"): (b'{"a":' * 200_000, "levels"),
    ("a hundred thousand values", "yaml"): (b"margin: [" + b"1, " * 100_000 + b"]", "values"),
    ("two documents", "yaml"): (b"margin: 1\n---\nmargin: 2\n", "document"),
    ("two mebibytes", "yaml"): (b"# \n" * 700_000, "larger than"),
    ("Latin letters", "yaml"): ("pretrained: café".encode("latin-1"), "UTF-8"),
    ("UTF-16", "yaml"): ("margin: 1".encode("utf-16"), "UTF-8"),
    ("NUL", "yaml"): (b'pretrained: "a\\0b"', "no text"),
    ("half a character in JSON", "json"): (b'{"pretrained": "\\ud800"}', "no text"),
    ("NaN in JSON", "json"): (b'{"margin": NaN}', "margin = nan"),
    ("a number of 5,000 digits in JSON", "json"): (
        b'{"epochs": ' + b"9" * 5_000 + b"}", "too long",
    ),
    ("binary", "yaml"): (bytes(range(256)), "UTF-8"),
    ("an open bracket", "yaml"): (b"margin: [1", "did not find"),
    ("tabs", "yaml"): (b"shared:\n\tmargin: 1", "line 2"),
}  # fmt: skip

#: Other options: the command line and a word of the refusal.
FLAGS: tuple[tuple[str, str], ...] = (
    (f"-d demo --run-dir {LONG}", "--run-dir"),
    (f"-d demo --run-dir {'d/' * 3_000}", "--run-dir"),
    (f"-d demo --run-dir {NO_TEXT}", "UTF-8"),
    ("-d demo --run-dir a\0b", "UTF-8"),
    ("-d demo --run-dir text", "is a file"),
    ("-d demo --run-dir text/run", "cannot write"),
    ("-d demo --run-dir loop/run", "loop"),
    ("-d demo --run-dir ~nobody-of-that-name/run", "no user of that name"),
    (f"-d demo --model-save-dir {LONG}", "--model-save-dir"),
    (f"-d demo --log-dir {LONG}", "--log-dir"),
    ("-d demo --seeds -1", "whole number from 0"),
    ("-d demo --seeds 1099511627776", "whole number from 0"),
    (f"-d demo --seeds {'9' * 5_000}", "whole number from 0"),
    ("-d demo --epochs 1e3", "whole number from 1"),
    ("-d demo -n 1000000000", "whole number from 0"),
    ("-c pipe -d demo", "no regular file"),
    ("-c /dev/zero -d demo", "no regular file"),
    ("-c folder -d demo", "directory"),
    ("-c loop -d demo", "loop"),
    ("-d custom --features text --score-range nan 1", "number from"),
    (f"-d custom --features text --data-name {'x' * 5_000}", "data_name"),
    (f"bench {LONG} --out out", "found"),
)


def cases() -> Iterator[Case]:
    """All of them."""
    base = ("-d", "demo", "--run-dir", "run")
    for pair, word in SUPARC.items():
        yield Case(f"suparc {pair[:30]}", (*base, "--set", pair), word)
    for (model, pair), word in TOOLKIT.items():
        yield Case(f"{model} {pair[:30]}", (*base, "-m", model, "--set", pair), word)
    for (name, suffix), (content, word) in FILES.items():
        yield Case(f"-c with {name}", (*base, "-c", f"mine.{suffix}"), word, content)
    for line, word in FLAGS:
        yield Case(line[:40], tuple(line.split(" ")), word)
