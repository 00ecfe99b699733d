"""Language models as teachers: prompt templates, tokens, models and scores."""
