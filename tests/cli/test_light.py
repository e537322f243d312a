"""What needs no training answers before torch, transformers and the toolkit are loaded."""

from __future__ import annotations

import contextlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mmsa_suparc.config import Layer
from mmsa_suparc.data import text
from mmsa_suparc.data.demo import Demo, feature_file
from mmsa_suparc.errors import UserError
from mmsa_suparc.runs import identity
from mmsa_suparc.toolkit import installed, modules, patching, registry, settings
from tests.helpers.command import mmsa_in_a_process
from tests.helpers.fresh import fresh

BENCH = {
    "data_sets": ["demo"], "seeds": [1, 2], "shared": {"epochs": 1},
    "variants": {"ours": {"model": "suparc", "sweep": {"threshold": [0.1, 1.0]}}, "lf_dnn": {}},
}  # fmt: skip
RECORD = {
    "model": "suparc", "dataset": "demo", "seed": 1111, "metrics": {"valid": {}, "test": {}},
    "weights": "", "identity": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("models",), "self_mm"),
        (("models", "-d", "mosi"), "for sims only"),
        (("datasets",), "mosei"),
        (("config", "show", "-m", "suparc", "-d", "demo"), "threshold"),
        (("config", "show", "-m", "tfn", "-d", "mosi", "--set", "batch_size=3"), "--set"),
        (("bench", "quick", "--out", "out", "--dry-run"), "18 trainings, 18 to do"),
        (("models", "--json"), '"model": "self_mm"'),
        (("datasets", "--json"), '"data_set": "mosei"'),
        (("config", "show", "-d", "demo", "--json"), '"threshold": { "value": 0.5'),
        (("bench", "quick", "--out", "out", "--dry-run", "--json"), '"to_do": 18'),
        (("completion", "bash"), "_shtab_mmsa mmsa"),
        (("completion", "fish"), "complete -c mmsa"),
        (("help",), "Other verbs (mmsa VERB --help)"),
        (("help", "bench"), "usage: mmsa bench "),
        (("help", "bench", "report"), "usage: mmsa bench report "),
    ],
)
def test_answers(arguments: tuple, expected: str, demo: Demo) -> None:
    done = fresh(*arguments)
    assert (done.status, done.err, done.loaded) == (0, "", [])
    assert expected in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-m", "supac"), "did you mean 'suparc'?"),
        (("-d", "mossi"), "did you mean 'mosi'"),
        (("-d", "demo", "--set", "bach_size=3"), "did you mean 'batch_size'"),
        (("-d", "demo", "--set", "batch_size=many"), "batch_size = 'many'"),
        (("-d", "demo", "--bach", "3"), "unrecognized arguments"),
        (("-d", "demo", "--device", "cdua"), "--device cdua: no such device"),
        (("-d", "demo", "-c", "absent.yaml"), "absent.yaml: No such file"),
        (("-d", "demo", "-Ft", "absent.pkl"), "-Ft absent.pkl: no such file"),
        (("-d", "demo", "--text-encoder", "no/such"), "text encoder no/such"),
        (("-m", "mctn", "-d", "custom", "--features", "absent.pkl"), "no such file"),
        (("-m", "suparc", "-d", "mosi"), "--data-root DIR"),
        (("tune", "-m", "supac", "--out", "out"), "did you mean 'suparc'?"),
        (("tune", "-d", "demo", "--out", "out", "--ranges", "ranges.yaml"), "'treshold'; did you"),
        (("bench", "bench.yaml", "--out", "out"), "unknown key 'varaints'; did you mean"),
        (("bench", "quick", "--out", "out", "--variant", "SupArk"), "did you mean"),
        (
            ("bench", "quick", "--out", "out", "--set", "bach_size=3"),
            "did you mean 'batch_size' or",
        ),
        (("bench", "quick", "--out", "out", "-d", "mossi"), "did you mean 'mosi'"),
        (("bench", "quick", "--out", "out", "--power", "0.02"), "nothing is finished in out"),
        (("bench", "quick", "--out", "out", "--power", "0"), "--power"),
        (("config", "show", "-m", "supac"), "did you mean 'suparc'?"),
        (("predict", "--run", "absent", "--video", "clip.mp4"), "absent: no finished run here"),
        (("export", "--run", "absent", "--out", "model.onnx"), "absent: no finished run here"),
        (("app", "--run", "absent"), "absent: no finished run here"),
        (("-d", "demo", "--run-dir", "kept"), "kept: already holds seed 1111; choose another"),
        (("-m", "lf_dnn", "-d", "demo", "--run-dir", "kept", "--resume"), "results of suparc on"),
        (("help", "benhc"), "unknown command 'benhc'; did you mean 'bench'"),
        (("-d", "demo", "--device", "cuda:7"), "this machine has 0 CUDA device(s); use --device"),
        (("-d", "demo", "--device", "mps"), "--device mps: not on this machine"),
        (("tune", "-d", "demo", "--out", "out", "--device", "cuda"), "use --device cpu"),
        (("predict", "--run", "kept", "--device", "cuda", "--video", "a"), "use --device cpu"),
        (("-d", "custom", "--features", "bench.yaml"), "bench.yaml: not a pickle of arrays"),
        (("predict", "--run", "kept", "--features", "absent.pkl"), "absent.pkl: No such file"),
        (("predict", "--run", "kept", "--video", "a.mp4"), "nobody said how they are made"),
        (("predict", "--run", "films", "--video", "a.mp4"), "--video a.mp4: no such file"),
        (
            ("predict", "--run", "films", "--video", "bench.yaml", "--text-file", "absent.txt"),
            "--text-file absent.txt: ",
        ),
        (
            ("predict", "--run", "films", "--video", "bench.yaml", "--fet-python", "/no/python"),
            "MMSA-FET is not installed in /no/python",
        ),
        (("predict", "--run", "films", "--video", "a", "--out", "films"), "is a folder; expected"),
        (("app", "--run", "films", "--example", "a.mp4"), "--example a.mp4: no such file"),
        (
            ("app", "--run", "kept", "--example", "bench.yaml"),
            "--example: this model was trained on",
        ),
        (("app", "--run", "kept", "--host", "192.0.2.1"), "--host 192.0.2.1 --port 7860: "),
    ],
)
def test_mistakes(arguments: tuple, expected: str, demo: Demo) -> None:
    if "--device" in expected and torch.cuda.is_available():
        pytest.skip("this machine has a device")
    Path("bench.yaml").write_text("varaints: {}\n")
    Path("ranges.yaml").write_text("treshold: {low: 0, high: 1}\n")
    for name, features in (("kept", {}), ("films", {"recipe": {}})):
        Path(name).mkdir()
        Path(name, "records.jsonl").write_text(json.dumps(RECORD) + "\n")
        Path(name, "serving.json").write_text(json.dumps({"features": features}))
    done = fresh(*arguments)
    assert (done.status, done.out, done.loaded) == (2, "", [])
    assert expected in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (None, "--csv clips.csv: No such file or directory"),
        ("video,text\na.mp4,a\n", "--csv clips.csv: expected a column 'path'"),
    ],
)
def test_a_table_of_clips_is_looked_at_before_torch(
    table: str | None, expected: str, demo: Demo
) -> None:
    Path("kept").mkdir()
    Path("kept/records.jsonl").write_text(json.dumps(RECORD) + "\n")
    if table is not None:
        Path("clips.csv").write_text(table)
    done = fresh("predict", "--run", "kept", "--csv", "clips.csv")
    assert (done.status, done.out) == (2, "")
    assert set(done.loaded) <= {"pandas"}
    assert expected in done.err


