"""A real OpenAI-compatible server, `transformers serve`, with a trained model behind it: the same words as the model itself."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from exegete.models.chat.endpoint import EndpointChat
from exegete.models.chat.local import LocalChat
from exegete.models.load import load
from exegete.terrarium import path

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
MISSING = [n for n in ("fastapi", "uvicorn", "openai", "accelerate") if importlib.util.find_spec(n) is None]


@pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")
def test_the_endpoint_says_what_the_model_says(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(path("decoder"), folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = Path(sys.executable).parent / "transformers"
    log = (tmp_path / "log").open("w")
    server = subprocess.Popen(
        [command, "serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
        stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    try:
        _wait(port, server, tmp_path / "log")
        got = EndpointChat(f"http://127.0.0.1:{port}/v1", str(folder)).say("the food was", max_tokens=5)
        want = LocalChat(load(str(folder))).say("the food was", max_tokens=5)
        assert got.text == want.text
        assert got.tokens_out > 0
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def _wait(port: int, server: subprocess.Popen, log: Path) -> None:
    """Until it answers; a server that ends, or does not start within two minutes, fails with what it wrote."""
    end = time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise AssertionError(log.read_text()[-2000:])
