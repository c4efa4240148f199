"""Run a pinned Solidity compiler: the package's own soljson, in Node.js, on standard JSON."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from devnet.errors import DevnetError

SCRIPT = Path(__file__).parents[1] / "solidity" / "compile.mjs"
TIMEOUT_SECONDS = 1_200


def run_solc(package: Path, request: str, *, warnings_are_errors: bool = False) -> dict[str, Any]:
    """Return the compiler's output for a standard-JSON request.

    Args:
        package: An unpacked `solc` package.
        request: Standard JSON input.
        warnings_are_errors: Refuse sources the compiler only warns about.

    Raises:
        DevnetError: Node.js is missing, the compiler does not run, or it refuses the sources.
    """
    node = shutil.which("node")
    if node is None:
        raise DevnetError("node is not on the PATH; install Node.js 20 or newer with npm")
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            [node, str(SCRIPT), str(package / "soljson.js")],
            input=request,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DevnetError(f"solc failed: {error}") from error
    if done.returncode != 0:
        raise DevnetError(f"solc failed: {done.stderr.strip()[-600:]}")
    output: dict[str, Any] = json.loads(done.stdout)
    problems = [
        problem["formattedMessage"]
        for problem in output.get("errors", [])
        if warnings_are_errors or problem["severity"] == "error"
    ]
    if problems:
        raise DevnetError("solc refused the sources:\n" + "\n".join(problems))
    return output