def test_faults_of_a_feature_file_are_said_before_torch(demo: Demo) -> None:
    content = feature_file({"train": 6, "valid": 3, "test": 3})
    del content["valid"]["audio_lengths"]
    content["test"]["vision"][0, 0, 0] = float("nan")
    Path("clips.pkl").write_bytes(pickle.dumps(content))
    for command in (("run",), ("tune", "--out", "out")):
        done = fresh(*command, "-d", "custom", "--features", "clips.pkl")
        assert (done.status, done.out, done.loaded) == (2, "", [])
        assert "valid: audio_lengths: expected this field; found none" in done.err
        assert "test: vision: expected" in done.err
        assert done.err.splitlines()[-1].endswith("look at it again with: mmsa data check")


@pytest.mark.parametrize("package", ["optuna", "onnxscript", "ray", "wandb"])
def test_an_extra_that_is_not_installed_is_said_before_torch(package: str, demo: Demo) -> None:
    Path("kept").mkdir()
    Path("kept/records.jsonl").write_text(json.dumps(RECORD) + "\n")
    command = {
        "optuna": ("tune", "-d", "demo", "--out", "out"),
        "onnxscript": ("export", "--run", "kept", "--out", "model.onnx"),
        "ray": ("bench", "quick", "--out", "out", "--executor", "ray"),
        "wandb": ("-d", "demo", "--tracker", "wandb"),
    }[package]
    done = fresh(*command, without=(package,))
    assert (done.status, done.out, done.loaded) == (2, "", [])
    assert "not installed; pip install" in done.err


