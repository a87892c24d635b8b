"""`python -m luthier` is the command `luthier`."""

import sys

from luthier.cli.app import main

sys.exit(main())
