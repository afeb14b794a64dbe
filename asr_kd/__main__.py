"""`python -m asr_kd` is `asr-kd`."""

import sys

from asr_kd.cli import main

sys.exit(main())
