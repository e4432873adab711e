"""The manifest door: files that users and platform teams write become models, or one message says why not."""
