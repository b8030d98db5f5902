"""Recommends to every user of a table in an Apache Beam pipeline: as `tfrec-llm recommend-all`.

python training/beam_recommend.py EXPORT --users users.parquet --out lists --runner DirectRunner
"""

from __future__ import annotations

import sys

from tfrec_llm.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["recommend-all", *sys.argv[1:]]))
