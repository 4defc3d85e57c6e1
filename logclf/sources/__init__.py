"""Where lines come from. A source is iterated for deliveries; see pipeline.py."""