@pytest.fixture
def kept(registered: None, demo: Demo) -> tuple[str, ...]:
    """The command of a run that is finished, as far as its folder tells."""
    command = ("-d", "demo", "-s", "1111", "--run-dir", "run", "--epochs", "3")
    config = settings.load("suparc", "demo", overrides=[Layer("flags", {"epochs": 3})])
    what = identity.of_run(config, 1111, encoder=str(demo.encoder), device="cpu")
    Path("run/seed-1111").mkdir(parents=True)
    Path("run/records.jsonl").write_text(json.dumps({**RECORD, "identity": what}) + "\n")
    return command


@pytest.mark.parametrize("finished", [True, False])
def test_going_on_with_another_run_is_refused_before_torch(
    finished: bool, kept: tuple[str, ...]
) -> None:
    record = json.loads(Path("run/records.jsonl").read_text())
    if not finished:
        Path("run/records.jsonl").unlink()
        saved = {"identity": record["identity"], "numbers": {}, "sha256": ""}
        Path("run/seed-1111/state-00002.json").write_text(json.dumps(saved))
    for more, named in (
        (("--epochs", "4"), "configuration.epochs = 3, this run"),
        (("--set", "margin=0.3"), "configuration.margin = "),
        (("-s", "2", "--set", "margin=0.3"), "configuration.margin = "),
    ):
        done = fresh(*kept, *more, "--resume")
        assert (done.status, done.out, done.loaded) == (2, "", [])
        assert named in done.err
        assert done.err.count("\n") == 1
    assert not Path("run/seed-2").exists()


@pytest.mark.parametrize("flag", ["--run-dir", "--model-save-dir", "--log-dir", "--res-save-dir"])
def test_a_run_s_place_that_cannot_be_written_is_said_before_torch(flag: str, demo: Demo) -> None:
    Path("kept").touch()
    done = fresh("-d", "demo", flag, "kept/below")
    assert (done.status, done.out, done.loaded) == (4, "", [])
    assert done.err.endswith(f"choose another place with {flag}\n")


@pytest.mark.parametrize("command", [("tune", "-d", "demo"), ("bench", "quick")])
def test_a_place_that_cannot_be_written_is_said_at_once(command: tuple, demo: Demo) -> None:
    Path("kept").touch()
    done = fresh(*command, "--out", "kept")
    assert (done.status, done.out, done.loaded) == (4, "", [])
    assert done.err == "mmsa: cannot write kept: is a file; expected a folder\n"


