"""What a release is made of: package databases, build information, fingerprints. Inspectors, as in `assay.inspect`."""
