"""A chat with any OpenAI-compatible endpoint, through the `openai` client (extra `llm`).

1. a request is sent with a deadline for all its tries together, the last byte of the answer included; overload, broken connections, answers that break off and errors
   of the server (429, 5xx) are tried again after growing pauses, as long as the server asks, at most `tries` times;
2. what will not get better (401, 403, 404, a wrong request, an empty purse) fails at once, with a letter;
3. whether it reports probabilities is asked once, with one token;
4. the key comes from EXEGETE_LLM_KEY; OPENAI_API_KEY is sent to api.openai.com alone, so that no key goes where it was not meant
   for. No key is kept, shown or hashed.

Cost: one call a request that is not kept; the client's own retries are off, so that none is hidden.
"""

import os
import time
import weakref
from typing import Any
from urllib.parse import urlsplit

from exegete.core.errors import MissingExtra, UsageError
from exegete.models.chat.base import Alternative, Ask, Chat, ChatError, Reply
from exegete.models.chat.kept import Replies
from exegete.models.chat.until import hooks

OPENAI = "api.openai.com"
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 20.0  # seconds


class EndpointChat(Chat):
    """Answers of an endpoint: `url` is its base (".../v1"), `model` what it calls the model."""

    def __init__(
        self, url: str, model: str, replies: Replies | None = None, deadline: float = 120.0, tries: int = 5
    ) -> None:
        super().__init__(replies)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not model:
            raise UsageError(
                f"You named the language model {url!r}#{model!r}.",
                "It is no address of an endpoint with the name of a model.",
                "Write http://HOST:PORT/v1#MODEL.",
            )
        if parts.username or parts.password or parts.query:
            raise UsageError(
                f"You named the language model at {parts.hostname}.",
                "Its address holds a name, a password or a query, which would be written into results.",
                "Leave them out, and set EXEGETE_LLM_KEY.",
            )
        try:
            import openai
        except ImportError:
            raise MissingExtra("openai", "llm", "A language model behind an endpoint") from None
        self._openai, self.url, self.model = openai, url.rstrip("/"), model
        self.deadline, self.tries = deadline, tries
        self.name = f"{model} at {parts.hostname}"
        self._reports: bool | None = None
        self._keyed = bool(_key(parts.hostname))
        http = openai.DefaultHttpxClient(event_hooks=hooks(openai.DefaultHttpxClient))
        weakref.finalize(self, http.close)  # one that is given to it the package does not close
        self._client = openai.OpenAI(
            base_url=self.url, api_key=_key(parts.hostname) or "none", max_retries=0, timeout=deadline, http_client=http
        )  # fmt: skip

    @property
    def identity(self) -> str:
        return f"endpoint {self.url} {self.model}"

    @property
    def probabilities(self) -> bool:
        if self._reports is None:
            ask = Ask(messages=({"role": "user", "content": "Say yes."},), max_tokens=1, top=1)  # type: ignore[arg-type]
            try:
                self._reports = bool(self._say(ask).top)
            except ChatError as e:
                o = self._openai
                if not isinstance(e.__cause__, (o.BadRequestError, o.UnprocessableEntityError)):
                    raise
                self._reports = False  # it knows no such field
        return self._reports

    def _say(self, ask: Ask) -> Reply:
        end, pause = time.monotonic() + self.deadline, FIRST_PAUSE
        for nth in range(1, self.tries + 1):
            left = end - time.monotonic()
            try:
                client = self._client.with_options(timeout=max(left, 0.05))
                answer = client.chat.completions.create(**self._body(ask))
            except (self._openai.OpenAIError, ValueError) as e:  # ValueError: what came is no whole JSON
                wait = self._again(e, pause)
                left = end - time.monotonic()
                if wait is None or nth == self.tries or wait >= left:
                    raise self._letter(e, nth) from e
                time.sleep(wait)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                return self._reply(answer)
        raise ChatError(f"You asked {self.name}.", "No try was allowed.", "Give at least one.")

    def _body(self, ask: Ask) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [m.model_dump() for m in ask.messages],
            "max_tokens": ask.max_tokens,
            "temperature": ask.temperature,
            "seed": ask.seed,
        }
        if ask.stop:
            body["stop"] = list(ask.stop)
        if ask.top:
            body |= {"logprobs": True, "top_logprobs": ask.top}
        return body

    def _reply(self, answer: Any) -> Reply:
        choice = answer.choices[0] if getattr(answer, "choices", None) else None
        if choice is None or choice.message is None:
            raise ChatError(
                f"You asked {self.name}.",
                "Its answer holds no choice: it speaks another protocol.",
                "Check that the address is that of an OpenAI-compatible endpoint (it usually ends in /v1).",
            )
        told = getattr(getattr(choice, "logprobs", None), "content", None) or ()
        top = tuple(
            tuple(Alternative(token=a.token, logprob=a.logprob) for a in step.top_logprobs or ())
            for step in told
        )
        usage = answer.usage
        return Reply(
            text=(choice.message.content or "").strip(),
            finish="length" if choice.finish_reason == "length" else "stop",
            top=top,
            tokens_in=(usage.prompt_tokens if usage else 0) or 0,  # some endpoints leave them empty
            tokens_out=(usage.completion_tokens if usage else 0) or 0,
        )

    def _again(self, e: Any, pause: float) -> float | None:
        """Seconds after which another try may help; None where none will."""
        o = self._openai
        if isinstance(e, o.APITimeoutError):
            return None  # the deadline is for all tries together
        if isinstance(e, o.APIConnectionError) or not isinstance(e, o.OpenAIError):
            return pause
        if not isinstance(e, o.APIStatusError) or not (
            e.status_code in (408, 409, 429) or e.status_code >= 500
        ):
            return None
        if getattr(e, "code", None) == "insufficient_quota":
            return None
        try:
            return max(pause, float(e.response.headers.get("retry-after", 0)))
        except ValueError:
            return pause  # a date instead of seconds

    def _letter(self, e: Any, nth: int) -> ChatError:
        o, asked = self._openai, f"You asked {self.name} ({self.url})."
        tries = f" after {nth} tries" if nth > 1 else ""
        if isinstance(e, o.APITimeoutError):
            found = f"It did not answer within {self.deadline:g} s."
            return ChatError(asked, found, "Check that it is running, or ask for less.")
        if isinstance(e, o.APIConnectionError):
            return ChatError(
                asked, f"It cannot be reached{tries}.", "Check the address, and that it is running."
            )
        if not isinstance(e, o.OpenAIError):
            return ChatError(
                asked, f"Its answer broke off or is no JSON{tries}.", "See what the endpoint logs."
            )
        if isinstance(e, (o.AuthenticationError, o.PermissionDeniedError)):
            found = f"It refused {'the key' if self._keyed else 'a request without a key'} ({e.status_code})."
            return ChatError(asked, found, "Set EXEGETE_LLM_KEY to a key that it accepts.")
        if isinstance(e, o.NotFoundError):
            found = f"It knows no model {self.model!r}, or no such path (404)."
            return ChatError(
                asked,
                found,
                "Check the name of the model, and that the address ends where the API starts (/v1).",
            )
        status = getattr(e, "status_code", None)
        if status == 429:
            return ChatError(
                asked,
                f"It is overloaded, or the purse is empty (429){tries}.",
                "Try later, or use another model.",
            )
        words = str(getattr(e, "message", e))
        own = _key(str(urlsplit(self.url).hostname))
        words = (words.replace(own, "...") if own else words)[:160]  # some endpoints repeat the key
        return ChatError(
            asked, f"It failed ({status or type(e).__name__}){tries}: {words}", "See what the endpoint logs."
        )


def _key(host: str) -> str:
    own = os.environ.get("EXEGETE_LLM_KEY", "")
    return own or (os.environ.get("OPENAI_API_KEY", "") if host == OPENAI else "")
