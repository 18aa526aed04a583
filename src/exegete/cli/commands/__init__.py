"""One file a verb. A verb reads its input, calls the front door, and hands the result to `emit`."""
