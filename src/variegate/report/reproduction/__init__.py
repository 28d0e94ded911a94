"""Reports of the paper's tables and figures: our numbers beside the paper's, as text, figures and one page."""