def test_an_extraction_s_mistaken_input_is_the_user_s(mmsa: Callable) -> None:
    Path("kept.pkl").touch()
    status, _, err = mmsa("extract", "absent", "--out", "kept.pkl")
    assert status == 2
    assert "absent" in err


def test_the_embedded_data_set_is_made_without_torch(tmp_path: Path) -> None:
    done = fresh("bench", "quick", "--out", "out", "--dry-run", MMSA_SUPARC_CACHE=str(tmp_path))
    assert (done.status, done.loaded) == (0, [])
    assert list(tmp_path.glob("demo/*/encoder/model.safetensors"))


def test_a_plan_has_the_same_addresses_before_and_after_torch_is_loaded(
    mmsa: Callable, demo: Demo
) -> None:
    Path("bench.yaml").write_text(yaml.safe_dump(BENCH))
    command = ("bench", "bench.yaml", "--out", "out", "--dry-run")
    before = fresh(*command)
    assert (before.status, before.loaded) == (0, [])
    assert len({line.split()[0] for line in before.out.splitlines()[:-1]}) == 6
    modules.module("run")
    assert mmsa(*command) == (0, before.out, "")


def test_an_encoder_of_the_hub_is_known_by_its_revision(tmp_path: Path, demo: Demo) -> None:
    kept = tmp_path / "hub" / "models--some--encoder"
    (kept / "snapshots").mkdir(parents=True)
    (kept / "snapshots" / "abc").symlink_to(demo.encoder)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("abc")
    command = ("bench", "bench.yaml", "--out", "out", "--dry-run", "--text-encoder")
    Path("bench.yaml").write_text(yaml.safe_dump(BENCH))
    here = fresh(*command, "some/encoder", HF_HUB_CACHE=str(kept.parent))
    assert (here.status, here.loaded) == (0, [])
    (kept / "refs" / "main").write_text("abcd")
    (kept / "snapshots" / "abc").rename(kept / "snapshots" / "abcd")
    newer = fresh(*command, "some/encoder", HF_HUB_CACHE=str(kept.parent))
    absent = fresh(*command, "other/encoder", HF_HUB_CACHE=str(kept.parent))
    assert (newer.status, absent.status, absent.loaded) == (0, 0, [])
    assert len({each.out.split()[0] for each in (here, newer, absent)}) == 3
    assert text.encoder_fingerprint("no name of the hub's") == ""


def test_the_installed_files_say_what_the_imported_toolkit_says() -> None:
    class Enough(Exception):
        pass

    class Args(dict):
        def get(self, *arguments: Any) -> Any:
            raise Enough  # the map has been set

    amio = modules.module("models").AMIO
    built = amio.__new__(amio)
    with contextlib.suppress(Enough):
        built.__init__(Args())
    trained = modules.module("trains").ATIO().TRAIN_MAP
    folder = Path(str(modules.module("config").__file__)).parent / "config"
    configured = json.loads((folder / "config_regression.json").read_text())
    known = [name for name in configured if name in trained and name in built.MODEL_MAP]
    assert list(installed.model_names()) == known
    assert len(known) > 10
    for model in known:
        for dataset in installed.datasets_of(model):
            args = modules.module("config").get_config_regression(model, dataset)
            assert args.model_name == model
            assert dataset in installed.dataset_names()


def made_up_toolkit(root: Path, trains: str) -> tuple[str]:
    """A toolkit of the same version with other models, which cannot be imported."""
    package = root / "MMSA"
    for name in ("trains", "models", "config"):
        (package / name).mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "trains" / "ATIO.py").write_text(trains)
    (package / "models" / "AMIO.py").write_text(
        "class AMIO:\n    def __init__(self):\n"
        "        self.MODEL_MAP = {'lf_dnn': LF, 'almt': ALMT, 'untrained': U}\n"
    )
    config = dict(installed.default_config())
    config |= dict.fromkeys(("almt", "untrained", "only_configured"), config["lf_dnn"])
    (package / "config" / "config_regression.json").write_text(json.dumps(config))
    return (str(root),)


