"""The toolkit's newer version: the same number, more models and data sets, an old library."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmsa_suparc.data.demo import Demo
from mmsa_suparc.toolkit import installed
from tests.helpers.patience import patience

#: Written against the old library as its CENET is, and as small as may be.
CENET = """
import torch
from pytorch_transformers import BERT_PRETRAINED_MODEL_ARCHIVE_MAP, BertConfig
from pytorch_transformers.modeling_utils import PreTrainedModel, prune_linear_layer
from transformers import BertModel

class CENET(PreTrainedModel):
    config_class = BertConfig
    pretrained_model_archive_map = BERT_PRETRAINED_MODEL_ARCHIVE_MAP
    base_model_prefix = "bert"

    def __init__(self, config, args=None):
        super().__init__(config)
        self.bert = BertModel(config)
        self.head = torch.nn.Linear(config.hidden_size, 1)
        self.init_weights()

    def _init_weights(self, module):
        if isinstance(module, torch.nn.Linear):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
            module.bias.data.zero_()

    def forward(self, text, audio, vision):
        ids, mask = text[:, 0].long(), text[:, 1].long()
        return {"M": self.head(self.bert(ids, mask)[0][:, 0])}

def make(args):
    config = BertConfig.from_pretrained(args.pretrained, num_labels=1)
    model = CENET.from_pretrained(args.pretrained, config=config, args=args)
    print("norm", float(model.bert.embeddings.word_embeddings.weight.norm()))
    return model
"""


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A copy of the installed toolkit with the newer version's registries and configuration."""
    package = tmp_path / "newer" / "MMSA"
    shutil.copytree(installed.folder(), package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "models/singleTask/CENET.py").write_text(CENET)
    for file, line, entry in (
        ("models/AMIO.py", "from .singleTask.CENET import make\n", "            'cenet': make,\n"),
        ("trains/ATIO.py", "", "            'cenet': MFN,\n"),
    ):
        path = package / file
        text = path.read_text()
        text = text.replace("            # multi-task\n", f"{entry}            # multi-task\n")
        path.write_text(text.replace("from .multiTask", f"{line}from .multiTask", 1))
    path = package / "config/config_regression.json"
    config = json.loads(path.read_text())
    data = config["datasetCommonParams"]
    data["simsv2"] = json.loads(json.dumps(data["sims"]))
    data["simsv2"]["unaligned"]["featurePath"] = "SIMSv2/Processed/sims_unaligned.pkl"
    common = {"need_data_aligned": False, "need_model_aligned": False, "need_normalized": False,
              "use_bert": True, "early_stop": 8}  # fmt: skip
    own = {"learning_rate": 1e-3, "weight_decay": 0.0, "batch_size": 8,
           "pretrained": "bert-base-uncased"}  # fmt: skip
    config["cenet"] = {"commonParams": common, "datasetParams": {"mosi": own, "simsv2": own}}
    path.write_text(json.dumps(config))
    return package.parent


def in_it(newer: Path, *arguments: object) -> str:
    paths = os.pathsep.join([str(newer), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-m", "mmsa_suparc", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "200"},
        capture_output=True, text=True, timeout=patience(120), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_models_and_data_sets_appear(newer: Path) -> None:
    row = next(line for line in in_it(newer, "models").splitlines() if " cenet " in line)
    assert "yes" in row
    assert "mosi, simsv2, demo" in row
    names = re.findall(r"simsv2", in_it(newer, "datasets"))
    assert len(names) == 1


@pytest.mark.slow
def test_its_model_for_the_old_library_trains_with_todays(
    newer: Path, small_root: Path, demo: Demo
) -> None:
    from safetensors.torch import load_file

    out = in_it(
        newer, "-m", "cenet", "-d", "mosi", "--data-root", small_root, "--text-encoder",
        demo.encoder, "-s", 1, "--epochs", 1, "--run-dir", "run",
    )  # fmt: skip
    weights = load_file(demo.encoder / "model.safetensors")
    norm = float(weights["embeddings.word_embeddings.weight"].norm())
    assert float(re.findall(r"norm ([\d.]+)", out)[0]) == pytest.approx(norm, rel=1e-5)
    assert Path("run/seed-1/metrics.json").is_file()
