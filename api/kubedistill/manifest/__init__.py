"""Reading of manifests and settings: files that users and platform teams write become models, or raise one error."""
