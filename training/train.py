"""Trains a run: the same arguments as `tfrec-llm train`.

python training/train.py training/configs/RUN.yaml --out runs/RUN
"""

from __future__ import annotations

import sys

from tfrec_llm.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
