"""The logger of prunebench. Its warnings reach stderr even if logging is not configured."""

import logging

from bench.errors import printable

LOG = logging.getLogger("prunebench")


def _clean(record: logging.LogRecord) -> bool:
    """Replace what names of files and the like may hold and must not reach a terminal."""
    record.msg, record.args = printable(record.getMessage()), None
    return True


LOG.addFilter(_clean)
