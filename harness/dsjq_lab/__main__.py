"""`python -m dsjq_lab` is `dsjq-lab`."""

import sys

from dsjq_lab.cli import main

sys.exit(main())
