"""`python -m tfrec_llm`."""

from __future__ import annotations

import sys

from tfrec_llm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
