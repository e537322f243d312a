"""``python -m mmsa_suparc`` is the command ``mmsa``."""

import sys

from mmsa_suparc.cli import main

if __name__ == "__main__":
    sys.exit(main())
