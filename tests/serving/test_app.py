"""The page from outside: whom it answers, what it takes, what it gives away."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mmsa_suparc
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.serving.app import Page
from mmsa_suparc.serving.predictor import Prediction, SupArcPredictor

pytest.importorskip("gradio")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, demo: Demo) -> Path:
    from mmsa_suparc.cli import main

    folder = tmp_path_factory.mktemp("app")
    assert main(
        ["-m", "suparc", "-d", "demo", "-s", "1", "--epochs", "1", "-v", "0", "--run-dir",
         str(folder / "run"), "--res-save-dir", str(folder / "table")]
    ) == 0  # fmt: skip
    mmsa_suparc.unregister()
    return folder / "run"


@pytest.fixture(scope="module")
def port(run: Path) -> Iterator[int]:
    chosen = free_port()
    command = ["app", "--run", str(run), "--port", str(chosen), "--max-megabytes", "1"]
    process = subprocess.Popen([sys.executable, "-m", "mmsa_suparc", *command])
    for _ in range(240):
        assert process.poll() is None
        try:
            socket.create_connection(("127.0.0.1", chosen), timeout=1).close()
            break
        except OSError:
            time.sleep(0.5)
    yield chosen
    process.terminate()
    process.wait(30)


def ask(
    port: int, method: str, path: str, *, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, answer.read()
    finally:
        connection.close()


def upload(port: int, content: bytes, name: str = "a.mp4") -> tuple[int, bytes]:
    mark = uuid.uuid4().hex
    head = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
    body = head.encode() + b"Content-Type: video/mp4\r\n\r\n" + content
    body += f"\r\n--{mark}--\r\n".encode()
    status, _, answer = ask(
        port, "POST", "/gradio_api/upload", body=body,
        Content_Type=f"multipart/form-data; boundary={mark}",
    )  # fmt: skip
    return status, answer


def test_it_answers_to_its_own_address_only(port: int) -> None:
    status, headers, page = ask(port, "GET", "/")
    assert status == 200
    assert b"mmsa-suparc" in page
    assert "connect-src 'self'" in headers["content-security-policy"]
    for host in ("example.org", f"example.org:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", ""):
        assert ask(port, "GET", "/", Host=host)[0] == 403, host
    assert ask(port, "GET", "/", Host=f"localhost:{port}")[0] == 200


def test_other_pages_get_nothing(port: int) -> None:
    for origin in ("http://example.org", "null", f"https://127.0.0.1:{port}", "file://"):
        status, headers, _ = ask(port, "GET", "/config", Origin=origin)
        assert status == 403, origin
        assert not [name for name in headers if name.startswith("access-control-")]
    status, headers, _ = ask(port, "GET", "/config", Origin=f"http://127.0.0.1:{port}")
    assert status == 200
    assert not [name for name in headers if name.startswith("access-control-")]


FILES = ("/etc/passwd", "/proc/self/environ", "{run}/records.jsonl", "{run}/seed-1/config.yaml")
WAYS = (
    "/gradio_api/file={path}", "/file={path}", "/gradio_api/file=/..{path}",
    "/gradio_api/file=..%2f..%2f..%2f..{path}", "/gradio_api/file=%2e%2e/%2e%2e/%2e%2e{path}",
    "/static/..{path}", "/static/%2e%2e%2f%2e%2e%2f%2e%2e{path}", "/assets/../../../../..{path}",
    "/gradio_api/stream/..{path}", "/gradio_api/proxy=file://{path}",
    "/custom_component/x/..{path}",
)  # fmt: skip


def test_no_path_leads_to_a_file(port: int, run: Path) -> None:
    tried = [way.format(path=file.format(run=run)) for file in FILES for way in WAYS]
    assert len(tried) >= 30
    secrets = [b"root:", b"PATH=", b'"seed": 1', b"model_name: suparc"]
    for path in tried:
        status, _, content = ask(port, "GET", path)
        assert status != 200 or b"mmsa-suparc" in content, path
        assert not any(secret in content for secret in secrets), path


def test_what_is_too_large_is_refused(port: int) -> None:
    status, _, answer = ask(port, "POST", "/gradio_api/upload", Content_Length=str(3 << 20))
    assert status == 413
    assert b"larger than this page takes" in answer
    # Without a length: the body is counted as it comes.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest("POST", "/gradio_api/upload")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    try:
        for _ in range(64):
            connection.send(b"10000\r\n" + bytes(65536) + b"\r\n")
        connection.send(b"0\r\n\r\n")
        assert connection.getresponse().status in (400, 413)
    except OSError:
        pass  # refused while it was sent
    finally:
        connection.close()
    assert ask(port, "GET", "/")[0] == 200


def test_twenty_uploads_at_once_leave_it_answering(port: int) -> None:
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda n: upload(port, bytes(500_000), f"{n}.mp4"), range(20)))
    assert {status for status, _ in found} == {200}
    assert all(json.loads(answer) for _, answer in found)
    assert ask(port, "GET", "/")[0] == 200


def test_nothing_of_it_can_be_called_from_outside(port: int) -> None:
    _, _, content = ask(port, "GET", "/gradio_api/info")
    assert json.loads(content)["named_endpoints"] == {}


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page(SupArcPredictor.from_run(run))


def test_what_a_user_types_is_escaped(page: Page, tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>"
    shown = page.score(None, attack, ["text"])
    assert 'id="score"' in shown
    assert "<script>" not in shown
    assert "<script>" not in page.shown(Prediction(0.0, "neutral", None, None, None, (attack,)))
    odd = tmp_path / "folder" / "a.<b>"
    odd.parent.mkdir()
    odd.write_bytes(b"x")
    clip, told = page.extract(str(odd))
    assert clip is None
    assert "<b>" not in told
    assert not odd.parent.exists()  # deleted, though it was refused


def test_uploads_are_deleted_and_only_videos_are_opened(page: Page, tmp_path: Path) -> None:
    for name in ("a.pkl", "a.pt", "a.safetensors", "a.csv", "a", "a.mp4"):
        path = tmp_path / name.replace(".", "") / name
        path.parent.mkdir()
        path.write_bytes(b"x")
        clip, told = page.extract(str(path))
        assert clip is None
        assert ("expected a video" in told) == (name != "a.mp4")
        assert not path.exists()


def test_nothing_to_score_is_said(page: Page) -> None:
    assert "Nothing to score" in page.score(None, "", ["text"])
    assert "Nothing to score" in page.score(None, "words", [])
    assert "Nothing to score" in page.score(None, "words", ["audio"])
    assert page.score(None, "some words", ["text"]).count("not used") == 3
