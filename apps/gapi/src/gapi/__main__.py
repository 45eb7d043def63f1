import sys

from gapi.server import main

sys.exit(main())
