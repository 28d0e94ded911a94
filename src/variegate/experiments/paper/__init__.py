"""The paper's tables and figures, each from shards that can be made one by one, in any process."""
