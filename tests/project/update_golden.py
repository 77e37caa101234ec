# SPDX-License-Identifier: Apache-2.0
"""Write tests/golden/public_api.txt from the package as it is: `python tests/project/update_golden.py`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from public_api import GOLDEN, lines

if __name__ == "__main__":
    found = lines()
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text("\n".join(found) + "\n", encoding="utf-8")
    absent = [line for line in found if line.endswith(": absent")]
    print(f"{len(found)} lines written to {GOLDEN}; {len(absent)} names of the doors are absent.")
