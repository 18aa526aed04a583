"""`SparseDictionary`: a dictionary of sparse features as data, and the folder layout in which the SAELens package keeps one.

    folder/cfg.json                    d_in, d_sae, architecture, k, ... and, under metadata, where it reads
    folder/sae_weights.safetensors     W_enc [d_in, d_sae], W_dec [d_sae, d_out], b_enc, b_dec; threshold (jumprelu);
                                       b_gate, r_mag, b_mag instead of b_enc (gated)

Writing keeps our own names beside theirs (site, fingerprint of the model), so that a dictionary made for another model or site
can be refused. Reading folds what the weights of others need at run time (lengths of decoder rows, factors of features) into the
weights, and refuses what cannot be folded (normalisation of each row). No torch.

Shapes as in `ops.dictionary`. Reference: github.com/decoderesearch/SAELens.
"""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from exegete.core.errors import StoreError
from exegete.core.site import Site
from exegete.core.store import write_atomic
from exegete.core.value import Value

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
ARCHITECTURES = {"relu": "standard", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated"}
TRANSCODERS = {"relu": "transcoder", "jumprelu": "jumprelu_transcoder", "topk": "topk_transcoder", "gated": "gated_transcoder"}  # fmt: skip
HOOKS = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_add": "hook_attn_out",
    "attn_in": "hook_attn_in",
    "mlp_in": "hook_mlp_in",
    "mlp_add": "hook_mlp_out",
    "z": "attn.hook_z",
    "mlp_act": "mlp.hook_post",
}


class SparseDictionary(Value):
    """A dictionary of sparse features and where it reads.

    kind             relu, topk, jumprelu or gated; `k` features are on at a time (topk; else 0)
    encoder          [in, feature], decoder [feature, out], bias [feature], offset [out]
    threshold        [feature] of jumprelu; gain and level [feature] of gated; empty for other kinds
    site, site_out   what it reads, and what it stands for (the same for an autoencoder)
    model            name of the model it was made for; `fingerprint` of its weights, "" where it is not known
    """

    kind: Literal["relu", "topk", "jumprelu", "gated"]
    k: int = 0
    centred: bool = True
    encoder: np.ndarray
    decoder: np.ndarray
    bias: np.ndarray
    offset: np.ndarray
    threshold: np.ndarray = np.zeros(0, np.float32)
    gain: np.ndarray = np.zeros(0, np.float32)
    level: np.ndarray = np.zeros(0, np.float32)
    site: str = ""
    site_out: str = ""
    model: str = ""
    fingerprint: str = ""

    @property
    def is_transcoder(self) -> bool:
        """Whether it stands for another place than it reads."""
        return self.site != self.site_out

    def write(self, folder: str | Path) -> str:
        """Write the two files of the SAELens layout into `folder` (made if need be). Raises `StoreError`."""
        from safetensors.numpy import save as to_bytes

        path = Path(folder)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise StoreError(
                f"You asked to write a dictionary to {str(path)!r}.",
                f"The folder cannot be made ({e.strerror}).",
                "Choose another path.",
            ) from None
        write_atomic(
            path / WEIGHTS, to_bytes({n: np.ascontiguousarray(a) for n, a in self._arrays().items()})
        )
        write_atomic(path / CONFIG, json.dumps(self._config(), indent=1).encode())
        return str(path)

    def _arrays(self) -> dict[str, np.ndarray]:
        found = {"W_enc": self.encoder, "W_dec": self.decoder, "b_dec": self.offset}
        if self.kind == "gated":
            return found | {"b_gate": self.bias, "r_mag": self.gain, "b_mag": self.level}
        found["b_enc"] = self.bias
        return found | ({"threshold": self.threshold} if self.kind == "jumprelu" else {})

    def _config(self) -> dict[str, Any]:
        site = Site.parse(self.site) if self.site else None
        said: dict[str, Any] = {
            "architecture": (TRANSCODERS if self.is_transcoder else ARCHITECTURES)[self.kind],
            "d_in": self.encoder.shape[0],
            "d_sae": self.encoder.shape[1],
            "dtype": "float32",
            "device": "cpu",
            "apply_b_dec_to_input": self.centred,
            "normalize_activations": "none",
            "reshape_activations": "hook_z" if site is not None and site.kind == "z" else "none",
            "metadata": {
                "model_name": self.model,
                "hook_name": hook_name(site),
                "exegete_site": self.site,
                "exegete_site_out": self.site_out,
                "exegete_fingerprint": self.fingerprint,
            },
        }
        if self.is_transcoder:
            said["d_out"] = self.decoder.shape[1]
        if self.kind == "topk":
            said |= {"k": self.k, "rescale_acts_by_decoder_norm": False}
        return said


def hook_name(site: Site | None) -> str:
    """The place as TransformerLens calls it; our own name where it has none."""
    if site is None:
        return ""
    if site.kind not in HOOKS or site.layer is None or site.stack:
        return str(site)
    return f"blocks.{site.layer}.{HOOKS[site.kind]}"


