"""`python -m devnet`: run the local chain until interrupted."""

import argparse
import signal
import sys
import threading

from devnet.deployment import to_json
from devnet.errors import DevnetError
from devnet.launch import launch


def main() -> int:
    """Run the local chain; print its addresses; stop at Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m devnet", description=__doc__)
    parser.add_argument("--port", type=int, default=8545, help="loopback port, 0 for a free one")
    parser.add_argument("--chain-id", type=int, default=31337)
    parser.add_argument("--json", action="store_true", help="print the deployment as JSON")
    parser.add_argument("--once", action="store_true", help="print and stop")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with launch(
            port=arguments.port,
            chain_id=arguments.chain_id,
            progress=_report,
        ) as devnet:
            if arguments.json:
                sys.stdout.write(to_json(devnet.deployment) + "\n")
            else:
                users = len(devnet.deployment.users)
                pool = devnet.deployment.aave.pool
                sys.stdout.write(f"{devnet.url}  {users} users  Aave pool {pool}\n")
            sys.stdout.flush()
            if not arguments.once:
                threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except DevnetError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _report(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