def test_a_toolkit_with_more_models_is_known_by_its_registries(tmp_path: Path) -> None:
    trains = (
        "class ATIO:\n    def __init__(self):\n"
        "        self.TRAIN_MAP = {'lf_dnn': LF, 'almt': ALMT, 'only_trained': T}\n"
    )
    done = fresh("models", path=made_up_toolkit(tmp_path, trains))
    assert (done.status, done.loaded) == (0, [])
    names = {line.split("│")[1].strip() for line in done.out.splitlines() if "toolkit" in line}
    assert names == {"lf_dnn", "almt"}


def test_registries_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    trains = "class ATIO:\n    def __init__(self):\n        self.TRAIN_MAP = dict(a=1)\n"
    done = fresh("models", path=made_up_toolkit(tmp_path, trains))
    assert done.status == patching.PatchError.status
    assert "ATIO.py: sets no TRAIN_MAP" in done.err
    assert done.err.count("\n") == 1


def test_without_the_toolkit_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="not installed; install MMSA"):
        installed.folder()


NAMED = {
    "model": "toy_network:ToyModel", "trainer": "toy_network:ToyTrainer",
    "config": {"toy_rate": 0.01},
}  # fmt: skip


@pytest.mark.parametrize(
    "package",
    [
        f"MODEL = {NAMED}",
        f"import mmsa_suparc\ndef MODEL(): mmsa_suparc.register_model('toy', **{NAMED})",
    ],
)
def test_an_announced_model_costs_its_own_imports_only(package: str, tmp_path: Path) -> None:
    info = tmp_path / "toy_model-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mmsa.models]\ntoy = toy_package:MODEL\n")
    (tmp_path / "toy_package.py").write_text(package + "\n")
    path = (str(tmp_path),)
    done = fresh("models", path=path)
    assert (done.status, done.err, done.loaded) == (0, "", [])
    assert " toy " in done.out
    done = fresh("-m", "toy", "-d", "demo", "--set", "toy_rat=1", path=path)
    assert (done.status, done.loaded) == (2, [])
    assert "did you mean 'toy_rate'?" in done.err
    # What it names is missed when it is needed, and said in one line.
    run = mmsa_in_a_process("-m", "toy", "-d", "demo", "-s", 1, "--run-dir", "run", path=path)
    assert run.returncode == 2
    assert "'toy_network:ToyTrainer' cannot be imported" in run.err
    assert run.err.count("\n") == 1


def test_a_named_part_is_imported_when_it_is_called() -> None:
    entry = registry.RegisteredModel("one", "fractions:Fraction", "no_such:part", {}, "", None)
    assert entry.maker("model")("1/2") == 0.5
    with pytest.raises(UserError, match="its trainer 'no_such:part' cannot be imported"):
        entry.maker("trainer")({})


@pytest.mark.parametrize("version", [None, "2.13.0", "2.13.0+cu126", "2.13.0+cpu"])
def test_cuda_is_found_as_torch_finds_it(version: str | None) -> None:
    """Whatever build is installed; on a machine without a device torch is not asked."""
    if version == "2.13.0+cpu" and torch.cuda.is_available():
        pytest.skip("that build does not find this machine's device")
    program = (
        "import sys\nfrom importlib import metadata\n"
        "from mmsa_suparc.training.cuda import has_cuda\n"
        f"if {version!r}: metadata.version = lambda name: {version!r}\n"
        "found = has_cuda()\nprint(found, 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    found, asked = (word == "True" for word in done.stdout.split())
    assert found == torch.cuda.is_available()
    assert not found or asked
    if version is None and torch.version.cuda is None and torch.version.hip is None:
        assert not asked
