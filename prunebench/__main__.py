"""`python -m prunebench`, the same as the command `prunebench`."""

import sys

from prunebench import main

if __name__ == "__main__":
    sys.exit(main())
