"""Frames from a source through the stages of the pipeline to the sinks."""
