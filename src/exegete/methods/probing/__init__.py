"""What layers encode: classifiers, trees, minimal pairs, cloze questions."""
