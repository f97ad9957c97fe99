import sys

from deploy.faasd.cli import main

sys.exit(main())
