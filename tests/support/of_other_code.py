"""A process that finds that its code is not its guardian's."""

import sys

from gaitd.errors import ReplacedError

sys.exit(ReplacedError.exit_code)
