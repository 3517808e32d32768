"""`python -m sadstream.views.microphone`, as the daemon starts it."""

import sys

from sadstream.views.microphone.serve import main

if __name__ == "__main__":
    sys.exit(main())