def read_dictionary(folder: str | Path) -> SparseDictionary:
    """The dictionary in a folder of the SAELens layout. Raises `StoreError` for what is missing, broken or of another kind."""
    asked = f"You asked for the dictionary in {str(folder)!r}."
    config, arrays = _files(Path(folder), asked)
    kind, transcoder = _kind(config, arrays, asked)
    wanted = {"W_enc", "W_dec", "b_dec"} | ({"b_gate", "r_mag", "b_mag"} if kind == "gated" else {"b_enc"})
    wanted |= {"threshold"} if kind == "jumprelu" else set()
    missing, more = sorted(wanted - set(arrays)), sorted(set(arrays) - wanted - {"scaling_factor"})
    if missing or more:
        words = (
            f"it lacks {', '.join(missing)}"
            if missing
            else f"it also has {', '.join(more)}, which is not known here"
        )
        raise StoreError(asked, f"For a {kind} dictionary {words}.", "Save it again with SAELens or Exegete.")
    norm = str(config.get("normalize_activations", "none"))
    if norm not in ("none", "None", "False"):
        raise StoreError(
            asked,
            f"It normalises each activation by {norm!r} before reading it, which is not part of its weights.",
            "Fold the normalisation into the weights with SAELens first.",
        )
    meta = config.get("metadata") or {}
    place = meta.get("exegete_site") or meta.get("hook_name") or config.get("hook_name") or ""
    centred = bool(config.get("apply_b_dec_to_input", not transcoder)) and not transcoder
    return _checked(config, arrays, kind, asked).model_copy(
        update={
            "centred": centred,
            "site": _site(str(place)),
            "site_out": _site(str(meta.get("exegete_site_out") or meta.get("hook_name_out") or config.get("hook_name_out") or place)),
            "model": str(meta.get("model_name") or config.get("model_name") or ""),
            "fingerprint": str(meta.get("exegete_fingerprint") or ""),
        }
    )  # fmt: skip


def _checked(
    config: dict[str, Any], arrays: dict[str, np.ndarray], kind: Any, asked: str
) -> SparseDictionary:
    """The weights, in float32, with lengths of decoder rows folded in where they are meant to be. Raises `StoreError`."""
    a = {n: v.astype(np.float32) for n, v in arrays.items()}
    m = a["W_enc"].shape[1] if a["W_enc"].ndim == 2 else 0
    right = a["W_dec"].ndim == 2 and len(a["W_dec"]) == m and a["b_dec"].shape == (a["W_dec"].shape[1],)
    sizes = [v.shape == (m,) for k, v in a.items() if k not in ("W_enc", "W_dec", "b_dec")]
    if not m or not right or not all(sizes):
        shapes = ", ".join(f"{k} {list(v.shape)}" for k, v in sorted(a.items()))
        raise StoreError(asked, f"Its sizes do not fit each other: {shapes}.", "Save it again.")
    k = 0
    if kind == "topk":
        k = int(config.get("k") or (config.get("activation_fn_kwargs") or {}).get("k") or 0)
        if not 0 < k <= m:
            raise StoreError(asked, f"It keeps the {k} largest of {m} features.", "Give k in cfg.json.")
        if config.get("rescale_acts_by_decoder_norm"):
            length = np.linalg.norm(a["W_dec"], axis=1)
            a["W_enc"], a["b_enc"] = a["W_enc"] * length, a["b_enc"] * length
            a["W_dec"] = a["W_dec"] / np.maximum(length, 1e-12)[:, None]
    if (
        "scaling_factor" in a
    ):  # of a finetuned dictionary: what features are multiplied by before they are decoded
        a["W_dec"] = a["W_dec"] * a["scaling_factor"][:, None]
    none = np.zeros(0, np.float32)
    return SparseDictionary(
        kind=kind,
        k=k,
        encoder=a["W_enc"],
        decoder=a["W_dec"],
        bias=a["b_gate"] if kind == "gated" else a["b_enc"],
        offset=a["b_dec"],
        threshold=a.get("threshold", none),
        gain=a.get("r_mag", none),
        level=a.get("b_mag", none),
    )


def _files(path: Path, asked: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    lacking = [name for name in (CONFIG, WEIGHTS) if not (path / name).is_file()]
    if lacking:
        raise StoreError(
            asked,
            f"There is no {lacking[0]} in it." if path.is_dir() else "There is no such folder.",
            f"A dictionary is a folder with {CONFIG} and {WEIGHTS}.",
        )
    try:
        return json.loads((path / CONFIG).read_text(encoding="utf-8")), load_file(path / WEIGHTS)
    except (SafetensorError, OSError, ValueError, TypeError) as e:
        raise StoreError(asked, f"It cannot be read ({e}).", "Save it again.") from None


def _kind(config: dict[str, Any], arrays: dict[str, np.ndarray], asked: str) -> tuple[str, bool]:
    """Which kind it is, and whether a transcoder."""
    named = str(config.get("architecture") or "standard")
    named = "topk" if str(config.get("activation_fn", config.get("activation_fn_str"))) == "topk" else named
    for table, transcoder in ((ARCHITECTURES, False), (TRANSCODERS, True)):
        for kind, name in table.items():
            if name == named:
                return kind, transcoder
    raise StoreError(
        asked,
        f"Its architecture is {named!r}.",
        f"Known: {', '.join([*ARCHITECTURES.values(), *TRANSCODERS.values()])}.",
    )


def _site(name: str) -> str:
    """A place in our words; as it is where it has none."""
    from exegete.core.errors import UsageError

    try:
        return str(Site.parse(name)) if name else ""
    except UsageError:
        return name
