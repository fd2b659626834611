"""Administration: a page for each thing that somebody may be allowed to look after."""
