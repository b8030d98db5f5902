"""Starts one worker in a pod of an indexed Job: TF_CONFIG from its index, then `tfrec-llm train`.

python worker.py RUN.yaml --out runs/RUN

Environment: JOB_COMPLETION_INDEX (set by Kubernetes), WORKERS (number of pods), JOB_NAME and
SERVICE_NAME (the headless service that gives pods their names), PORT (defaults to 2222).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence


def tf_config(environment: Mapping[str, str]) -> str:
    """Returns the TF_CONFIG of a pod.

    Args:
        environment: variables as above.

    Raises: SystemExit that names a variable that is missing or wrong.
    """
    try:
        index, count = int(environment["JOB_COMPLETION_INDEX"]), int(environment["WORKERS"])
        job, service = environment["JOB_NAME"], environment["SERVICE_NAME"]
        port = int(environment.get("PORT", "2222"))
    except (KeyError, ValueError) as error:
        raise SystemExit(
            f"Error: {error} is not set, or no number; see training/kubernetes."
        ) from error
    if not 0 <= index < count:
        raise SystemExit(
            f"Error: JOB_COMPLETION_INDEX is {index}, but WORKERS is {count}. Give WORKERS the "
            "number of `completions` of the Job."
        )
    # An indexed Job gives pod i the host name JOB-i; the headless service makes it an address.
    workers = [f"{job}-{number}.{service}:{port}" for number in range(count)]
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})


def main(arguments: Sequence[str]) -> None:
    """Becomes the training, which then gets the signals of the pod itself."""
    os.environ["TF_CONFIG"] = tf_config(os.environ)
    command = [sys.executable, "-m", "tfrec_llm", "train", *arguments]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main(sys.argv[1:])
