"""Are reasons in words true to the model that gives them? Studies of chains of thought and of rationales in language."""
