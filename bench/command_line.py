"""How long the command line takes to answer, processes and imports included.

    python -m bench.command_line [--repeat 15]

Prints a table and, as the last line, JSON. `--help` and `--version` must stay under 150 ms.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "docs" / "examples"
LIMIT_MILLISECONDS = 150.0
COMMANDS = {
    "--help": (["--help"], LIMIT_MILLISECONDS),
    "--version": (["--version"], LIMIT_MILLISECONDS),
    "assess --help": (["assess", "--help"], LIMIT_MILLISECONDS),
    "assess (example)": (
        [
            "assess",
            "--portfolio",
            str(EXAMPLES / "portfolio.json"),
            "--market",
            str(EXAMPLES / "market.json"),
            "--json",
        ],
        None,
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=15)
    repeat = parser.parse_args().repeat
    results = {name: measure(arguments, repeat) for name, (arguments, _) in COMMANDS.items()}
    print(f"{'command':<20}{'median ms':>12}{'fastest ms':>12}{'limit ms':>10}")
    late = []
    for name, times in results.items():
        limit = COMMANDS[name][1]
        print(f"{name:<20}{times['median']:>12.1f}{times['fastest']:>12.1f}{limit or '':>10}")
        if limit is not None and times["fastest"] > limit:
            late.append(name)
    print(json.dumps({"milliseconds": results, "above_limit": late}))
    return 1 if late else 0


def measure(arguments: list[str], repeat: int) -> dict[str, float]:
    """Return median and fastest of several runs, in milliseconds; the first is not counted."""
    times = []
    for _ in range(repeat + 1):
        begin = time.perf_counter()
        command = [sys.executable, "-m", "node.cli", *arguments]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        times.append((time.perf_counter() - begin) * 1000)
    return {"median": round(statistics.median(times[1:]), 1), "fastest": round(min(times[1:]), 1)}


if __name__ == "__main__":
    sys.exit(main())
