"""CPU time of `import exegete` with its words, over that of numpy and pydantic, which its words are made of."""

import subprocess
import sys

from timing import emit

CODE = {
    "numpy and pydantic": "import numpy, pydantic",
    "exegete": "import exegete as xg; xg.Text; xg.Target; xg.Attribution",
}


def cost(code: str) -> float:
    """CPU seconds of one import in a fresh process."""
    probe = f"import time\nbegun = time.process_time()\n{code}\nprint(time.process_time() - begun)"
    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return float(out.stdout)


def main() -> None:
    """The ratio of the best of ten alternating rounds."""
    seen = [{name: cost(code) for name, code in CODE.items()} for _ in range(10)]
    found = {name: min(one[name] for one in seen) for name in CODE}
    ratio = found["exegete"] / found["numpy and pydantic"]
    for name, value in found.items():
        emit("figure", bench="import", arm=f"{name} (s)", value=value)
    emit("result", bench="import", arm="exegete", ratio=ratio, goal=2.5, reached=ratio <= 2.5)


if __name__ == "__main__":
    main()
