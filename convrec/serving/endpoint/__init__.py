"""An endpoint that speaks OpenAI's chat completions: a conversation in, a ranked list out."""
