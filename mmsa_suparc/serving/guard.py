"""The door of the page: what strangers send is looked at here before Gradio sees any of it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any

import anyio

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

API = "/gradio_api/"
UPLOAD = f"{API}upload"
#: What the page itself asks for below :data:`API`; a trailing slash means: and what is below it.
#: Gradio has more, some of which reads files or asks other servers; nobody needs it here.
ASKED = {
    "GET": ("info", "app_id", "startup-events", "heartbeat/", "queue/data", "upload_progress",
            "theme.css"),
    "POST": ("upload", "queue/join", "cancel", "reset"),
}  # fmt: skip
#: Bytes of a request that is no upload.
MOST_JSON = 1 << 20
#: Bytes of an upload beyond its file: the form around it.
FORM = 1 << 16
#: Bytes of a body that are kept in memory, and that are passed on at once.
CHUNK = 1 << 20
#: Seconds in which the rest of a refused body is thrown away: who still sends would else see a
#: broken connection instead of the answer.
LINGER = 2.0
#: The page asks nobody but its own server.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; form-action 'self'; "
    "base-uri 'self'"
)


class _RefusedError(Exception):
    """The status and the words with which a request is turned away."""

    def __init__(self, status: int, text: str) -> None:
        self.status, self.text = status, text


@dataclass(frozen=True)
class Guard:
    """ASGI middleware: own Host and Origin only, what the page asks for only, bodies up to a
    limit, no file named but uploads, no CORS.

    A body is taken whole before what stands behind sees its first byte: an upload that is cut
    leaves nothing.

    Args:
        app: what stands behind it.
        hosts: values of the header ``Host`` that are answered.
        most: bytes of an uploaded file.
        uploads: the only folder whose files a request may name.
    """

    app: Callable[[Scope, Receive, Send], Awaitable[None]]
    hosts: frozenset[str]
    most: int
    uploads: Path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_upload = scope["path"] == UPLOAD
        with tempfile.SpooledTemporaryFile(CHUNK) as body:
            try:
                self._check_head(scope)
                limit = self.most + FORM if is_upload else MOST_JSON
                if not await _take(scope, receive, body, limit):
                    return
                if scope["method"] == "POST" and not is_upload:
                    self._check_files(body)
            except _RefusedError as refused:
                await _answer(send, refused.status, refused.text)
                return
            await self.app(scope, _giving(body, receive), _plainly(send))

    def _check_head(self, scope: Scope) -> None:
        headers = _headers(scope)
        if headers.get("host", "") not in self.hosts:
            raise _RefusedError(403, "this page answers to its own address only")
        origin = headers.get("origin")
        if origin is not None and origin.removeprefix("http://") not in self.hosts:
            raise _RefusedError(403, "this page takes no requests of other pages")
        method, path = scope["method"].replace("HEAD", "GET"), scope["path"]
        if method not in ASKED:
            raise _RefusedError(405, "this page is read, and takes clips and words")
        if method == "GET" and not path.startswith(API):
            return  # the page and what it is made of
        name = path.removeprefix(API)
        if name == path or not any(
            name.startswith(known) if known.endswith("/") else name == known
            for known in ASKED[method]
        ):
            raise _RefusedError(404, "this page has no use for that")

    def _check_files(self, body: IO[bytes]) -> None:
        """A request may name no file but a regular one in the upload folder.

        The body is written anew: what was looked at is what is read behind the door.
        """
        body.seek(0)
        try:
            found = [json.load(body)]
            text = json.dumps(found[0])
        except (ValueError, RecursionError):
            raise _RefusedError(400, "expected JSON") from None
        body.seek(0)
        body.truncate()
        body.write(text.encode())
        while found:
            value = found.pop()
            if isinstance(value, dict):
                if "path" in value and not self._is_upload(value["path"]):
                    raise _RefusedError(403, "this page takes uploads only")
                found += value.values()
            elif isinstance(value, list):
                found += value

    def _is_upload(self, name: object) -> bool:
        try:
            path = Path(str(name))
            inside = path.resolve().is_relative_to(self.uploads.resolve())
            return isinstance(name, str) and inside and S_ISREG(path.lstat().st_mode)
        except (OSError, ValueError, RuntimeError):  # none, a NUL in it, too long, a loop of links
            return False


def _headers(scope: Scope) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
    }


async def _take(scope: Scope, receive: Receive, body: IO[bytes], limit: int) -> bool:
    """Write the whole body of a request to a file; False if the sender went away."""
    length = _headers(scope).get("content-length", "0")
    taken, goes_on = 0, True
    too_large = not length.isdecimal() or len(length) > 15 or int(length) > limit
    while goes_on and not too_large:
        message = await receive()
        if message["type"] == "http.disconnect":
            return False
        chunk, goes_on = message.get("body", b""), message.get("more_body", False)
        taken += len(chunk)
        too_large = taken > limit
        body.write(chunk)
    if too_large:
        with anyio.move_on_after(LINGER):
            while goes_on:
                goes_on = (await receive()).get("more_body", False)
        raise _RefusedError(413, "larger than this page takes")
    return True


def _giving(body: IO[bytes], receive: Receive) -> Receive:
    """The body as if it came from the network; then what really comes."""
    body.seek(0)
    is_given = False

    async def give() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        chunk = body.read(CHUNK)
        is_given = len(chunk) < CHUNK
        return {"type": "http.request", "body": chunk, "more_body": not is_given}

    return give


def _plainly(send: Send) -> Send:
    """Answers without leave for other pages, and with the policy of this one."""

    async def plain(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [
                (name, value) for name, value in message["headers"]
                if not name.lower().startswith(b"access-control-")
            ]  # fmt: skip
            kept += [
                (b"content-security-policy", POLICY.encode()),
                (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"),
            ]  # fmt: skip
            message = {**message, "headers": kept}
        await send(message)

    return plain


async def _answer(send: Send, status: int, text: str) -> None:
    await send(
        {
            "type": "http.response.start", "status": status,
            "headers": [(b"content-type", b"text/plain; charset=utf-8"),
                        (b"connection", b"close")],
        }
    )  # fmt: skip
    await send({"type": "http.response.body", "body": text.encode()})
