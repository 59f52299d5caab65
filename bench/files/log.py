"""The logger of prunebench. Its warnings reach stderr even if logging is not configured."""

import logging

LOG = logging.getLogger("prunebench")
