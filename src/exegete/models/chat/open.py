"""From the name that people write to a language model that writes.

    script:FILE              replay of a file (`models.chat.scripted`)
    local:NAME               a causal model: a folder, an embedded model, a Hugging Face name
    http://HOST:PORT/v1#M    the model M of an OpenAI-compatible endpoint

Replies of local models and endpoints are kept in `$EXEGETE_CACHE` (default ~/.cache/exegete), beside the activations.
"""

import os
from pathlib import Path

from exegete.core.errors import UsageError
from exegete.models.chat.base import Chat
from exegete.models.chat.kept import Replies


def chat(spec: str) -> Chat:
    """The chat that `spec` names. Raises `UsageError` for a name of no known form, and what its loading raises."""
    kind, _, rest = spec.partition(":")
    if kind == "script" and rest:
        from exegete.models.chat.scripted import ScriptedChat

        return ScriptedChat.read(rest)
    if kind == "local" and rest:
        from exegete.models.chat.local import LocalChat
        from exegete.models.load import load

        return LocalChat(load(rest), kept_replies())
    if kind in ("http", "https"):
        from exegete.models.chat.endpoint import EndpointChat

        url, _, model = spec.partition("#")
        return EndpointChat(url, model, kept_replies())
    raise UsageError(
        f"You named the language model {spec!r}.",
        "It is none of script:FILE, local:NAME, http://HOST/v1#MODEL.",
        "For example local:terrarium/decoder, or http://127.0.0.1:8000/v1#my-model.",
    )


def kept_replies() -> Replies:
    """Where replies are kept; nowhere where EXEGETE_CACHE is "off"."""
    named = os.environ.get("EXEGETE_CACHE", "")
    if named == "off":
        return Replies(None)
    return Replies(Path(named or "~/.cache/exegete").expanduser() / "replies")
