"""The web page of a run: every source live, its figures, its poses; for people, programs and monitors."""
