"""The documentation as a website: `make site` builds it from docs/ with MkDocs (mkdocs.yml) into .local/site."""
