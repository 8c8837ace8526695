"""Who writes queries: ``keyphrases`` (nobody: phrases of what was found), ``language_model``."""
