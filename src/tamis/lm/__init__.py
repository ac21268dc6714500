"""One language model: load it, encode rows with an answer mask, observe its passes."""
