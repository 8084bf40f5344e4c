"""``python -m mots_pretrained VERB`` is ``mots VERB``."""

import sys

from mots_pretrained.cli import main

if __name__ == "__main__":
    sys.exit(main())
