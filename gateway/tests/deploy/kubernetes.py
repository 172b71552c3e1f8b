"""Validates the Kubernetes manifest against the schemas of Kubernetes: no unknown field, no wrong type."""

import sys

import kubernetes_validate
import yaml

# `preStop.sleep` came with 1.30.
VERSIONS = ["1.30", kubernetes_validate.latest_version()]

documents = list(yaml.safe_load_all(open(sys.argv[1])))
for document in documents:
    for version in VERSIONS:
        kubernetes_validate.validate(document, version, strict=True)
print(f"{len(documents)} resources are valid in Kubernetes {' and '.join(VERSIONS)}.")

wrong = documents[0] | {"stringdata": {}}
try:
    kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)
except kubernetes_validate.ValidationError:
    pass
else:
    sys.exit("A wrong field was not found.")
