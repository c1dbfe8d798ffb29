"""What Ray's node process starts as a worker: it has the zygote fork one, and begins it the usual way where there is none.

Ray runs this file as a script, once for each worker: it imports little. Ray knows a worker by the process id that the worker itself tells.
"""

import contextlib
import importlib.util
import json
import os
import socket
import sys
from pathlib import Path

WITHIN_S = 10.0  # the zygote may still be loading


def request(script: str, arguments: list[str]) -> bytes:
    """All that a process gets from who starts it."""
    return json.dumps(
        {
            "arguments": [script, *arguments],
            "environment": dict(os.environ),
            "folder": os.getcwd(),
            "oom_score_adj": Path("/proc/self/oom_score_adj").read_text(),
        }
    ).encode()


def forked(path: str, body: bytes) -> bool:
    """Whether a worker was forked. When not, none will be."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(WITHIN_S)
        try:
            line.connect(path)
            socket.send_fds(line, [len(body).to_bytes(4, "big")], [0, 1, 2])
            line.sendall(body)
            return line.recv(1) == b"1"
        except TimeoutError:
            # From here on the fork's word fails, and with it the fork; it may be here already.
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RD)
                return line.recv(1) == b"1"
            return False
        except OSError:
            return False


def main() -> None:
    spec = importlib.util.find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    script = str(Path(spec.origin).with_name("_private") / "workers" / "default_worker.py")
    arguments = sys.argv[1:]
    if not forked(str(Path(os.environ["PERENNE_INSTANCE"], "zygote.sock")), request(script, arguments)):
        os.execv(sys.executable, [sys.executable, script, *arguments])  # noqa: S606 - the worker that Ray would have started


if __name__ == "__main__":
    main()
