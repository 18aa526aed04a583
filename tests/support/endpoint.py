"""An OpenAI-compatible server on loopback, with a local model behind it and every fault that real ones have.

`Server(chat)` answers `/v1/chat/completions`; `faults` is a list of what the next requests get instead of an answer: a status
(with optional headers), "hang", "drip" (a byte at a time, for three seconds), "prose" (an answer of another protocol), "cut", "broken" (half of the JSON), "sparse" (fields that
may be null are). `seen` are the requests, with their headers.
"""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from exegete.models.chat.base import Ask, Chat


class Server:
    """A context: started on a free port of 127.0.0.1, stopped on leaving."""

    def __init__(self, chat: Chat | None = None, key: str = "", logprobs: bool = True) -> None:
        self.chat, self.key, self.logprobs = chat, key, logprobs
        self.faults: list[Any] = []
        self.seen: list[dict[str, Any]] = []
        self.broken = self.drips = False

    def __enter__(self) -> "Server":
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.seen.append({"path": self.path, "key": self.headers.get("Authorization", ""), **body})
                status, headers, answer = outer.reply(self.path, self.headers.get("Authorization", ""), body)
                data = json.dumps(answer).encode()
                if outer.broken:
                    data, outer.broken = data[: len(data) // 2], False
                self.send_response(status)
                for name, value in {**headers, "Content-Type": "application/json"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                pieces = [data]
                if outer.drips:
                    pieces, outer.drips = [data[i : i + 1] for i in range(30)] + [data[30:]], False
                with contextlib.suppress(
                    BrokenPipeError, ConnectionResetError
                ):  # whoever asked has stopped waiting
                    for piece in pieces:
                        self.wfile.write(piece)
                        self.wfile.flush()
                        time.sleep(0.1 if len(pieces) > 1 else 0)

            def log_message(self, *_: Any) -> None:
                """Nothing is written."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(
            target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/v1"

    def reply(self, path: str, key: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, tuple):
            return (
                fault[0],
                fault[1],
                {"error": {"message": "as told", **(fault[2] if len(fault) > 2 else {})}},
            )
        if isinstance(fault, int):
            return fault, {}, {"error": {"message": "as told"}}
        if fault == "hang":
            time.sleep(3)
        self.broken, self.drips = fault == "broken", fault == "drip"
        if fault == "prose":
            return 200, {}, {"message": "I am another protocol"}
        if path != "/v1/chat/completions":
            return 404, {}, {"error": {"message": "no such path"}}
        if self.key and key != f"Bearer {self.key}":
            return 401, {}, {"error": {"message": "wrong key"}}
        if body.get("logprobs") and not self.logprobs:
            return 400, {}, {"error": {"message": "logprobs are not supported"}}
        answer = self._answer(body, fault == "cut")
        if fault == "sparse":
            answer["usage"] = {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}
            told = {"token": "a", "logprob": -1.0, "top_logprobs": None}
            answer["choices"][0] |= {"logprobs": {"content": [told]}, "finish_reason": None}
        return 200, {}, answer

    def _answer(self, body: dict[str, Any], cut: bool) -> dict[str, Any]:
        ask = Ask(
            messages=body["messages"],
            max_tokens=body["max_tokens"],
            temperature=body["temperature"],
            seed=body["seed"],
            stop=tuple(body.get("stop", ())),
            top=body.get("top_logprobs", 0),
        )
        r = self.chat.answer(ask) if self.chat else None
        text, finish = (r.text, r.finish) if r else ("fine", "stop")
        told = [
            {"token": s[0].token, "logprob": s[0].logprob, "top_logprobs": [a.model_dump() for a in s]}
            for s in (r.top if r else ())
        ]
        choice = {
            "index": 0,
            "finish_reason": "length" if cut else finish,
            "message": {"role": "assistant", "content": text},
            "logprobs": {"content": told} if told else None,
        }
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        return {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }
