"""The student model: loading, saving, prompts, tokenizer facts and generation."""
