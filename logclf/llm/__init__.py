"""The LLM stage: a language model answers for what rules and model don't know, once per template."""
