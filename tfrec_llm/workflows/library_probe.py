"""Which libraries load here, found out in processes that may crash without harm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

# Each step is told before it is tried, so that a crash names its own cause.
_SCRIPT = """
import json, sys
def tell(**found): print("\\n@" + json.dumps(found), flush=True)
for name, code in json.loads(sys.argv[1]):
    tell(trying=name)
    facts = {}
    try:
        exec(code, facts)
        tell(loaded=name, facts=facts.get("facts", {}))
    except BaseException as error:
        tell(failed=name, error=type(error).__name__ + ": " + " ".join(str(error).split()))
"""


def probe(
    steps: Sequence[tuple[str, str]],
    *,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float = 300.0,
) -> dict[str, dict[str, Any]]:
    """Runs short pieces of code one after the other in a process of their own.

    After a crash a fresh process goes on with the pieces that are left.

    Args:
        steps: names and Python code of our own, such as `("scann", "import scann")`; code may
            leave a dict of JSON values in a variable `facts`.
        environment: variables added to those of this process.
        timeout_seconds: float, the time all steps together may take.

    Returns: for each name `loads` (bool), `error` (text, None if it loads), `facts` (dict).

    Example:
        >>> found = probe([("json", "import json"), ("none", "import no_such_library")])
        >>> found["json"]["loads"], found["none"]["loads"]
        (True, False)
    """
    results: dict[str, dict[str, Any]] = {}
    left = list(steps)
    while left:
        try:
            done = subprocess.run(
                [sys.executable, "-c", _SCRIPT, json.dumps(left)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_seconds,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})},
            )
            output, code = done.stdout, done.returncode
            end = _end_of_process(code, done.stderr)
        except subprocess.TimeoutExpired as error:
            output = (error.stdout or b"").decode(errors="replace")
            end = f"did not finish in {timeout_seconds:.0f} seconds"
        trying = left[0][0]
        for line in output.splitlines():
            if not line.startswith("@{"):
                continue
            told = json.loads(line[1:])
            trying = told.get("trying", trying)
            if "loaded" in told:
                results[trying] = {"loads": True, "error": None, "facts": told["facts"]}
            elif "failed" in told:
                results[trying] = {"loads": False, "error": told["error"], "facts": {}}
        results.setdefault(trying, {"loads": False, "error": end, "facts": {}})
        left = [step for step in left if step[0] not in results]
    return results


def _end_of_process(code: int, stderr: str) -> str:
    last_line = stderr.strip().splitlines()[-1:] or [""]
    if code < 0:
        return f"crashed with {signal.Signals(-code).name}. {last_line[0]}".strip()
    return f"ended with exit code {code}. {last_line[0]}".strip()
