"""The paper's tables and figures next to ours."""
