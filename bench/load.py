"""Peak memory of loading a GPT-2-small-sized checkpoint: Exegete against Hugging Face alone, each in a process of its own."""

import subprocess
import sys
import tempfile

from timing import emit, model, word_tokenizer

CODE = {
    "hugging face": "from transformers import AutoModelForCausalLM as A, AutoTokenizer as T\nm = A.from_pretrained({0!r}); t = T.from_pretrained({0!r})",
    "exegete": "import exegete as xg\nm = xg.load({0!r}).module",
}
PEAK = """
import torch
m(torch.arange(8)[None])
print([l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')][0])
"""


def peak(code: str) -> float:
    """Peak resident MB of a fresh process that loads and runs one pass."""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(out.stdout.split()[-1]) / 1024


def main() -> None:
    """The ratio of peaks."""
    with tempfile.TemporaryDirectory() as folder:
        model("gpt2-small").save_pretrained(folder)
        word_tokenizer(50257).save_pretrained(folder)
        found = {name: min(peak(code.format(folder) + PEAK) for _ in range(2)) for name, code in CODE.items()}
    ratio = found["exegete"] / found["hugging face"]
    for name, value in found.items():
        emit("figure", bench="load peak memory", arm=f"{name} (MB)", value=value)
    emit("result", bench="load peak memory", arm="exegete", ratio=ratio, goal=1.1, reached=ratio <= 1.1)


if __name__ == "__main__":
    main()
