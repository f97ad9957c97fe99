"""The second home: OpenFaaS and Kong on Kubernetes, from the files of the first. `python -m deploy.kubernetes --help`."""
