"""The page from outside: whom it answers, what it takes, what it gives away."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mmsa_suparc
from mmsa_suparc.data.demo import Demo
from mmsa_suparc.serving import shown
from mmsa_suparc.serving.app import Page
from mmsa_suparc.serving.prediction import Prediction
from mmsa_suparc.serving.predictor import SupArcPredictor
from tests.helpers.page import served

pytest.importorskip("gradio")


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
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def port(run: Path, temporary: Path) -> Iterator[int]:
    with served(run, temporary) as (chosen, _):
        yield chosen


def kept(temporary: Path) -> dict[Path, bytes]:
    """What lies in the upload folder."""
    (folder,) = temporary.glob("mmsa-app-*")
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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


def file_data(path: str, url: str | None = None) -> dict[str, object]:
    """A file as the page's own script names it."""
    return {"path": path, "url": url, "meta": {"_type": "gradio.FileData"}}


def post(port: int, path: str, content: object, **headers: str) -> tuple[int, bytes]:
    body = json.dumps(content).encode()
    status, _, answer = ask(
        port, "POST", path, body=body, Content_Type="application/json", **headers
    )
    return status, answer


ENDPOINTS = (
    *(f"/gradio_api/{way}/{name}" for way in ("run", "api", "call", "call/v2")
      for name in ("0", "extract", "predict", "score")),
    "/gradio_api/queue/join", "/gradio_api/queue/join/", "/gradio_api/component_server",
    "/gradio_api/process_recording", "/gradio_api/stream/x", "/gradio_api/cancel",
    "/gradio_api/vibe-edit", "/run/0", "//gradio_api/run/0", "/gradio_api//run/0",
)  # fmt: skip
#: How a request may hide a file: alone, in lists, in dictionaries, where words belong.
SHAPES = {
    "alone": lambda file: [file],
    "words": lambda file: [None, file, ["text"]],
    "list": lambda file: [[file, file]],
    "nested": lambda file: [{"value": {"deep": [{"deeper": file}]}}],
    "boxes": lambda file: [None, "words", [file]],
}


def test_no_request_makes_it_open_a_file_or_an_address(port: int, temporary: Path) -> None:
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as other:  # whom the server must never ask
        other.setblocking(False)
        url = f"http://127.0.0.1:{other.getsockname()[1]}/secret"
        (folder,) = temporary.glob("mmsa-app-*")
        paths = ("/etc/passwd", "../../../../../../etc/passwd", f"{folder}/../../../../etc/passwd",
                 "/proc/self/environ", str(folder), "/dev/zero", "/dev/stdin", "\0", "x" * 5000,
                 url, "file:///etc/passwd")  # fmt: skip
        for endpoint in ENDPOINTS:
            for number, path in enumerate(paths):
                for shape in SHAPES if number == 0 else ("alone", "words"):
                    for fn in (0, 1) if shape in ("alone", "words") else (0,):
                        content = {
                            "data": SHAPES[shape](file_data(path, url)), "fn_index": fn,
                            "session_hash": "attack", "event_data": None, "component_id": 1,
                            "fn_name": "x",
                        }  # fmt: skip
                        status, answer = post(port, endpoint, content)
                        assert status in (400, 403, 404, 405), (endpoint, path, shape, status)
                        assert b"root:" not in answer
                        asked.append(status)
        assert len(asked) > 500
        assert ask(port, "GET", f"/gradio_api/file={url}")[0] == 404
        assert ask(port, "GET", f"/gradio_api/proxy={url}")[0] == 404
        with pytest.raises(BlockingIOError):
            other.accept()
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
        assert ask(port, method, "/gradio_api/run/0")[0] in (400, 405)
    assert not any(b"root:" in content for content in kept(temporary).values())
    assert ask(port, "GET", "/")[0] == 200


def test_no_other_page_can_send_it_anything(port: int) -> None:
    content = {"data": ["words"], "fn_index": 0, "session_hash": "attack"}
    for headers in ({"Host": "example.org"}, {"Origin": "http://example.org"}):
        for endpoint in ("/gradio_api/queue/join", "/gradio_api/run/0", "/gradio_api/upload"):
            assert post(port, endpoint, content, **headers)[0] == 403


