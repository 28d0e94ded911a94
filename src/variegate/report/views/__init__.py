"""Views: each turns records of one kind into a list of blocks. No view knows a renderer."""
