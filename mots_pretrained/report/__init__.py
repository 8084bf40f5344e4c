"""Report: pictures of what is given; nothing here predicts, trains or scores."""