def test_what_is_no_request_is_refused(port: int) -> None:
    for body in (b"", b"{", b"[" * 100_000, b"\xff\xfe", b"{'data': 1}"):
        assert ask(port, "POST", "/gradio_api/queue/join", body=body)[0] == 400, body[:20]
    assert ask(port, "POST", "/gradio_api/queue/join", body=b" " * (2 << 20))[0] == 413
    assert ask(port, "POST", "/gradio_api/upload", Content_Length="9" * 5000)[0] in (400, 413)


def told(port: int, fn: int, data: list[object]) -> str:
    """What the page's script is told when it asks as it does in a browser."""
    session = uuid.uuid4().hex
    content = {"data": data, "fn_index": fn, "session_hash": session, "event_data": None,
               "trigger_id": None}  # fmt: skip
    status, answer = post(port, "/gradio_api/queue/join", content)
    assert status == 200, answer
    status, _, stream = ask(port, "GET", f"/gradio_api/queue/data?session_hash={session}")
    assert status == 200
    events = [json.loads(line[6:]) for line in stream.decode().splitlines() if line]
    (done,) = [event for event in events if event["msg"] == "process_completed"]
    assert done["success"], done
    return str(done["output"]["data"])


def test_a_clip_and_words_are_scored_as_a_browser_asks(port: int, temporary: Path) -> None:
    status, answer = upload(port, b"no video", "my clip.mp4")
    (path,) = json.loads(answer)
    assert (status, kept(temporary)[Path(path)]) == (200, b"no video")
    url = f"http://127.0.0.1:{port}/gradio_api/file={path}"
    assert "<p>" in told(port, 0, [{**file_data(path, url), "orig_name": "my clip.mp4"}])
    assert Path(path) not in kept(temporary)
    assert "data-score" in told(port, 1, [None, "what a wonderful film", ["text"], None])


@pytest.mark.slow
def test_an_attacked_page_ends_when_it_is_told_to(run: Path, tmp_path: Path) -> None:
    with served(run, tmp_path) as (port, process):
        for path in ("/dev/zero", "/dev/random", "/etc/passwd"):
            for endpoint in ("/gradio_api/run/0", "/gradio_api/queue/join"):
                content = {"data": [file_data(path)], "fn_index": 0, "session_hash": "attack"}
                with contextlib.suppress(TimeoutError):
                    post(port, endpoint, content)
        with socket.create_connection(("127.0.0.1", port)) as listening:
            listening.sendall(
                f"GET /gradio_api/heartbeat/x HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
            )
            assert b"200 OK" in listening.recv(4096)
            process.terminate()
            process.wait(20)
    assert not list(tmp_path.glob("mmsa-app-*"))


def test_what_is_too_large_is_refused(port: int, temporary: Path) -> None:
    before = set(kept(temporary))
    status, _, answer = ask(port, "POST", "/gradio_api/upload", Content_Length=str(3 << 20))
    assert status == 413
    assert b"larger than this page takes" in answer
    # Whole, and without a length: the body is counted as it comes, whatever it pretends to be.
    assert upload(port, bytes(3 << 20))[0] == 413
    assert upload(port, bytes((1 << 20) + (1 << 17)))[0] == 413
    mark = 'Content-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
    body = f"--x\r\n{mark}".encode() + bytes(4 << 20) + b"\r\n--x--\r\n"
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    connection.request("POST", "/gradio_api/upload", pieces, headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    # Cut by who sends it.
    with socket.create_connection(("127.0.0.1", port)) as cut:
        head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: "
        cut.sendall(f"{head}{headers['Content-Type']}\r\nContent-Length: 900000\r\n\r\n".encode())
        cut.sendall(body[:500_000])
    assert ask(port, "GET", "/")[0] == 200
    assert set(kept(temporary)) == before


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
    result, history, _ = page.score(None, attack, ["text"])
    assert 'id="score"' in result
    assert "&lt;script&gt;" in history
    assert "<script>" not in result + history
    warned = Prediction(0.0, "neutral", None, None, None, (attack,))
    assert "<script>" not in shown.score([warned], (-3.0, 3.0))
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
    assert "Nothing to score" in page.score(None, "", ["text"])[0]
    assert "Nothing to score" in page.score(None, "words", [])[0]
    assert "Nothing to score" in page.score(None, "words", ["audio"])[0]
    assert page.score(None, "some words", ["text"])[0].count("not used") == 3
