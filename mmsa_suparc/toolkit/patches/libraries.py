"""Today's libraries and any device: what the toolkit asks of torch, transformers and tqdm."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers import AutoModel, AutoTokenizer

from mmsa_suparc.data.text import loading
from mmsa_suparc.progress import progress
from mmsa_suparc.toolkit.context import current_encoder
from mmsa_suparc.toolkit.modules import module, trainer_modules
from mmsa_suparc.toolkit.patching import Overlay, original, patch, replace


@patch(
    "no-gpu",
    does="runs without a GPU, and with one when the CPU is asked for",
    answers="run.py:146,208, utils/functions.py:24",
)
def no_gpu(undo: contextlib.ExitStack) -> None:
    def set_device(device: Any) -> None:
        if torch.device(device).type == "cuda":
            torch.cuda.set_device(device)

    run = module("run")
    replace(undo, run, "torch", Overlay(torch, cuda=Overlay(torch.cuda, set_device=set_device)))
    assign = original(run, "assign_gpu")

    def assign_gpu(gpu_ids: Any, *args: Any, **options: Any) -> torch.device:
        if any(int(gpu) < 0 for gpu in gpu_ids) or not torch.cuda.is_available():
            return torch.device("cpu")
        device: torch.device = assign(list(gpu_ids), *args, **options)
        return device

    replace(undo, run, "assign_gpu", assign_gpu)


@patch(
    "scheduler-keyword",
    does="ReduceLROnPlateau is called without the keyword that torch removed",
    answers="trains/singleTask/MULT.py:22, MMIM.py:166, trains/missingTask/TFR_NET.py:38",
)
def scheduler_keyword(undo: contextlib.ExitStack) -> None:
    def without_verbose(*args: Any, verbose: Any = None, **options: Any) -> Any:
        return ReduceLROnPlateau(*args, **options)

    for trainer in trainer_modules():
        if "ReduceLROnPlateau" in vars(trainer):
            replace(undo, trainer, "ReduceLROnPlateau", without_verbose)


@patch(
    "text-encoder",
    does="every model uses the configured encoder, of any architecture and width",
    answers="models/subNets/BertTextEncoder.py:13-20, models/missingTask/TFR_NET/model.py:79, "
    "models/singleTask/BERT_MAG.py:326",
)
def text_encoder(undo: contextlib.ExitStack) -> None:
    encoder = original(module("models.subNets"), "BertTextEncoder")

    def init(
        self: Any,
        use_finetune: bool = False,
        transformers: str = "bert",
        pretrained: str = "bert-base-uncased",
    ) -> None:
        torch.nn.Module.__init__(self)
        name = current_encoder.get() or pretrained
        with loading(name) as options:
            self.tokenizer = AutoTokenizer.from_pretrained(name, **options)
            self.model = AutoModel.from_pretrained(name, **options)
        self.use_finetune = use_finetune

    replace(undo, encoder, "__init__", init)

    # BERT_MAG is a BERT itself and loads its weights by a name of its own.
    bert_mag = sys.modules.get("MMSA.models.singleTask.BERT_MAG")
    if bert_mag is not None:
        mag = bert_mag.MAG_BertForSequenceClassification
        inherited = mag.from_pretrained.__func__

        def from_pretrained(cls: Any, name: str, *args: Any, **options: Any) -> Any:
            return inherited(cls, current_encoder.get() or name, *args, **options)

        replace(undo, mag, "from_pretrained", classmethod(from_pretrained), new=True)


@patch(
    "bert-mag",
    does="BERT_MAG's BERT is asked in the way that all versions of transformers answer",
    answers="models/singleTask/BERT_MAG.py:103-233",
)
def bert_mag(undo: contextlib.ExitStack) -> None:
    module("models")
    file = sys.modules["MMSA.models.singleTask.BERT_MAG"]
    model = original(file, "MAG_BertModel")
    for one in (model, original(file, "MAG_BertForSequenceClassification")):
        replace(undo, one, "all_tied_weights_keys", {}, new=True)  # it ties none

    def forward(
        self: Any, input_ids: Any, visual: Any, acoustic: Any, *,
        attention_mask: Any, token_type_ids: Any, **always_none: Any,
    ) -> Any:  # fmt: skip
        embedded = self.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
        added = (1 - attention_mask[:, None, None]) * torch.finfo(embedded.dtype).min
        states = self.encoder(self.MAG(embedded, visual, acoustic), attention_mask=added)[0]
        return states, self.pooler(states)

    replace(undo, model, "forward", forward)


@patch(
    "misa-width",
    does="MISA's text projection has the encoder's width, not always 768",
    answers="models/singleTask/MISA.py:71",
)
def misa_width(undo: contextlib.ExitStack) -> None:
    module("models")
    misa = original(sys.modules["MMSA.models.singleTask.MISA"], "MISA")
    build = original(misa, "__init__")

    def init(self: Any, config: Any) -> None:
        build(self, config)
        width = config.feature_dims[0]
        if config.use_bert and width != self.project_t[0].in_features:
            self.project_t[0] = torch.nn.Linear(width, config.hidden_size)

    replace(undo, misa, "__init__", init)


@patch(
    "mctn-device",
    does="MCTN makes its outputs where its inputs are, not always on a GPU",
    answers="models/singleTask/MCTN.py:163-164",
)
def mctn_device(undo: contextlib.ExitStack) -> None:
    module("models")
    mctn = original(sys.modules["MMSA.models.singleTask.MCTN"], "MCTN")
    build = original(mctn, "__init__")

    def init(self: Any, args: Any) -> None:
        build(self, args)
        for one in (self.seq2seq1, self.seq2seq2):
            one.device = args["device"]

    replace(undo, mctn, "__init__", init)


@patch(
    "progress-bars",
    does="the trainers' progress bars are silent where stdout is no terminal",
    answers="tqdm in every trainer",
)
def progress_bars(undo: contextlib.ExitStack) -> None:
    for trainer in trainer_modules():
        if "tqdm" in vars(trainer):
            replace(undo, trainer, "tqdm", progress)
