"""Exports a run as a SavedModel: the same arguments as `tfrec-llm export`.

python export/export_model.py runs/RUN --out exports/RUN
"""

from __future__ import annotations

import sys

from tfrec_llm.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
