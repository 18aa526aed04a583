"""Runs every bench in a process of its own and prints, at the end, one table of ratios. `make bench`; JSON in bench/out.

python bench/run.py                  all, without the peers
python bench/run.py ig occlusion     some
python bench/run.py peers            the packages of the extra `peers`, side by side
"""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
HELPERS = {"run.py", "timing.py", "peers.py", "peers_common.py", "peers_standing.py", "which_method.py"}


def main() -> int:
    """Run all (or the named) benches; the exit code is 1 when one fails."""
    names = sys.argv[1:] or sorted(p.stem for p in HERE.glob("*.py") if p.name not in HELPERS)
    (HERE / "out").mkdir(exist_ok=True)
    failed, rows, differ = [], [], set()
    for name in names:
        out = subprocess.run([sys.executable, str(HERE / f"{name}.py")], stdout=subprocess.PIPE, text=True)
        (HERE / "out" / f"{name}.jsonl").write_text(out.stdout)
        lines = [json.loads(line) for line in out.stdout.splitlines() if line.startswith("{")]
        differ |= {(c["bench"], c["arm"]) for c in lines if c["kind"] == "check" and not c["ok"]}
        rows += [line for line in lines if line["kind"] in ("result", "figure")]
        failed += [name] if out.returncode else []
    for r in rows:
        value, arm = r.get("ratio", r.get("value", float("nan"))), r.get("arm", "")
        goal = f"goal {r['goal']:.3g} {'reached' if r['reached'] else 'MISSED'}" if "goal" in r else ""
        other = "values differ" if (r["bench"], arm) in differ else ""
        print(f"{r['bench']:34s} {arm:34s} {value:9.3f}  {goal}{other}")
    print(f"failed: {', '.join(failed)}" if failed else "all benches ran")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
