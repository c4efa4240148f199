"""Print how much of each package the tests run, and fail where it is too little; run by ./test after the tests."""

from __future__ import annotations

import json
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path

import coverage

ROOT = Path(__file__).parents[1]
LEAST_PERCENT = 90.0


def measured() -> dict[str, float]:
    """Return the share of lines and branches that ran, in per cent, by package."""
    data = coverage.Coverage(config_file=str(ROOT / "pyproject.toml"))
    data.load()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        data.json_report(outfile=str(report))
        files = json.loads(report.read_text())["files"]
    ran: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for path, file in files.items():
        package, summary = Path(path).parts[0], file["summary"]
        ran[package] += summary["covered_lines"] + summary["covered_branches"]
        there[package] += summary["num_statements"] + summary["num_branches"]
    return {package: 100.0 * ran[package] / there[package] for package in there}


def main() -> int:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    found = measured()
    for package in packages:
        print(f"{package:<12}{found.get(package, 0.0):6.1f} %")
    lacking = [package for package in packages if found.get(package, 0.0) < LEAST_PERCENT]
    if lacking:
        print(f"less than {LEAST_PERCENT:g} %: {', '.join(lacking)}", file=sys.stderr)
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
