"""The logger of prunebench: warnings reach stderr, whoever runs it."""

import logging

LOG = logging.getLogger("prunebench")
