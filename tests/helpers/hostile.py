"""Twenty-six files that call themselves videos."""

from __future__ import annotations

import os
from pathlib import Path

from tests.helpers.clips import encode, make_clip

SECRET = "do not read this"


def make_hostile(folder: Path) -> dict[str, Path]:
    """By name; those whose name ends in ``!`` are good clips under an odd name."""
    good = make_clip(folder / "good.mp4", seconds=1.0)
    data = good.read_bytes()
    secret = folder / "secret.txt"
    secret.write_text(SECRET)
    made: dict[str, Path] = {}

    def write(name: str, content: bytes, file: str | None = None) -> None:
        made[name] = folder / (file or f"{name}.mp4")
        made[name].write_bytes(content)

    write("empty", b"")
    write("text", b"this is no video\n")
    write("zeros", bytes(100_000))
    write("noise", os.urandom(100_000))
    write("cut in half", data[: len(data) // 2])
    write("head only", data[:200])
    write("flipped", data[:500] + bytes(b ^ 255 for b in data[500:3000]) + data[3000:])
    write("ffconcat", f"ffconcat version 1.0\nfile {good}\n".encode())
    write("hls", b"#EXTM3U\n#EXTINF:1,\nfile://" + str(good).encode() + b"\n#EXT-X-ENDLIST\n")
    write("hls over http", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    write("svg", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>')
    write("subtitles", b"1\n00:00:00,000 --> 00:00:09,000\nhello\n")
    write("image2 pattern", b"%03d.png")
    write("wrong suffix!", data, "wrong.txt")
    write("dash!", data, "-i.mp4")
    write("colon!", data, "http:x.mp4")
    write("newline!", data, "a\nb.mp4")
    write("quote!", data, 'it\'s "quoted".mp4')
    write("emoji!", data, "🎬 好.mp4")
    tone = ["-f", "lavfi", "-i", "sine=frequency=200:sample_rate=16000"]
    made["0-byte sound"] = folder / "sound.wav"
    made["0-byte sound"].write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt ")
    made["one frame"] = encode(
        folder / "one.mp4", "-f", "lavfi", "-i", "color=c=red:s=64x64:r=10", "-frames:v", "1"
    )
    made["4096×4096"] = encode(
        folder / "large.mp4", "-f", "lavfi", "-i", "color=c=blue:s=4096x4096:r=1", "-t", "2",
        "-c:v", "libx264", "-preset", "ultrafast",
    )  # fmt: skip
    made["an hour of silence"] = encode(
        folder / "hour.mp4", "-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "3600",
        "-c:a", "aac", "-b:a", "8k",
    )  # fmt: skip
    made["1,000 frames a second"] = encode(
        folder / "fast.mp4", "-f", "lavfi", "-i", "testsrc=s=64x64:r=1000", *tone, "-t", "2"
    )
    os.mkfifo(folder / "fifo.mp4")
    made["FIFO"] = folder / "fifo.mp4"
    made["device"] = Path("/dev/zero")
    (folder / "folder.mp4").mkdir()
    made["folder"] = folder / "folder.mp4"
    (folder / "link.mp4").symlink_to(secret)
    made["link"] = folder / "link.mp4"
    assert len(made) >= 26
    return made
