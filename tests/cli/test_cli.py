"""The command as a user meets it."""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mmsa_suparc import __version__
from mmsa_suparc.data import reader
from mmsa_suparc.data.demo import Demo
from tests.helpers.command import Command, mmsa_in_a_process

MMSA = [sys.executable, "-m", "mmsa_suparc"]


def words(text: str) -> str:
    """Table text without its lines and line breaks."""
    return " ".join(text.replace("│", " ").replace("┃", " ").split())


def test_help_and_version(mmsa: Callable) -> None:
    for arguments in ((), ("--help",), ("run", "--help")):
        status, out, _ = mmsa(*arguments)
        assert status == 0
        for flag in (
            "-m", "-d", "-c", "-t", "-tt", "-s", "-n", "-v", "-g", "-Ft", "-Fa", "-Fv",
            "--model-save-dir", "--res-save-dir", "--log-dir", "--data-root", "--text-encoder",
            "--set", "--run-dir", "--device", "--epochs", "--version",
        ):  # fmt: skip
            assert flag in out
        assert max(map(len, out.splitlines())) <= 80
        assert "Exit status: 0 done, 1 an internal error, 2 bad input" in out
    assert mmsa("--version")[1].strip() == f"mmsa-suparc {__version__}"
    for verb in ("models", "datasets", "config", "data", "doctor"):
        assert mmsa(verb, "--help")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-m", "suprac", "-d", "demo"), "unknown model 'suprac'; did you mean 'suparc'?"),
        (("-m", "suparc", "-d", "mossi"), "unknown data set 'mossi'; did you mean 'mosi'"),
        (("modles",), "unknown command 'modles'; did you mean 'models'"),
        (("-m", "suparc", "-d", "mosi"), "--data-root DIR or MMSA_DATA_ROOT"),
        (("-d", "demo", "--text-encoder", "no-such"), "--text-encoder"),
        (("-d", "demo", "--set", "treshold=1"), "did you mean 'threshold'"),
        (("-d", "demo", "-c", "absent.yaml"), "absent.yaml: No such file"),
        (("-d", "demo", "--epochs", "0"), "--epochs: found '0', expected a whole number from 1"),
        (("-d", "demo", "--epochs", "two"), "found 'two', expected a whole number"),
        (("-d", "demo", "-s", "-5"), "-s/--seeds: found '-5', expected a whole number from 0"),
        (("-d", "demo", "-s", "1", "-s", "1"), "a seed is named twice"),
        (("-d", "demo", "--device", "tpu"), "--device tpu"),
        (("-d", "demo", "--device", "cuda:7"), "CUDA device(s); use --device cpu"),
        (("-d", "demo", "--device", "cpu", "-g", "0"), "both name a device"),
        (("-d", "demo", "--nonsense"), "unrecognized arguments: --nonsense"),
        (("-m", "mtfn", "-d", "mosi"), "configures model 'mtfn' for sims, not 'mosi'"),
        (("-m", "mlmf", "-d", "demo"), "configures model 'mlmf' for sims, not 'demo'"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    arguments: tuple, message: str, mmsa: Callable, demo: Demo
) -> None:
    status, out, err = mmsa(*arguments)
    assert status == 2
    assert message in err
    assert err.startswith("mmsa: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert out == ""
    assert list(Path().iterdir()) == []


def test_a_broken_feature_file_is_found_before_anything_is_written(
    mmsa: Callable, tmp_path: Path, demo: Demo
) -> None:
    path = tmp_path / "root/MOSI/Processed/unaligned_50.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"garbage")
    status, _, err = mmsa(
        "-d", "mosi", "--data-root", tmp_path / "root", "--text-encoder", demo.encoder,
        "--run-dir", "run",
    )  # fmt: skip
    assert status == 2
    assert "not a pickle of arrays" in err
    assert not Path("run").exists()


def test_verbose_2_shows_the_traceback(mmsa: Callable) -> None:
    assert "Traceback" in mmsa("-m", "nothing", "-v", "2")[2]


def test_models(mmsa: Callable) -> None:
    status, out, _ = mmsa("models")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    text = words(out)
    for model in ("tfn", "self_mm", "mult", "misa", "mctn", "suparc"):
        assert f" {model} " in text
    assert "for sims only" in words(mmsa("models", "-d", "mosi")[1])
    assert mmsa("models", "-d", "nothing")[0] == 2


def test_datasets(mmsa: Callable, small_root: Path, demo: Demo) -> None:
    status, out, _ = mmsa("datasets", "--data-root", small_root)
    assert status == 0
    text = words(out)
    assert "mosi -3 to 3 yes" in text
    assert "sims -1 to 1 no" in text
    assert "demo -3 to 3 yes" in text


def test_doctor(mmsa: Callable, small_root: Path, demo: Demo) -> None:
    from mmsa_suparc.plugin import PATCHES

    status, out, _ = mmsa("doctor", "--data-root", small_root, "--text-encoder", demo.encoder)
    assert status == 0
    text = words(out)
    for expected in ("torch", "CUDA devices", "precision", "found:", "width 64"):
        assert expected in text
    for patch in PATCHES:
        assert patch.name in text
    status, out, _ = mmsa("doctor", "--text-encoder", "no-such-encoder")
    assert status == 0
    assert "--text-encoder" in words(out)
    assert "not found (--data-root DIR or MMSA_DATA_ROOT)" in words(out)


def test_config_show(mmsa: Callable, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("margin: 0.2\n")
    status, out, _ = mmsa(
        "config", "show", "-m", "suparc", "-d", "mosei", "-c", "mine.yaml", "--set", "epochs=3"
    )
    assert status == 0
    text = words(out)
    assert "margin 0.2 mine.yaml" in text
    assert "epochs 3 --set" in text
    assert "batch_size 32 suparc.yaml: mosei" in text
    assert "temperature 0.1 suparc.yaml: shared" in text
    assert "post_fusion_dim 128 toolkit:" in words(mmsa("config", "show", "-m", "self_mm")[1])


def test_make_demo(mmsa: Callable, tmp_path: Path) -> None:
    from mmsa_suparc.data.reader import read

    status, out, _ = mmsa("data", "make-demo", "--out", "made")
    assert status == 0
    path = Path(out.split("feature file: ")[1].split(" (")[0])
    assert set(read(path)) == {"train", "valid", "test"}
    # The toolkit's own loader reads it, without the plugin.
    program = (
        "import sys\nfrom easydict import EasyDict\nfrom MMSA.data_loader import MMDataLoader\n"
        "args = EasyDict(dataset_name='mosi', featurePath=sys.argv[1], custom_feature=None,\n"
        "  use_bert=False, feature_dims=[0, 0, 0], feature_T='', feature_A='', feature_V='',\n"
        "  need_data_aligned=False, batch_size=8, seq_lens=[0, 0, 0])\n"
        "print(next(iter(MMDataLoader(args, 0)['train']))['text'].shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "torch.Size([8, 25, 64])"
    (tmp_path / "file").write_text("")
    assert mmsa("data", "make-demo", "--out", "file/below")[0] == 4


def test_epoch_lines_and_table_fit_80_columns(mmsa: Callable, demo: Demo) -> None:
    status, out, err = mmsa("-m", "suparc", "-d", "demo", "--epochs", 2, "--run-dir", "run")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    head = next(line for line in lines if line.lstrip().startswith("epoch"))
    assert head.split()[:5] == ["epoch", "mae", "suparc", "triplet", "masked"]
    assert [line.split()[0] for line in lines if "/2 " in line] == ["1/2", "2/2"]
    assert "MAE ↓" in out
    assert lines[-1] == "run folder: run"
    assert "\r" not in out
    assert "\x1b" not in out


def test_verbose_0_prints_results_only(mmsa: Callable, demo: Demo) -> None:
    _, out, _ = mmsa("-d", "demo", "--epochs", 1, "-v", 0, "--run-dir", "run")
    assert "epoch" not in out
    assert "MAE" in out


def test_progress_bars_on_a_terminal_only(demo: Demo) -> None:
    arguments = ["-m", "lf_dnn", "-d", "demo", "--epochs", "1", "--run-dir"]
    silent = mmsa_in_a_process(*arguments, "piped")
    assert silent.returncode == 0
    assert "\r" not in silent.out
    assert silent.err == ""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with Command(*arguments, "terminal", terminal=os.ttyname(theirs)) as process:
        while not Path("terminal").is_dir() and process.poll() is None:
            time.sleep(0.02)  # it has the terminal open itself by then
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the terminal is closed when the process ends
                break
            if not part:
                break
            shown += part
        process.wait()
    os.close(ours)
    assert process.returncode == 0
    assert b"\r" in shown.replace(b"\r\n", b"\n")
    assert b"%|" in shown


def test_toolkit_flags_have_their_meaning(mmsa: Callable, demo: Demo, tmp_path: Path) -> None:
    status, _, err = mmsa(
        "-m", "lf_dnn", "-d", "demo", "-s", 5, "-n", 1, "-v", 1, "-g", -1, "--epochs", 1,
        "--model-save-dir", "models", "--res-save-dir", "results", "--log-dir", "logs",
        "--run-dir", "run",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert Path("models/lf_dnn-demo-5.pth").is_file()
    assert Path("results/normal/demo.csv").is_file()
    assert Path("logs/lf_dnn-demo.log").is_file()
    assert yaml.safe_load(Path("run/seed-5/config.yaml").read_text())["epochs"] == 1


def test_tune_by_the_command(mmsa: Callable, demo: Demo) -> None:
    status, out, err = mmsa(
        "-m", "suparc", "-d", "demo", "-t", "-tt", 1, "--epochs", 1, "-v", 0,
        "--res-save-dir", "results", "--run-dir", "run",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert "results/tune/demo-suparc.csv" in out
    assert Path("results/tune/demo-suparc.csv").is_file()


def test_a_file_of_another_shape_is_made_and_trains(mmsa: Callable) -> None:
    sizes = ("--clips", 20, 6, 7, "--audio-frames", 30, "--vision-width", 5, "--text-width", 9)
    status, out, _ = mmsa("data", "make-demo", "--out", "MOSI", "--shape", "mosei", *sizes)
    assert status == 0
    assert "train 20, valid 6, test 7" in out
    content = reader.read("MOSI/Processed/unaligned_50.pkl")
    assert content["train"]["audio"].shape == (20, 30, 74)
    assert content["test"]["vision"].shape == (7, 500, 5)
    assert content["valid"]["text"].shape == (6, 50, 9)
    run = ("-m", "suparc", "-d", "mosi", "--data-root", ".", "--text-encoder", "MOSI/encoder")
    assert mmsa(*run, "-s", 1, "--epochs", 1, "--run-dir", "run")[0] == 0
    for wrong in (("--clips", 0, 1, 1), ("--audio-frames", -1), ("--tokens", 3)):
        status, _, err = mmsa("data", "make-demo", "--out", "other", "--shape", "mosei", *wrong)
        assert status == 2
        assert "expected" in err
    status, _, err = mmsa("data", "make-demo", "--out", "MOSI", "--shape", "mosei")
    assert (status, "holds a feature file" in err) == (2, True)


def test_a_size_is_bytes_or_has_a_unit(mmsa: Callable) -> None:
    from mmsa_suparc.cli.values import size

    sizes = {"0": 0, "1000": 1000, "500M": 500 << 20, "2G": 2 << 30, "2gib": 2 << 30,
             "1.5 KB": 1536, "1T": 1 << 40}  # fmt: skip
    assert {text: size(text) for text in sizes} == sizes
    for wrong in ("", "-1", "G", "2X", "nan", "9" * 400):
        status, _, err = mmsa("bench", "quick", "--out", "out", f"--send-limit={wrong}")
        assert status == 2
        assert "argument --send-limit: found" in err
        assert "expected a size as 500M or 2G" in err


@pytest.mark.parametrize(
    ("said", "spins"),
    [
        ({}, "30000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ],
)
def test_waiting_threads_soon_give_up_their_core_unless_the_user_says_how_they_wait(
    mmsa: Callable, monkeypatch: pytest.MonkeyPatch, said: dict[str, str], spins: str | None
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that whatever happens here is undone
        monkeypatch.delenv(name)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    mmsa("models")
    assert os.environ.get("GOMP_SPINCOUNT") == spins


def test_a_table_of_a_spreadsheet_begins_with_a_mark() -> None:
    from mmsa_suparc.cli.predict import _clips

    Path("clips.csv").write_text("path,text\na.mp4,good\n", encoding="utf-8-sig")
    options = argparse.Namespace(video=None, csv="clips.csv")
    assert _clips(options) == [("a.mp4", Path("a.mp4"), "good")]
