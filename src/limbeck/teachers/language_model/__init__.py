"""Language models that judge a pair in a prompt: templates, tokens, models, and the scores that they give."""
