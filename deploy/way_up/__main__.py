import sys

from deploy.way_up.cli import main

sys.exit(main())
